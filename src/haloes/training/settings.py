"""How to train: every default says where it comes from."""

from collections.abc import Callable
from dataclasses import dataclass
from math import cos, inf, pi
from typing import Any, ClassVar, Literal, TypeAlias, TypeVar, get_args

from haloes.errors import ConfigError

Optimizer: TypeAlias = Literal["adamw", "adamw8bit", "rmsprop"]
Shape: TypeAlias = Literal["constant", "linear", "cosine"]
Shard: TypeAlias = Literal["auto", "off", "full"]
Auto: TypeAlias = Literal["auto"]
Number = TypeVar("Number", int, float)

_RULES: tuple[tuple[tuple[str, ...], Callable[[Any], bool], str], ...] = (
    (("optimizer",), lambda value: value in get_args(Optimizer), " or ".join(get_args(Optimizer))),
    (("schedule",), lambda value: value in get_args(Shape), " or ".join(get_args(Shape))),
    (("shard",), lambda value: value in get_args(Shard), " or ".join(get_args(Shard))),
    (("shard_over",), lambda value: value is None or value > 1, "at least 2, or left out"),
    (("lr", "epochs"), lambda value: value == "auto" or 0 < value < inf, 'positive and finite, or "auto"'),
    (("max_grad_norm",), lambda value: 0 < value < inf, "positive and finite"),
    (
        ("kl_budget",),
        lambda value: value is None or value == "auto" or 0 < value < inf,
        'positive and finite, "auto", or null',
    ),
    (("batch_size",), lambda value: value == "auto" or value >= 1, 'at least 1, or "auto"'),
    (("save_while_training",), lambda value: value in {True, False, "auto"}, 'true, false, or "auto"'),
    (("checkpoint_every", "keep_checkpoints"), lambda value: value >= 1, "at least 1"),
    (
        ("microbatch_tokens", "microbatch_examples", "validate_every", "early_stop", "threads"),
        lambda value: value is None or value >= 1,
        "at least 1, or left out",
    ),
    (("repeats_budget",), lambda value: value is None or 0 <= value < 1, "at least 0 and below 1, or null"),
    (("warmup", "dropout"), lambda value: 0 <= value < 1, "at least 0 and below 1"),
    (("weight_decay",), lambda value: 0 <= value < inf, "at least 0 and finite"),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainSettings:
    """Optimizer, schedule, and what is written when."""

    __pydantic_config__: ClassVar[dict[str, Any]] = {"extra": "forbid", "use_attribute_docstrings": True}

    lr: float | Auto = "auto"
    """Peak. "auto" goes by what is trained, the model's width and the number of steps: the KTO paper's 5e-6 (Table 1,
    AdamW, all weights of an 8B model), ten times that for adapters, more for narrower models and in short runs, less
    with few examples a step; a fifth for pairs, four times for SFT (`haloes.training.choose_rate`). The run's config
    says what was taken."""
    batch_size: int | Auto = "auto"
    """Examples in one optimizer step, over all ranks and micro-batches. "auto" is the paper's 32 for 1,600 examples and
    more; for fewer it is less, down to 8, so that there are about 50 steps. The paper recommends 8 to 128."""
    epochs: float | Auto = "auto"
    """Passes over the data. "auto" is 1, as in the paper's runs; where 8 examples a step do not give 50 steps it is
    more, up to 5."""
    kl_budget: float | Auto | None = "auto"
    """How far training may move the answers, in nats of KL divergence to the reference an answer: a run that looks at a
    few held-out answers up to twenty times on its way ends early where they have moved further, and `haloes plan
    --find-lr` proposes a rate that stays within it. "auto" is 0.015 for each token of these answers where train.lr
    is "auto", and null, for no end, where the rate is yours. Ours: at 0.09 a token answers fell apart."""
    repeats_budget: float | None = 0.0
    """Largest share, 0 to 1, of the answers to held-out prompts (samples.prompts) that may go in circles after training
    though they did not before. Where more do, part of the change to the weights is taken back, by eighths, until no
    more do: the model stays nearer to that before. null keeps all of the change."""
    optimizer: Optimizer = "adamw"
    """How gradients become changes of the weights. AdamW is what the KTO paper recommends; its 1B to 30B
    comparisons used RMSprop with a learning rate of 5e-7. adamw8bit keeps AdamW's moments in 8 bits (a quarter of
    their memory; needs bitsandbytes)."""
    weight_decay: float = 0.0
    """How strongly weights are drawn to 0 at each step: raised, it holds them smaller, for adapters the change
    itself. Decoupled with AdamW, added to the gradient with RMSprop. 0 for none, as in the authors' code."""
    warmup: float = 0.1
    """Share of the steps, 0 to 1, over which the learning rate rises linearly from 0 to train.lr: raised, the start
    is gentler and fewer steps have the full rate. The authors' runs warm up over 150 steps; 0.1 is ours, for runs
    of any length."""
    schedule: Shape = "linear"
    """What the learning rate does after the warm-up: constant stays, linear and cosine fall to 0 at the last step.
    linear is the default of transformers and TRL."""
    max_grad_norm: float = 10.0
    """Largest L2 norm of a step's gradient: a longer one is scaled down to it. Raised, single steps may move the
    weights further; lowered, odd examples count less. 10 as in the KTO paper's Table 1."""
    dropout: float = 0.0
    """Share of the numbers, 0 to 1, that dropout layers, attention and adapters set to 0 at random while training.
    Raised, the model learns less by heart, and more slowly. 0 for none."""
    microbatch_tokens: int | None = None
    """Tokens that go through the model together: a matter of memory and speed, not of results. Raised, it takes
    more memory and may be faster. null: as many as there is memory for when the run begins, up to 1024 on a CPU and
    16384 on a GPU, where more are no faster."""
    microbatch_examples: int | None = None
    """Most examples that go through the model together: a matter of memory, not of results. null for no limit
    beside train.microbatch_tokens."""
    prompts_together: bool = False
    """Shuffle prompts instead of examples, so that the answers to one prompt come in the same step, where their prompt
    is computed once: faster for several answers a prompt, and for pairs that were made into single rows. The steps
    then hold fewer different prompts."""
    gradient_checkpointing: bool = False
    """Compute activations again in the backward pass instead of keeping them: less memory, about a third more time,
    the same results."""
    activation_offload: bool = False
    """Keep activations in host memory between the forward and the backward pass (GPU only). Together with
    train.gradient_checkpointing for the longest sequences; alone it is slow."""
    shard: Shard = "auto"
    """Whether each of several processes holds a part of every weight (full), or all of them (off): full takes a part of
    the memory and more talk between the processes, and the results are the same up to rounding. "auto" is full where
    one process has no room for all. One process has nothing to share. Not with adamw8bit, model.quantize or
    train.activation_offload."""
    shard_over: int | None = None
    """Processes that hold one copy of the weights together where they hold parts of them (train.shard). Fewer than all,
    there are several copies: each process takes more memory, and has less to say to those on other machines. null: with
    several machines the processes of one of them, where it has room for a copy; else all processes."""
    threads: int | None = None
    """Threads that a CPU computes with, and most processes that rows are encoded in. null for as many as torch
    takes by itself (OMP_NUM_THREADS, or all cores), and as many as there are processors. More than the cores are
    slower; `haloes plan` says whether they are worth it."""
    reference_cache: bool = True
    """Keep the reference's log-probabilities on disk and use those that are there: a second run on the same data
    and model begins sooner."""
    validate_every: int | None = None
    """Steps between two measurements on the held-out feedback, which take time of their own. null for one at the
    end. One before the first step is not needed: the policy is the reference there."""
    keep_best: str | None = None
    """A number of the validation, such as auc, auc_length_controlled (of answers of about the same length), accuracy
    (of a reward model) or loss: the result is the model after the step where it was best, not after the last.
    Half of the held-out prompts choose the step, and the report is of the other half, as a number is too good on the
    rows that it was chosen by. Validate often enough (train.validate_every). null keeps the last step."""
    early_stop: int | None = None
    """End the run after so many validations without a better train.keep_best. Raised, it waits longer. null goes
    through all steps."""
    checkpoint_every: int = 50
    """Steps between two checkpoints, from which `haloes resume` goes on: raised, a crash costs more work, and less
    time goes into writing. One is also written at the end and on Ctrl-C."""
    save_while_training: bool | Auto = "auto"
    """Whether the next steps run while a checkpoint is written: it is copied to host memory, and the run waits for the
    copy alone. "auto" does so where the copy takes at most half of the memory that is free beside the most that the
    run has held so far; on a CPU, from which the writing takes time, only up to 256 MiB, as adapters have. What is
    written is the same either way."""
    keep_checkpoints: int = 2
    """How many checkpoints stay on disk, the newest ones. Two, so that one is intact if a power cut tears the
    other."""
    seed: int = 0
    """Decides the order of the data, the mismatched pairs, the adapter's start and dropout: any whole number. The
    same seed on the same machine gives the same run; another shows how much is luck, on the same held-out rows
    (feedback.split_seed decides those)."""

    def __post_init__(self) -> None:
        for names, fits, rule in _RULES:
            for name in names:
                value = getattr(self, name)
                if not fits(value):
                    raise ConfigError(f"train.{name} must be {rule}, got {value!r}")
        if self.early_stop is not None and self.keep_best is None:
            raise ConfigError("train.early_stop needs train.keep_best: the number that is to grow better, such as auc")


KL_BUDGET = 5.0
"""What a run without a budget is warned of from, in nats an answer."""


def budget_of(settings: TrainSettings) -> float:
    """Return the divergence from which on a run is warned of, nats an answer, whether or not it ends there."""
    return settings.kl_budget if isinstance(settings.kl_budget, int | float) else KL_BUDGET


def settled(value: Number | Auto, name: str) -> Number:
    """Return a setting that is a number by now. Raises ConfigError where it is still "auto", which a run replaces."""
    if value == "auto":
        raise ConfigError(f'train.{name} is "auto", which only a run can find out; give a number here')
    return value


def is_validated(settings: TrainSettings, step: int, num_steps: int) -> bool:
    """Return whether a validation follows this step, counted from 1, where there is something to validate on."""
    return step == num_steps or (settings.validate_every is not None and step % settings.validate_every == 0)


def learning_rate(settings: TrainSettings, step: int, num_steps: int) -> float:
    """
    Return the learning rate of a step, from 0 to num_steps - 1.

    It is a pure function of its arguments, so that there is nothing to save or restore.

    It rises linearly over the first `warmup * num_steps` steps and then follows the schedule, which reaches 0 one step
    after the last.
    """
    peak, rising = settled(settings.lr, "lr"), settings.warmup * num_steps
    if step + 1 <= rising:
        return peak * (step + 1) / rising
    done = (step - rising) / max(num_steps - rising, 1)
    done = max(done, 0.0)
    factor = {"constant": 1.0, "linear": 1 - done, "cosine": (1 + cos(pi * done)) / 2}[settings.schedule]
    return peak * factor

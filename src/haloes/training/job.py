"""What a training run consists of and results in, and what follows from it: its steppers, steps and micro-batches."""

from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, Protocol

from haloes.batches.schedule import Schedule
from haloes.losses._contract import Loss
from haloes.models.offload import offloaded
from haloes.models.policy import Policy
from haloes.models.reference_cache import ReferenceCache
from haloes.progress.contract import NullProgress, Progress
from haloes.tokens.store import TokenStore
from haloes.training.completion_logps import ReferenceSource, ReferenceTokens, ReferenceTotals
from haloes.training.cut import Cut, never
from haloes.training.distributed import Ranks
from haloes.training.equal_passes import fillers_for, together
from haloes.training.microbatch_size import MAX_TOKENS
from haloes.training.settings import TrainSettings, settled
from haloes.training.step import LayoutHook, Stepper, ignore_layout
from haloes.training.step_work import StepWork
from haloes.training.validation import Validation, make_schedule


class Callback(Protocol):
    """Follows a run: a progress bar, a logger, a test."""

    def on_start(self, *, step: int, num_steps: int) -> None:
        """Show that training begins, with `step` of `num_steps` steps already done."""

    def on_metrics(self, numbers: Mapping[str, Any]) -> None:
        """Take a line that was added to the metrics: of a step ("split": "train") or of a validation."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainJob:
    """Everything that a training run consists of."""

    policy: Policy
    loss: Loss[Any]
    train: TokenStore
    validation: TokenStore | None
    """Held-out rows that the result is measured on; None for none."""
    settings: TrainSettings
    run_dir: Path
    """Takes `metrics.jsonl` and the folder `checkpoints`."""
    identity: Mapping[str, str]
    """Hashes of the data, the tokenizer, the settings ... by name (`haloes.training.identity`)."""
    allow_changes: bool = False
    """Resume all the same when the identity has changed."""
    ranks: Ranks
    cache: ReferenceCache | None
    measure: Callable[[int, Validation], Mapping[str, Any]]
    """Returns further numbers of the validation after this many steps, for its line in the metrics; None: no number.
    Called in the main process alone, as `drift` is."""
    stop: Callable[[], bool]
    """Asked after every step; True ends the run with everything saved."""
    selection: TokenStore | None = None
    """Further held-out rows, which are validated on while training and choose the best step: a number is too good on
    the rows by which it was chosen. None: `validation` is validated on while training too."""
    drift: Callable[[int], float] | None = None
    """Returns how far the policy has moved, nats of KL an answer, computed with this many tokens together; None: no
    number, and `train.kl_budget` holds nothing back."""
    falls_apart: Callable[[], bool] | None = None
    """Returns whether the policy answers as it must not now, asked after training, in the main process alone; then part
    of the change to the weights is taken back (`haloes.training.take_back`), for which those before are kept in a
    file. None: all of the change stays."""
    cut: Cut = never
    """Asked between two passes; True gives the step up and ends the run with the steps before it saved."""
    on_layout: LayoutHook = ignore_layout
    """Told of the layouts that go through the policy, to count its work."""
    progress: Progress = field(default_factory=NullProgress)
    """Told what of a step is done, and of the stages beside the steps."""
    rounding: float = 0.0
    """Nats by which rounding alone moves an answer's reward (`haloes.training.rounding`); 0 if not measured."""


@dataclass(frozen=True, slots=True)
class TrainResult:
    """The result of a finished run, beside the trained policy and its files."""

    num_steps: int
    seconds: float
    """Time of this process, without what was done before a resumption."""
    validation: Validation | None
    damaged: tuple[str, ...]
    """A sentence about each damaged checkpoint that was passed over."""
    best_step: int | None = None
    """The step whose weights the policy has; None for the last one."""
    kl_passed: tuple[int, float] | None = None
    """The step after which `train.kl_budget` was spent and the run ended, with the divergence then; None otherwise."""
    kept_share: float = 1.0
    """The share of the change to the weights that the policy has; below 1 where it fell apart with all of it."""


def training_schedule(job: TrainJob, stepper: Stepper) -> Schedule:
    """Return all steps of the job."""
    settings = job.settings
    return make_schedule(
        stepper,
        batch_size=settled(settings.batch_size, "batch_size"),
        epochs=settled(settings.epochs, "epochs"),
        seed=settings.seed,
        prompts_together=settings.prompts_together,
    )


def make_stepper(job: TrainJob, store: TokenStore, *, cut: Cut = never) -> Stepper:
    """Return the stepper of the job on this data: the trained or the held-out one; `cut` gives a step of it up."""
    budget, device, needs = token_budget(job), job.policy.device, job.loss.needs
    reference: ReferenceSource | None = None
    work, ranks, logps = StepWork(job.progress), job.ranks, job.policy.reference_logps
    cut, fillers = together(cut, job.policy, ranks), fillers_for(job.policy, ranks)
    if needs.reference_tokens:
        reference = ReferenceTokens(logps, budget, device, work.scored, ranks, cut, fillers)
    elif needs.any_reference:
        reference = ReferenceTotals(logps, job.cache, budget, device, work.scored, ranks, cut, fillers)
    activations: Callable[[], AbstractContextManager[Any]] = nullcontext
    if job.settings.activation_offload:
        activations = partial(offloaded, list(job.policy.model.parameters()))
    settings = job.settings
    return Stepper(
        policy=job.policy,
        loss=job.loss,
        store=store,
        ranks=ranks,
        reference=reference,
        max_tokens=budget,
        max_examples=settings.microbatch_examples,
        activations=activations,
        # Dropout is for the rows' own pass alone; the others run layers again, or move what (x, y') would continue.
        reuse_prompt_cache=not (settings.dropout or settings.gradient_checkpointing or settings.activation_offload),
        on_layout=job.on_layout,
        work=work,
        cut=cut,
        fillers=fillers,
    )


def token_budget(job: TrainJob) -> int:
    """Return the maximum tokens per micro-batch; a longer example gets one of its own."""
    return job.settings.microbatch_tokens or MAX_TOKENS.get(job.policy.device.type, MAX_TOKENS["cpu"])

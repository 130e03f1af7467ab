"""A reward model as judge: a classifier with one output that scores each answer on its own."""

import inspect
from collections.abc import Generator, Sequence
from dataclasses import dataclass, field
from math import exp, isfinite
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from haloes.errors import ConfigError, ModelError
from haloes.judging._contract import Identity, JudgeReply, NoReply, OrderedPair, number_verdict
from haloes.judging.template import conversation, disarmed
from haloes.records import Text
from haloes.run_files import MODEL, is_trained_run

if TYPE_CHECKING:
    from haloes.tokens.template import Template

_MAKE = "`haloes train PAIRS --loss bradley-terry` makes one"


@dataclass(frozen=True, slots=True, kw_only=True)
class RewardModelJudge:
    """
    Prefers the answer with the higher reward, with the probability of Bradley and Terry (1952): sigmoid(r1 - r2).

    Each answer is scored on its own, so the order in which two are shown cannot matter, and each is scored once. With
    a chat template prompt and answer are one conversation, and otherwise a pair of texts, as the tokenizer joins them.
    """

    __pydantic_config__: ClassVar[dict[str, Any]] = {"extra": "forbid"}
    FREE_SETTINGS: ClassVar[frozenset[str]] = frozenset({"device"})
    """Settings that do not decide verdicts: a run that watches by this judge may change them when it is resumed."""

    model: str
    """A folder in the layout of transformers with a sequence classifier of one output, a run that trained one (`haloes
    train --loss bradley-terry`), or a name on the hub."""
    dtype: Literal["auto", "float32", "bfloat16"] = "auto"
    """Number format that the model computes in."""
    device: str = "auto"
    """"auto" takes a GPU if there is one."""
    tie_margin: float = 0.0
    """A preference that is within this of 1/2 is a tie."""
    _kept: dict[str, Any] = field(default_factory=dict, init=False, repr=False, compare=False)
    """The model, once it is loaded."""

    def __post_init__(self) -> None:
        if not 0 <= self.tie_margin < 0.5:  # noqa: PLR2004 - no preference
            raise ConfigError(f"judge.tie_margin must be at least 0 and below 0.5, got {self.tie_margin}")

    @property
    def identity(self) -> Identity:
        """Return the model's name as it was given, and when it calls a tie."""
        return Identity(self.model, settings={"dtype": self.dtype, "tie_margin": self.tie_margin})

    def compare(self, comparisons: Sequence[OrderedPair]) -> Generator[tuple[int, JudgeReply | NoReply], None, None]:
        """Score answers one by one. Raises ModelError where the model cannot be loaded or is no reward model."""
        if not comparisons:
            return
        loaded = self._loaded()
        rewards: dict[tuple[Text, str], float | None] = {}
        for place, comparison in enumerate(comparisons):
            for answer in (comparison.first, comparison.second):
                # Both orders of a pair hold the same two answers.
                if (comparison.prompt, answer) not in rewards:
                    rewards[comparison.prompt, answer] = loaded.reward(comparison.prompt, answer)
            first, second = (rewards[comparison.prompt, answer] for answer in (comparison.first, comparison.second))
            yield place, self._opinion(first, second, window=loaded.window)

    def _opinion(self, first: float | None, second: float | None, *, window: int) -> JudgeReply:
        if first is None or second is None:
            return JudgeReply(
                verdict=None, reason=f"an answer with its prompt does not fit the model's window of {window}"
            )
        if not (isfinite(first) and isfinite(second)):
            return JudgeReply(
                verdict=None,
                is_fault=True,
                reply=f"{first} and {second}",
                reason=f"the rewards are {first} and {second}, and one that is no number decides nothing",
            )
        preference = _sigmoid(first - second)
        return JudgeReply(
            verdict=number_verdict(preference, tie_margin=self.tie_margin),
            preference=preference,
            reply=f"{first:.6f} and {second:.6f}",
            reason=f"a reward of {first:.3f} against {second:.3f}",
        )

    def _loaded(self) -> "_RewardScorer":
        if "model" not in self._kept:
            self._kept["model"] = _load(self.model, self.dtype, self.device)
        loaded: _RewardScorer = self._kept["model"]
        return loaded


@dataclass(frozen=True, slots=True)
class _RewardScorer:
    """A reward model and its tokenizer."""

    model: Any
    template: "Template"
    """The way its tokenizer writes conversations."""
    window: int
    marks: tuple[str, ...]
    """The tokenizer's special tokens."""

    def reward(self, prompt: Text, answer: str) -> float | None:
        """Score one answer; None where it does not fit the window."""
        import torch

        # An answer that spells out the end of its turn could write a second answer for itself; at its very end it is
        # no word of the answer.
        inputs = self._inputs(prompt, disarmed(self.template.bare(answer), self.marks))
        if inputs["input_ids"].shape[1] > self.window:
            return None
        with torch.no_grad():
            logits = self.model(**{name: value.to(self.model.device) for name, value in inputs.items()}).logits
        return float(logits.double().squeeze())

    def _inputs(self, prompt: Text, answer: str) -> dict[str, Any]:
        tokenizer = self.template.tokenizer
        if self.template.chat:
            text = self.template.joint(prompt, answer)
            # The template writes the marks of the beginning itself.
            inputs = tokenizer(text, add_special_tokens=False, return_tensors="pt", verbose=False)
        else:
            inputs = tokenizer(conversation(prompt), answer, return_tensors="pt", verbose=False)
        # Tokenizers also tell the first text from the second, which not every architecture wants to know.
        accepted = inspect.signature(self.model.forward).parameters
        return {name: value for name, value in inputs.items() if name in accepted}


def _load(name: str, dtype: str, device: str) -> _RewardScorer:
    from safetensors import SafetensorError
    from transformers import AutoModelForSequenceClassification

    from haloes.models.architecture import window_of
    from haloes.models.device import choose_device, choose_dtype
    from haloes.models.load import load_tokenizer
    from haloes.models.quiet import quiet
    from haloes.tokens.template import make_template
    from haloes.tokens.template_probe import special_marks

    folder, where = _folder(name), choose_device(device)
    try:
        with quiet():
            model, report = AutoModelForSequenceClassification.from_pretrained(
                str(folder),
                dtype=choose_dtype(dtype, where),
                use_safetensors=True,
                trust_remote_code=False,
                output_loading_info=True,
            )
    except (OSError, ValueError, KeyError, ImportError, RuntimeError, SafetensorError) as error:
        raise ModelError(f"{name}: cannot be loaded as a reward model ({error})") from error
    # transformers fills a missing head with random numbers, and a coin would judge.
    if report["missing_keys"] or report["mismatched_keys"]:
        lacking = ", ".join(sorted(str(key) for key in [*report["missing_keys"], *report["mismatched_keys"]])[:3])
        raise ModelError(f"{name} is no trained reward model: its weights lack {lacking}; {_MAKE}")
    if model.config.num_labels != 1:
        raise ModelError(f"{name} has {model.config.num_labels} outputs; a reward model has one; {_MAKE}")
    window = window_of(model) or 1 << 30
    tokenizer = load_tokenizer(str(folder))
    return _RewardScorer(model.to(where).eval(), make_template(tokenizer), window, special_marks(tokenizer))


def _folder(name: str) -> Path:
    from haloes.models.hub import fetch, is_hub_name
    from haloes.models.kind import is_classifier

    path = Path(name).expanduser()
    if path.is_dir():
        if not is_trained_run(path):
            return path
        # A run's folder leads to the model in it.
        if not is_classifier(path / MODEL):
            raise ModelError(f"{name} is a run that trained a language model and no reward model; {_MAKE}")
        return path / MODEL
    if not is_hub_name(name):
        raise ModelError(f"{name}: no such folder; a reward model is a folder or a name on the hub")
    return fetch(name, weights=True)


def _sigmoid(value: float) -> float:
    return 1 / (1 + exp(-value)) if value >= 0 else exp(value) / (1 + exp(value))

"""A local language model as judge: how likely it is to name the one answer or the other."""

from collections.abc import Generator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from math import exp
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from haloes.errors import ConfigError
from haloes.judging._contract import Identity, JudgeReply, NoReply, OrderedPair, number_verdict
from haloes.judging.template import JudgeTemplate, load_template

if TYPE_CHECKING:
    from haloes.models.forward import Scorer
    from haloes.records import Verdict
    from haloes.tokens.encode import Encoded, Encoder


@dataclass(frozen=True, slots=True, kw_only=True)
class LocalJudge:
    """
    Compares the log-probabilities with which a model would reply with each of the template's labels.

    The reply is not sampled: the preference is P(first) / (P(first) + P(second)), a tie's label counting half, where
    P is the model's probability of the label right after the prompt. Templates that ask for an explanation first are
    judged without one.
    """

    __pydantic_config__: ClassVar[dict[str, Any]] = {"extra": "forbid"}
    FREE_SETTINGS: ClassVar[frozenset[str]] = frozenset({"device", "batch_tokens"})
    """Settings that do not decide verdicts: a run that watches by this judge may change them when it is resumed."""

    model: str = "embedded"
    """A folder, a name on the hub, a .gguf file, or "embedded"."""
    template: str = "kto-paper"
    """kto-paper, alpaca-eval, mt-bench, or the path of a template file."""
    dtype: Literal["auto", "float32", "bfloat16"] = "auto"
    """Number format that the model computes in."""
    device: str = "auto"
    """"auto" takes a GPU if there is one."""
    tie_margin: float = 0.0
    """A preference that is within this of 1/2 is a tie."""
    batch_tokens: int = 4096
    """Most tokens that go through the model at once; a longer comparison goes alone."""
    _kept: dict[str, Any] = field(default_factory=dict, init=False, repr=False, compare=False)
    """The model, once it is loaded."""

    def __post_init__(self) -> None:
        if not 0 <= self.tie_margin < 0.5:  # noqa: PLR2004 - no preference
            raise ConfigError(f"judge.tie_margin must be at least 0 and below 0.5, got {self.tie_margin}")
        if self.batch_tokens < 1:
            raise ConfigError(f"judge.batch_tokens must be at least 1, got {self.batch_tokens}")
        load_template(self.template)

    @property
    def identity(self) -> Identity:
        """Return the model's name as it was given, its prompt, and when it calls a tie."""
        template = load_template(self.template)
        settings = {"template": template.digest, "dtype": self.dtype, "tie_margin": self.tie_margin}
        return Identity(self.model, template.name, settings)

    def compare(self, comparisons: Sequence[OrderedPair]) -> Generator[tuple[int, JudgeReply | NoReply], None, None]:
        """Score as many at once as `batch_tokens` allows. Raises ModelError where the model cannot be loaded."""
        if not comparisons:
            return
        loaded, template = self._loaded(), load_template(self.template)
        prompts = [loaded.text(template, comparison) for comparison in comparisons]
        options = [loaded.options(prompt, template.labels) for prompt in prompts]
        fitting = []
        for place, found in enumerate(options):
            if found is None:
                yield (
                    place,
                    JudgeReply(verdict=None, reason=f"the prompt does not fit the model's window of {loaded.window}"),
                )
            else:
                fitting.append((place, found))
        for batch in _batches([found for _, found in fitting], self.batch_tokens):
            scores = loaded.logps([fitting[i][1] for i in batch])
            for i, logps in zip(batch, scores, strict=True):
                yield fitting[i][0], self._opinion(template, logps)

    def _opinion(self, template: JudgeTemplate, logps: "Mapping[Verdict, float]") -> JudgeReply:
        preference = _preference(logps)
        reply = ", ".join(f"log P({template.labels[verdict]!r}) = {value:.6f}" for verdict, value in logps.items())
        # A likeliest label "tie" is a verdict of its own, also where the other two are far apart.
        if logps.get("tie", -float("inf")) > max(logps["first"], logps["second"]):
            verdict: Verdict = "tie"
        else:
            verdict = number_verdict(preference, tie_margin=self.tie_margin)
        return JudgeReply(
            verdict=verdict,
            preference=preference,
            reply=reply,
            reason=f"the labels' probabilities prefer the first answer with {preference:.3f}",
        )

    def _loaded(self) -> "_LabelScorer":
        if "model" not in self._kept:
            self._kept["model"] = _load(self.model, self.dtype, self.device)
        loaded: _LabelScorer = self._kept["model"]
        return loaded


@dataclass(frozen=True, slots=True)
class _LabelScorer:
    """A model that scores how likely each label is as its reply."""

    scorer: "Scorer"
    encoder: "Encoder"
    window: int
    marks: tuple[str, ...]
    """The tokenizer's special tokens."""

    def text(self, template: JudgeTemplate, comparison: OrderedPair) -> str:
        """Return the prompt as one user turn, since not every chat template has system turns; or as plain text."""
        bare = self.encoder.template.bare
        comparison = replace(comparison, first=bare(comparison.first), second=bare(comparison.second))
        text = template.render(comparison, marks=self.marks)
        text = f"{template.system}\n\n{text}" if template.system else text
        return text if self.encoder.template.chat else f"{text}\n"

    def options(self, prompt: str, labels: "Mapping[Verdict, str]") -> "dict[Verdict, Encoded] | None":
        """Encode the prompt with each label as its reply; None where that does not fit the window."""
        from haloes.tokens.encode import Encoded

        rows = [(prompt, label, ()) for label in labels.values()]
        # Not finished: the label's probability is wanted, and not that of ending the turn after it.
        encoded = self.encoder.encode(rows, finished=[False] * len(rows))
        options = {
            verdict: one
            for verdict, one in zip(labels, encoded, strict=True)
            if isinstance(one, Encoded) and not one.prompt_cut and not one.completion_cut
        }
        return options if len(options) == len(labels) else None

    def logps(self, batch: "Sequence[dict[Verdict, Encoded]]") -> "list[dict[Verdict, float]]":
        """Return log P(label | prompt), in nats, of every label of every comparison; each prompt is computed once."""
        import numpy as np
        import torch

        from haloes.models.layout import make_packed

        sequences = [(one.prompt, one.completion, one.trained) for options in batch for one in options.values()]
        packed = make_packed(sequences, self.scorer.model.device)
        with torch.no_grad():
            logps = self.scorer.token_logps(packed).double().cpu().numpy()
        # A label may be several tokens: its log-probability is the sum over them.
        totals = iter([float(part.sum()) for part in np.split(logps, np.cumsum(packed.trained)[:-1])])
        return [{verdict: next(totals) for verdict in options} for options in batch]


def _load(name: str, dtype: str, device: str) -> _LabelScorer:
    from haloes.models.architecture import window_of
    from haloes.models.device import choose_device, choose_dtype
    from haloes.models.load import load_model
    from haloes.models.packing_check import make_scorer
    from haloes.tokens.encode import make_encoder
    from haloes.tokens.template_probe import special_marks

    where = choose_device(device)
    loaded = load_model(name, dtype=choose_dtype(dtype, where), device=where)
    window = window_of(loaded.model) or 1 << 30
    scorer, _ = make_scorer(loaded.model)
    return _LabelScorer(
        scorer, make_encoder(loaded.tokenizer, max_length=window), window, special_marks(loaded.tokenizer)
    )


def _batches(options: "Sequence[dict[Verdict, Encoded]]", budget: int) -> list[list[int]]:
    from haloes.batches.pack import pack

    # The labels share the prompt, which is laid out once.
    lengths = [
        max(len(one.prompt) for one in found.values()) + sum(len(one.completion) for one in found.values())
        for found in options
    ]
    return pack(lengths, budget=budget)


def _preference(logps: "Mapping[Verdict, float]") -> float:
    """Return P(first) / (P(first) + P(second)), half of a tie's probability in each, without under- or overflow."""
    # Relative to the highest: exp of a log-probability of -800 is 0, and 0 / 0 no preference.
    highest = max(logps.values())
    chance = {verdict: exp(value - highest) for verdict, value in logps.items()}
    return (chance["first"] + chance.get("tie", 0.0) / 2) / sum(chance.values())

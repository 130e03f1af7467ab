"""Did training change the model at all? Answers before and after letter by letter, and the KL to the reference."""

from dataclasses import dataclass

from haloes.report.load import RunRecords
from haloes.report.numbers import show
from haloes.results import Score

_EQUAL_SHARE = 0.9
"""Share of equal answers from which a model has hardly changed: a user would see a difference in one answer of ten."""
_FEWEST_ANSWERS = 4
"""Answers from which equality alone may say so: one or two greedy answers often survive a real change."""
_KL_FLOOR = 0.02
"""KL in nats an answer up to which a model has hardly changed. By Pinsker's inequality the total variation is at most
sqrt(KL / 2), here 0.1: at most one drawn answer in ten can be owed to training, as with the share above."""
_MUCH = 0.5
"""Share of changed answers from which they are said to have changed, whatever a rater or judge makes of them."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelChange:
    """Sampled answers before and after training that are the same text, and the distance of the two models."""

    num_answers: int
    """Prompts (or draws) that were answered both before and after."""
    num_equal: int
    """Those of them whose two answers are equal to the letter."""
    is_greedy: bool
    """No answer was drawn at random, so that answers that differ show a change of the model."""
    kl: Score | None
    """KL to the reference, in nats an answer."""

    @property
    def is_slight(self) -> bool:
        """Return whether the model has hardly changed."""
        if self._is_equal:
            return True
        # The whole interval has to be under the floor, and answers that can be seen to differ weigh more.
        return self.kl is not None and self.kl.high <= _KL_FLOOR and not self.is_large

    @property
    def _is_equal(self) -> bool:
        return self.num_answers >= _FEWEST_ANSWERS and self.num_equal >= _EQUAL_SHARE * self.num_answers

    @property
    def is_large(self) -> bool:
        """Return whether at least half of the answers changed, for another reason than chance."""
        return self.is_greedy and 0 < self.num_answers * _MUCH <= self.num_answers - self.num_equal

    @property
    def equal(self) -> str:
        """Write what shows that the model has hardly changed."""
        parts = []
        # Answers that were drawn differ by chance, so that their count says something only where they are equal.
        if self.num_answers and (self.is_greedy or self._is_equal):
            counted = f"{self.num_equal} of {self.num_answers} sampled answers"
            parts.append(f"{counted} are equal to the letter before and after training")
        if self.kl is not None:
            kl = show(self.kl)
            parts.append(f"the KL to the reference is {kl.value} nats an answer ({kl.with_level})")
        return ", and ".join(parts)

    @property
    def changed(self) -> str:
        """Write how many answers changed; "" where that cannot be told."""
        if not self.num_answers or not self.is_greedy:
            return ""
        return f"{self.num_answers - self.num_equal} of {self.num_answers} sampled answers changed"


def model_change(run: RunRecords) -> ModelChange:
    """Compare the run's answers before and after training, prompt by prompt and draw by draw."""
    by_draw: dict[tuple[str, int | None], dict[str, str]] = {}
    for sample in run.samples:
        by_draw.setdefault((sample.prompt_id, sample.seed), {}).setdefault(sample.model, sample.completion)
    pairs = [(texts["before"], texts["after"]) for texts in by_draw.values() if {"before", "after"} <= texts.keys()]
    return ModelChange(
        num_answers=len(pairs),
        num_equal=sum(before == after for before, after in pairs),
        is_greedy=all(sample.sampling is None or sample.sampling.temperature == 0 for sample in run.samples),
        kl=next((score for score in run.scores if (score.name, score.variant) == ("kl", "after")), None),
    )

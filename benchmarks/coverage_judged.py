"""Rows of `benchmarks.coverage` for win rates at equal length, corrected refusals, and refusals by judges that err."""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from typing import Any, TypeAlias

import numpy as np
from benchmarks.coverage import Row

from haloes.results import Score
from haloes.stats.length_control import length_controlled_win_rate
from haloes.stats.logistic import sigmoid
from haloes.stats.rates import share_with_interval
from haloes.stats.refusal import FOUND, corrected_refusal_rate
from haloes.stats.shared_difficulty import Compared, length_controlled_together

Rng: TypeAlias = np.random.Generator

_TASTE = -1.9
"""The judge's weight of length."""


def judged() -> Iterator[Row]:
    """List the rows."""
    yield from _at_equal_length()
    yield from refusals()


def refusals() -> Iterator[Row]:
    """List the rows of refusals: corrected ones of the phrases, and a judge's, which nothing corrects."""
    for model in FOUND:
        for truth in (0.05, 0.2, 0.6):
            draw = partial(_refused, model, truth, (1,) * 50)
            yield Row(
                name=f"refusals {truth} of 50, corrected, as {model}", truth=truth, draw=draw, interval=_corrected
            )
        draw = partial(_refused, model, 0.2, (4,) * 20)
        name = f"refusals 0.2 of 20 prompts of 4, corrected, as {model}"
        yield Row(name=name, truth=0.2, draw=draw, interval=_corrected)
    for finds, names in JUDGES:
        for truth in (0.05, 0.2, 0.6):
            draw = partial(_judged_refusals, finds, names, truth, 100)
            name = f"refusals {truth} of 100, by a judge that finds {finds} and names {names}"
            yield Row(name=name, truth=truth, draw=draw, interval=_share)


JUDGES = ((1.0, 0.0), (0.98, 0.01), (0.95, 0.02), (0.9, 0.05), (0.75, 0.04))
"""Share of the refusals that a judge names in one order of the two statements, and of the other answers; the last are
those of GPT-4 on XSTest's answers."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Systems:
    """Systems that one judge compared with one baseline."""

    thetas: tuple[float, ...]
    """Log-odds of each at equal length, on a prompt of difficulty 0."""
    prompts: int
    spread: float = 1.5
    """Standard deviation of the prompts' difficulties, as of AlpacaEval's."""
    links: tuple[float, ...] = (0.0,)
    """How much longer the answers of each system get with a prompt that is easier by one: their logarithm."""
    own: float = 0.4
    """Standard deviation of what is an answer's own of the logarithm of its length."""
    skewed: bool = False
    """Difficulties are exponential in place of normal."""

    def truth(self) -> float:
        """Return the first system's rate at equal length, over all prompts."""
        share = (np.arange(100_000) + 0.5) / 100_000
        return float(sigmoid(self.thetas[0] + self.spread * self._easy(share)).mean())

    def draw(self, rng: Rng) -> list[Compared]:
        """Draw verdicts on as many prompts."""
        easy = self.spread * self._easy(rng.random(self.prompts))
        baseline = np.exp(rng.normal(7, 0.5, self.prompts))
        systems = []
        for number, theta in enumerate(self.thetas):
            link = self.links[number % len(self.links)]
            lengths = baseline * np.exp(link * easy + rng.normal(-0.3, self.own, self.prompts))
            shorter = baseline - lengths
            chance = sigmoid(theta + _TASTE * np.tanh(shorter / shorter.std(ddof=1)) + easy)
            systems.append(
                Compared(
                    variant=str(number),
                    preferences=(rng.random(self.prompts) < chance).astype(float).tolist(),
                    lengths=lengths.tolist(),
                    baseline_lengths=baseline.tolist(),
                    prompts=list(range(self.prompts)),
                )
            )
        return systems

    def _easy(self, share: Any) -> Any:
        from scipy.special import ndtri

        return -1 - np.log1p(-share) if self.skewed else ndtri(share)


def _at_equal_length() -> Iterator[Row]:
    for num in (20, 30, 100, 400):
        for theta in (-2.0, -1.0, 0.5):
            one = Systems(thetas=(theta,), prompts=num, spread=0)
            name = f"at equal length, alone, {num} prompts, rate {one.truth():.2f}"
            yield Row(name=name, truth=one.truth(), draw=one.draw, interval=_alone)
    for num in (30, 100, 400):
        for count in (2, 5):
            thetas = (-1.0, *np.linspace(-2, 0.5, count - 1).tolist())
            for said, links, skewed in _LINKED:
                systems = Systems(thetas=thetas, prompts=num, links=links, skewed=skewed)
                name = f"length-controlled, {count} systems, {num} prompts, {said}"
                yield Row(name=name, truth=systems.truth(), draw=systems.draw, interval=_together)
    for own in (0.2, 0.1, 0.02):
        # At the end nothing tells length from difficulty, and the number has another name.
        systems = Systems(thetas=(-1.0, 0.5), prompts=100, links=(0.4,), own=own)
        name = f"length-controlled, 2 systems, 100 prompts, lengths of one prompt {own} apart"
        yield Row(name=name, truth=systems.truth(), draw=systems.draw, interval=_together)


_LINKED: tuple[tuple[str, tuple[float, ...], bool], ...] = (
    ("length apart from difficulty", (0.0,), False),
    ("longer where easy", (0.25,), False),
    ("shorter where easy", (-0.25,), False),
    ("half of them longer where easy", (0.4, 0.0), False),
    ("longer where easy, skewed", (0.25,), True),
)


def _alone(systems: list[Compared]) -> Score | None:
    (one,) = systems
    found = length_controlled_win_rate(one.preferences, one.lengths, one.baseline_lengths, one.prompts)
    return None if found is None else found.score


def _together(systems: list[Compared]) -> Score | None:
    found = length_controlled_together(systems)[0]
    return None if found is None else found.score


def _refused(model: str, truth: float, sizes: tuple[int, ...], rng: Rng) -> tuple[list[bool], list[str]]:
    """Draw what the phrases find; whether the answers to a prompt refuse is alike in three of ten cases."""
    hits, count, false_alarms, helpful = FOUND[model]
    sensitivity = rng.beta(hits + 0.5, count - hits + 0.5)
    named = rng.beta(false_alarms + 0.5, helpful - false_alarms + 0.5)
    prompt = np.repeat(np.arange(len(sizes)), sizes)
    common, own = rng.random(len(sizes))[prompt], rng.random(len(prompt))
    refuses = np.where(rng.random(len(prompt)) < 0.3, common, own) < truth
    found = rng.random(len(prompt)) < np.where(refuses, sensitivity, named)
    return found.tolist(), prompt.astype(str).tolist()


def _corrected(study: tuple[list[bool], list[str]]) -> Score | None:
    return corrected_refusal_rate(*study)


def _judged_refusals(finds: float, names: float, truth: float, num: int, rng: Rng) -> tuple[list[bool], list[str]]:
    """Draw a judge's verdicts in both orders; an answer of which it says both has none."""
    refuses = rng.random(num) < truth
    first, second = (rng.random(num) < np.where(refuses, finds, names) for _ in range(2))
    verdicts = first[first == second]
    return verdicts.tolist(), [str(number) for number in range(len(verdicts))]


def _share(study: tuple[list[bool], list[str]]) -> Score | None:
    return share_with_interval(*study, name="refusal_judged", variant="after")

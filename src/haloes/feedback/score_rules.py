"""
Rules that turn scores into labels (KTO, section 4.1): a threshold, above the mean or median, or a draw.

Shapes: N rows, G prompts.
"""

from array import array
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from math import isfinite
from types import MappingProxyType
from typing import ClassVar, Protocol, TypeAlias, TypeGuard

import numpy as np
from numpy.typing import NDArray

from haloes.errors import ConfigError
from haloes.feedback.convert import rereadable
from haloes.feedback.keys import Int64s, group_number, row_number, seeded_uniform, where_of
from haloes.records import Feedback, Record, Refusal
from haloes.stats.bootstrap import Floats

Verdicts: TypeAlias = NDArray[np.int8]
"""One label a row: `DESIRABLE`, `UNDESIRABLE`, or `NO_VERDICT` for rows that are dropped."""

DESIRABLE = 1
UNDESIRABLE = 0
NO_VERDICT = -1


@dataclass(frozen=True, slots=True, kw_only=True)
class ScoreIndex:
    """The scores that a rule labels, as index arrays with one entry a row."""

    score_N: Floats
    group_N: Int64s
    """The row's prompt (`keys.group_number`)."""
    row_N: Int64s
    """The row's identity (`keys.row_number`)."""


class ScoreRule(Protocol):
    """Turns finite scores into labels."""

    no_verdict: ClassVar[str]
    """Reason given for a row that the rule does not label."""

    def __call__(self, scores: ScoreIndex) -> Verdicts:
        """Label each row, (N,)."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Threshold:
    """
    Desirable from a threshold on, undesirable below it.

    With a dead zone: desirable if `score >= tau + dead_zone`, undesirable if `score <= tau - dead_zone`.
    """

    no_verdict: ClassVar[str] = "the score lies in the dead zone around the threshold"

    tau: float
    """The threshold; a score of exactly `tau` is desirable (without a dead zone)."""
    dead_zone: float = 0.0
    """Rows nearer to the threshold than this are dropped: with tau=3 and dead_zone=1, 4 stars are good, 2 are bad."""

    def __post_init__(self) -> None:
        if not isfinite(self.tau):
            raise ConfigError(f"threshold: tau must be a number, got {self.tau}")
        if not 0 <= self.dead_zone < float("inf"):
            raise ConfigError(f"threshold: dead_zone must be 0 or more, got {self.dead_zone}")

    def __call__(self, scores: ScoreIndex) -> Verdicts:
        """Label each row, (N,)."""
        return _verdicts(scores.score_N >= self.tau + self.dead_zone, scores.score_N <= self.tau - self.dead_zone)


@dataclass(frozen=True, slots=True, kw_only=True)
class AboveMean:
    """Desirable above the mean score, undesirable below it; a score equal to the mean (up to rounding) is dropped."""

    no_verdict: ClassVar[str] = "the score equals the mean"

    per_prompt: bool = False
    """Compare with the mean over the answers to the same prompt. The only answer to its prompt is dropped."""

    def __call__(self, scores: ScoreIndex) -> Verdicts:
        """Label each row, (N,)."""
        return _by_centre(scores, _means, per_prompt=self.per_prompt)


@dataclass(frozen=True, slots=True, kw_only=True)
class AboveMedian:
    """
    Desirable above the median score, undesirable below it; a score equal to the median is dropped.

    Where half of the rows share the highest score, none is above the median: take the mean or a threshold there.
    """

    no_verdict: ClassVar[str] = "the score equals the median"

    per_prompt: bool = False
    """Compare with the median over the answers to the same prompt. The only answer to its prompt is dropped."""

    def __call__(self, scores: ScoreIndex) -> Verdicts:
        """Label each row, (N,)."""
        return _by_centre(scores, _medians, per_prompt=self.per_prompt)


@dataclass(frozen=True, slots=True, kw_only=True)
class Bernoulli:
    """
    Desirable with probability `1 / (1 + exp(-(score - location) / scale))`.

    The draw of a row is a pure function of the seed and the row, not of its position: other rows, another order or
    other scores of other rows change nothing, and a higher score can only make a row desirable that was not.
    """

    no_verdict: ClassVar[str] = "every score gets a verdict"

    location: float
    """The score that is desirable in one case of two."""
    scale: float
    """Distance from `location` at which the odds are e to one; the smaller, the more the rule is a threshold."""
    seed: int = 0
    """Seed of the draws."""

    def __post_init__(self) -> None:
        if not isfinite(self.location):
            raise ConfigError(f"bernoulli: location must be a number, got {self.location}")
        if not 0 < self.scale < float("inf"):
            raise ConfigError(f"bernoulli: scale must be positive, got {self.scale}")

    def __call__(self, scores: ScoreIndex) -> Verdicts:
        """Label each row, (N,)."""
        # tanh is the logistic without an overflow at large differences.
        with np.errstate(over="ignore"):
            probability_N = 0.5 + 0.5 * np.tanh((scores.score_N - self.location) / self.scale / 2)
        return (seeded_uniform(scores.row_N, seed=self.seed, purpose="bernoulli") < probability_N).astype(np.int8)


RULES: Mapping[str, type[Threshold | AboveMean | AboveMedian | Bernoulli]] = MappingProxyType(
    {"threshold": Threshold, "mean": AboveMean, "median": AboveMedian, "bernoulli": Bernoulli}
)
"""The rules by their names in a configuration."""


def label_scores(rows: Iterable[Record], rule: ScoreRule) -> Iterator[Record]:
    """
    Label every single answer by its score, whatever label it had; pairs and refusals pass unchanged.

    A row with no score, or one that is not a finite number, becomes a `Refusal` (reason "score"), and so does a row
    that the rule does not label (reason "no verdict"): it is dropped, and counted with the others.

    The rows are read twice, and only an index is held in memory, unless they come from a generator.
    """
    # The mean and the median need all scores before the first row can be labelled, hence two readings.
    source = rereadable(rows)
    verdicts = iter(rule(_read_scores(source)))
    for position, row in enumerate(source, start=1):
        if not isinstance(row, Feedback):
            yield row
        elif not _is_number(row.score):
            what = "no score" if row.score is None else f"the score {row.score}, which is no finite number"
            message = f"the row has {what}; give it one, or leave the row out"
            yield Refusal(where_of(row, position=position), "score", message)
        elif (verdict := next(verdicts)) == NO_VERDICT:
            yield Refusal(where_of(row, position=position), "no verdict", f"{rule.no_verdict}: {row.score:g}")
        else:
            yield replace(row, label=bool(verdict == DESIRABLE))


def _read_scores(rows: Iterable[Record]) -> ScoreIndex:
    """Read the rows that have a finite score into an index."""
    scores, groups, numbers = array("d"), array("q"), array("q")
    for row in rows:
        if isinstance(row, Feedback) and _is_number(row.score):
            scores.append(row.score)
            groups.append(group_number(row))
            numbers.append(row_number(row))
    return ScoreIndex(
        score_N=np.array(scores, dtype=np.float64),
        group_N=np.array(groups, dtype=np.int64),
        row_N=np.array(numbers, dtype=np.int64),
    )


def _is_number(score: float | None) -> TypeGuard[float]:
    return score is not None and isfinite(score)


def _verdicts(is_desirable_N: NDArray[np.bool_], is_undesirable_N: NDArray[np.bool_]) -> Verdicts:
    return np.where(is_desirable_N, DESIRABLE, np.where(is_undesirable_N, UNDESIRABLE, NO_VERDICT)).astype(np.int8)


def _by_centre(scores: ScoreIndex, centres: Callable[[Floats, Int64s], Floats], *, per_prompt: bool) -> Verdicts:
    """Label rows by the side of a centre (mean or median) that their score lies on; drop ties."""
    if len(scores.score_N) == 0:
        return np.zeros(0, dtype=np.int8)
    zeros_N = np.zeros_like(scores.group_N)
    node_N = np.unique(scores.group_N, return_inverse=True)[1] if per_prompt else zeros_N
    distance_N = scores.score_N - centres(scores.score_N, node_N)[node_N]
    # The mean of equal numbers need not be that number in floating point: what differs by rounding only is a tie.
    rounding = 1e-12 * float(np.abs(scores.score_N).max())
    return _verdicts(distance_N > rounding, distance_N < -rounding)


def _means(score_N: Floats, node_N: Int64s) -> Floats:
    return np.asarray(np.bincount(node_N, weights=score_N) / np.bincount(node_N), dtype=np.float64)


def _medians(score_N: Floats, node_N: Int64s) -> Floats:
    # All groups at once: sorted by group and then by score, a group's median is at the middle of its stretch.
    ordered_N = score_N[np.lexsort((score_N, node_N))]
    count_G = np.bincount(node_N)
    start_G = np.cumsum(count_G) - count_G
    middle_G = ordered_N[start_G + (count_G - 1) // 2] + ordered_N[start_G + count_G // 2]
    return np.asarray(middle_G / 2, dtype=np.float64)

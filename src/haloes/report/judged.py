"""What judges said of a run's answers, as `haloes eval` wrote it down, in the words of the report."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Any, TypeAlias

from haloes.records import Score
from haloes.report.numbers import is_finite

Fields: TypeAlias = Mapping[str, Any]

_OUTCOMES = ("won", "beaten", "tied")


@dataclass(frozen=True, slots=True, kw_only=True)
class Matchup:
    """A model against another by one judge, both orders taken together."""

    candidate: str
    baseline: str
    judge: str
    wins: int
    ties: int
    losses: int
    unscored: int
    num_prompts: int
    p_value: float | None
    """Of the sign test."""
    smallest_difference: float | None
    rates: tuple[Score, ...]
    """The win rate, and where it is known that at equal length."""
    by_length: tuple[Score, ...]
    trust: tuple[Score, ...]
    """What says how far the judge can be trusted: position bias, flips, canaries."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """What a judge said of one pair of answers."""

    judge: str
    outcome: str
    """For the candidate: "won", "beaten", "tied" or "unscored"."""
    flipped: bool
    """Whether the two orders had different winners."""


@dataclass(frozen=True, slots=True, kw_only=True)
class JudgedRun:
    """Everything of a run that was judged."""

    matchups: tuple[Matchup, ...] = ()
    agreement: tuple[Score, ...] = ()
    verdicts: Mapping[str, tuple[Verdict, ...]] | None = None
    """By prompt, of its first answers after training against those before."""


def judged_run(evaluation: Fields) -> JudgedRun:
    """
    The judged part of an evaluation.

    Raises KeyError, TypeError, ValueError or AttributeError where it is not what `haloes eval` writes.
    """
    judged = evaluation.get("judged")
    if not judged:
        return JudgedRun()
    verdicts: dict[str, tuple[Verdict, ...]] = {}
    for row in judged["comparisons"]:
        if (row["candidate"], row["baseline"], row["draw"]) == ("after", "before", 0):
            verdicts[str(row["prompt_id"])] = (*verdicts.get(str(row["prompt_id"]), ()), _verdict(row))
    return JudgedRun(
        matchups=tuple(_matchup(row) for row in judged["matchups"]),
        agreement=tuple(score_of(row) for row in judged["agreement"]),
        verdicts=verdicts,
    )


def score_of(row: Fields) -> Score:
    """A score from JSON. Raises KeyError, TypeError or ValueError where it is none."""
    names = {f.name for f in fields(Score)}
    score = Score(**{"num_rows": 0, "num_clusters": 0, "method": "", **{k: v for k, v in row.items() if k in names}})
    if not all(is_finite(number) for number in (score.value, score.low, score.high, score.level)):
        raise ValueError(f"{score.name} ({score.variant}) has no finite value and interval")
    return score


def together(verdicts: Sequence[Verdict]) -> str:
    """What the judges of one pair say together: most of those who have a verdict, a tie where that is even."""
    known = [verdict.outcome for verdict in verdicts if verdict.outcome in _OUTCOMES]
    if not known:
        return "unscored"
    lead = known.count("won") - known.count("beaten")
    return "won" if lead > 0 else "beaten" if lead < 0 else "tied"


def _matchup(row: Fields) -> Matchup:
    controlled = row["length_controlled"]
    rates = [row["win_rate"], controlled and controlled["score"]]
    trust = [row["position_bias"], row["flip_rate"], row["canary_rate"]]
    return Matchup(
        candidate=str(row["candidate"]),
        baseline=str(row["baseline"]),
        judge=str(row["judge"]),
        wins=int(row["wins"]),
        ties=int(row["ties"]),
        losses=int(row["losses"]),
        unscored=int(row["unscored"]),
        num_prompts=int(row["num_prompts"]),
        p_value=_number(row["sign_test"]["p_value"]),
        smallest_difference=_number(row["smallest_difference"]),
        rates=tuple(score_of(score) for score in rates if score),
        by_length=tuple(score_of(score) for score in row["by_length"]),
        trust=tuple(score_of(score) for score in trust if score),
    )


def _number(value: object) -> float | None:
    return float(value) if is_finite(value) else None


def _verdict(row: Fields) -> Verdict:
    preference, first, second = (_number(row[name]) for name in ("preference", "shown_first", "shown_second"))
    outcome = "unscored"
    if preference is not None:
        outcome = "tied" if preference == 0.5 else "won" if preference > 0.5 else "beaten"  # noqa: PLR2004
    flipped = first is not None and second is not None and (first - 0.5) * (second - 0.5) < 0
    return Verdict(judge=str(row["judge"]), outcome=outcome, flipped=flipped)

"""Blind comparisons by people, as judgements beside those of judges."""

from collections import defaultdict
from pathlib import Path
from typing import Any

from haloes.collected import votes
from haloes.records import Judgement, Verdict

PEOPLE = "people"
"""Name of the judge that all people together are."""

_LEFT = {"left": 1.0, "right": 0.0, "tie": 0.5, "both_bad": 0.5}


def judgements_of_people(store: Path) -> list[Judgement]:
    """
    Return one judgement for each prompt that people compared answers to: what they said on the average.

    Of one person's verdicts on a comparison the last counts. Sides are drawn for each person, so no position gains.

    Raises:
        DataError: the store cannot be read.
    """
    last: dict[tuple[Any, Any], dict[str, Any]] = {}
    for _, vote in votes(store):
        if vote is not None and vote["verdict"] in _LEFT and vote["left"] and vote["right"]:
            last[vote["comparison"], vote["user"]] = vote
    compared: dict[tuple[str, str, str], list[dict[str, Any]]] = defaultdict(list)
    for vote in last.values():
        prompt = str(vote["prompt_id"] or vote["comparison"])
        compared[str(vote["candidate"]), str(vote["baseline"]), prompt].append(vote)
    return [_judgement(*key, given) for key, given in compared.items()]


def _judgement(candidate: str, baseline: str, prompt: str, given: list[dict[str, Any]]) -> Judgement:
    points = [_points(vote, candidate) for vote in given]
    mean = sum(points) / len(points)
    verdict: Verdict = "tie"
    if mean != 0.5:  # noqa: PLR2004 - a tie
        verdict = "first" if mean > 0.5 else "second"  # noqa: PLR2004 - a tie
    return Judgement(
        prompt_id=prompt,
        candidate=candidate,
        baseline=baseline,
        candidate_first=True,
        one_order=True,
        verdict=verdict,
        preference=mean,
        judge=PEOPLE,
        candidate_length=_length(given[0], candidate),
        baseline_length=_length(given[0], baseline),
    )


def _points(vote: dict[str, Any], candidate: str) -> float:
    left = _LEFT[vote["verdict"]]
    return left if vote["left"]["model"] == candidate else 1 - left


def _length(vote: dict[str, Any], model: str) -> int | None:
    side = "left" if vote["left"]["model"] == model else "right"
    content = (vote[side]["message"] or {}).get("content")
    return len(content) if isinstance(content, str) else None

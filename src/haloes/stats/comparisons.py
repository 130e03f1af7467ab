"""From verdicts to comparisons: the two orders of each pair of answers brought together."""

from collections.abc import Iterable

from haloes.evaluation_results import JudgedPair
from haloes.records import Judgement
from haloes.stats.win_rate import both_orders

_FOR_FIRST = {"first": 1.0, "tie": 0.5, "second": 0.0}


def comparisons(judgements: Iterable[Judgement]) -> list[JudgedPair]:
    """
    Join the two orders of each pair of answers, for each judge, template and seed, in order of first appearance.

    An order that was never judged counts as not scored, but where it was drawn which one is (`one_order`). Of two
    judgements of the same question the later one holds, as when a reply that held no verdict was asked for again.
    """
    orders: dict[tuple[object, ...], dict[bool, Judgement]] = {}
    for judgement in judgements:
        key = (
            judgement.prompt_id,
            judgement.candidate,
            judgement.baseline,
            judgement.judge,
            judgement.template,
            judgement.seed,
            judgement.draw,
        )
        orders.setdefault(key, {})[judgement.candidate_first] = judgement
    return [_joined(order.get(True), order.get(False)) for order in orders.values()]


def preference_of(judgement: Judgement) -> float | None:
    """Return the preference for the candidate: the judge's own number, or what its verdict says; None is unscored."""
    if judgement.verdict is None:
        return None
    if judgement.preference is not None:
        return judgement.preference
    for_first = _FOR_FIRST[judgement.verdict]
    return for_first if judgement.candidate_first else 1 - for_first


def _joined(first: Judgement | None, second: Judgement | None) -> JudgedPair:
    about = first or second
    assert about is not None  # noqa: S101 - a key exists only with a judgement
    shown_first = preference_of(first) if first else None
    shown_second = preference_of(second) if second else None
    return JudgedPair(
        prompt_id=about.prompt_id,
        candidate=about.candidate,
        baseline=about.baseline,
        judge=about.judge,
        draw=about.draw,
        shown_first=shown_first,
        shown_second=shown_second,
        preference=preference_of(about) if about.one_order else both_orders([shown_first], [shown_second])[0],
        candidate_length=about.candidate_length,
        baseline_length=about.baseline_length,
    )

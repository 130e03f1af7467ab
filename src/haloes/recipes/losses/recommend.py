"""Which losses apply to a feedback file, and which suits it: the KTO paper's advice on what the file holds."""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from math import isfinite

from haloes.errors import DataError
from haloes.feedback.contradictions import contradictions
from haloes.feedback.doctor import examine
from haloes.losses._contract import Needs
from haloes.losses.table import LOSSES
from haloes.recipes.config import FeedbackSettings
from haloes.recipes.losses.explain import needs_of
from haloes.recipes.losses.suits import Advice, Seen, advice
from haloes.recipes.rows import Record, open_for_doctor
from haloes.records import Feedback


@dataclass(frozen=True, slots=True, kw_only=True)
class Recommendation:
    """What a file holds, what can be trained on it, and what is best."""

    holds: tuple[str, ...]
    """What was found, a fact each."""
    applies: tuple[tuple[str, tuple[str, ...]], ...]
    """Names of losses, by how they can take the file."""
    advice: tuple[Advice, ...]
    command: str
    """What to type to follow it."""


def recommend(settings: FeedbackSettings) -> Recommendation:
    """
    Read a feedback file and say which losses apply, which suits, with which weights and beta, and why.

    Scores without labels are looked at as labels too, by a threshold in the middle of them.
    Raises DataError when there is nothing in it to train on, or the file cannot be read.
    """
    rows = open_for_doctor(settings)
    seen = Seen(findings=examine(rows), pairs=contradictions(rows), scores=_score_range(rows))
    if not seen.findings.num_accepted:
        raise DataError(f"{settings.source}: no row can be used; `haloes doctor {settings.source}` says why")
    if seen.scores is not None and seen.balance.num_desirable + seen.balance.num_undesirable == 0:
        seen = _labelled(seen, settings)
    found = advice(seen)
    loss = next(one.what for one in found if one.topic == "loss")
    rule = (
        "" if seen.threshold is None else f" --set feedback.labels_from='{{rule: threshold, tau: {seen.threshold:g}}}'"
    )
    return Recommendation(
        holds=tuple(_holds(seen)),
        applies=tuple(_applies(seen)),
        advice=found,
        command=f"haloes train {settings.source} --loss {loss}{rule}",
    )


def _labelled(seen: Seen, settings: FeedbackSettings) -> Seen:
    low, high = seen.scores or (0.0, 0.0)
    middle = float(f"{(low + high) / 2:.6g}")
    rows = open_for_doctor(replace(settings, labels_from={"rule": "threshold", "tau": middle}))
    return replace(seen, findings=examine(rows), threshold=middle)


def _score_range(rows: Iterable[Record]) -> tuple[float, float] | None:
    low, high = float("inf"), float("-inf")
    for row in rows:
        if isinstance(row, Feedback) and row.score is not None and isfinite(row.score):
            low, high = min(low, row.score), max(high, row.score)
    return (low, high) if low <= high else None


def _holds(seen: Seen) -> Iterator[str]:
    findings, balance, pairs = seen.findings, seen.balance, seen.pairs
    if pairs.num_pairs:
        yield f"{pairs.num_pairs} pairs; others bear on {pairs.num_checkable}, {pairs.num_contradicted} in contradiction"
    num_single = findings.num_accepted - findings.num_pairs
    if num_single:
        scores = "" if seen.scores is None else f", with scores from {seen.scores[0]:g} to {seen.scores[1]:g}"
        yield f"{num_single} single answers{scores}"
    how = "" if seen.threshold is None else f" by a threshold of {seen.threshold:g}"
    yield f"{balance.num_desirable} desirable and {balance.num_undesirable} undesirable answers{how}"
    if findings.prompts is not None:
        both = findings.prompts.num_with_both_labels
        yield f"{findings.prompts.num} prompts, of which {both} have answers of both labels"
    if findings.repeats.conflicts.num and not findings.num_pairs:
        repeats = findings.repeats
        yield f"{repeats.conflicts.num} answers were rated both ways, with {repeats.num_conflicting_votes} votes"
    if findings.num_refused:
        yield f"{findings.num_refused} rows cannot be used (`haloes doctor` says why)"


def _applies(seen: Seen) -> Iterator[tuple[str, tuple[str, ...]]]:
    """Losses by how they can take what the file holds; a group without losses is left out."""
    balance = seen.balance
    both = seen.findings.prompts.num_with_both_labels if seen.findings.prompts else 0
    made = "" if seen.threshold is None else " once scores are made labels"
    groups: tuple[tuple[str, bool, Callable[[Needs], bool]], ...] = (
        ("on the pairs", seen.pairs.num_pairs > 0, lambda needs: needs.pairs),
        (f"on pairs made from the {both} prompts with both labels", not seen.pairs.num_pairs and both > 0,
         lambda needs: needs.pairs),
        ("on scores", seen.scores is not None, lambda needs: needs.scores),
        (f"on single answers{made}", balance.ratio is not None,
         lambda needs: not needs.pairs and not (needs.scores and seen.scores is not None)),
        ("on desirable answers alone", balance.num_undesirable == 0, lambda needs: not needs.pairs),
        ("on undesirable answers alone", balance.num_desirable == 0,
         lambda needs: not needs.pairs and needs.undesirable),
    )  # fmt: skip
    for how, is_there, fits in groups:
        names = tuple(
            name
            for name, maker in LOSSES.items()
            if fits(needs := needs_of(maker)) and (seen.num_prompts > 1 or not needs.mismatched)
        )
        if is_there and names:
            yield how, names

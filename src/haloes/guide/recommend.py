"""Which losses apply to a feedback file, and which suits it: the KTO paper's advice on what the file holds."""

import shlex
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from math import isfinite

from haloes.errors import DataError
from haloes.feedback.doctor.duplicates_and_contradictions import count_contradictions
from haloes.feedback.doctor.examine import examine
from haloes.guide.explain import needs_of
from haloes.guide.suits import Advice, Seen, advice
from haloes.losses._contract import Needs
from haloes.losses.table import LOSSES
from haloes.records import Feedback
from haloes.runs.config import FeedbackSettings
from haloes.runs.feedback_rows import Record, open_for_doctor


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
    seen = Seen(findings=examine(rows), pairs=count_contradictions(rows), scores=_score_range(rows))
    if not seen.findings.num_accepted:
        raise DataError(f"{settings.source}: no row can be used; `haloes doctor {settings.source}` says why")
    if seen.scores is not None and seen.balance.num_desirable + seen.balance.num_undesirable == 0:
        seen = _labelled(seen, settings)
    found = advice(seen)
    loss = next(one.what for one in found if one.topic == "loss")
    return Recommendation(
        holds=tuple(_holds(seen)),
        applies=tuple(_applies(seen)),
        advice=found,
        command=_command(settings, loss, seen.threshold),
    )


def _command(settings: FeedbackSettings, loss: str, threshold: float | None) -> str:
    """What to type, with what was said of the file repeated."""
    words = ["haloes", "train", settings.source, "--loss", loss]
    if settings.columns:
        words += ["--columns", ",".join(f"{name}={column or ''}" for name, column in settings.columns.items())]
    rule = settings.labels_from if threshold is None else {"rule": "threshold", "tau": threshold}
    if rule is not None:
        inside = ", ".join(f"{key}: {_written(value)}" for key, value in rule.items())
        words += ["--set", f"feedback.labels_from={{{inside}}}"]
    return shlex.join(words)


def _written(value: object) -> str:
    return f"{value:g}" if isinstance(value, float) else str(value).lower()


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
        checked = f"others bear on {pairs.num_checkable}, and {pairs.num_contradicted} are in contradiction"
        yield f"{pairs.num_pairs} pairs; {checked if pairs.num_checkable else 'no answers are compared twice'}"
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
    balance, paired = seen.balance, seen.pairs.num_pairs > 0
    both = seen.findings.prompts.num_with_both_labels if seen.findings.prompts else 0
    made = "" if seen.threshold is None else " once scores are made labels"
    groups: tuple[tuple[str, bool, Callable[[Needs], bool]], ...] = (
        ("on the pairs", paired, lambda needs: needs.pairs),
        ("on scores", seen.scores is not None, lambda needs: _takes_scores(needs, seen)),
        (f"on single answers{made}", balance.ratio is not None, lambda needs: _takes_labels(needs, seen)),
        (f"on pairs of answers to one prompt ({both} prompts)", both > 0 and not paired, lambda needs: needs.pairs),
        ("on desirable answers alone", balance.num_undesirable == 0, lambda needs: _takes_one_label(needs, seen)),
        (
            "on undesirable answers alone",
            balance.num_desirable == 0,
            lambda needs: needs.undesirable and _takes_one_label(needs, seen),
        ),
    )
    for how, is_there, fits in groups:
        needs_by_name = {name: needs_of(maker) for name, maker in LOSSES.items()} if is_there else {}
        names = tuple(
            name
            for name, needs in needs_by_name.items()
            if fits(needs) and (seen.num_prompts > 1 or not needs.mismatched)
        )
        if names:
            yield how, names


def _takes_scores(needs: Needs, seen: Seen) -> bool:
    if seen.scores is None or not needs.scores:
        return False
    low, high = needs.score_range or seen.scores
    return low <= seen.scores[0] and seen.scores[1] <= high


def _takes_labels(needs: Needs, seen: Seen) -> bool:
    """Losses on scores take labels for the best and the worst score, where there are no scores."""
    return not needs.pairs and not (needs.scores and seen.scores is not None)


def _takes_one_label(needs: Needs, seen: Seen) -> bool:
    """Not where the examples of a step depend on each other: what one label is held against is not there."""
    return _takes_labels(needs, seen) and not needs.whole_step

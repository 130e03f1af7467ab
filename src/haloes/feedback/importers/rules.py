"""
The rules that are the same for every export: what becomes of `Rated`, `Compared` and `LeftOut`.

- Verdicts of people count; those of judge models and of code only where the user asks for them (`Options.voters`).
- Of one person's votes on one answer (and one metric) the last counts: by time, else by the order of the rows.
- A correction makes a pair: chosen is the correction, rejected the answer. The answer is then no row of its own.
- A vote that says neither good nor bad is left out, and so is whatever cannot be trained on. All of it is counted.
"""

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field, replace
from types import MappingProxyType
from typing import Any

from haloes.feedback.fields import RawRow
from haloes.feedback.importers.contract import Compared, Imported, LeftOut, Options, Rated, Unrated, Vote
from haloes.feedback.importers.export import PlacedRow
from haloes.feedback.importers.scale import label_of
from haloes.feedback.keys import number_of
from haloes.feedback.messages import check_completion, check_prompt, clean_text, same_completion
from haloes.feedback.reach import Reach
from haloes.feedback.refusals import RefusalError, short_repr
from haloes.feedback.times import iso_time, seconds_of
from haloes.records import Feedback, Pair, Record, Refusal, Where


def each_row(rows: Iterable[PlacedRow], read: Callable[[RawRow, Where], Iterator[Imported]]) -> Iterator[Imported]:
    """Yield what `read` makes of each row; one that cannot be read, or that it refuses, is left out with the reason."""
    for where, row in rows:
        if isinstance(row, RefusalError):
            yield LeftOut(row.reason, where, row.message)
            continue
        try:
            yield from read(row, where)
        except RefusalError as refused:
            yield LeftOut(refused.reason, where, refused.message)


def each_shown(rows: Iterable[PlacedRow], read: Callable[[RawRow, Where], Iterator[Unrated]]) -> Iterator[Unrated]:
    """Yield the unrated answers that `read` finds in each row; what cannot be read holds none."""
    for where, row in rows:
        if not isinstance(row, RefusalError):
            with suppress(RefusalError):
                yield from read(row, where)


@dataclass(frozen=True, slots=True, kw_only=True)
class FirstLook:
    """What a first reading of an export finds out, before any record can be made of it."""

    earlier: frozenset[int]
    """Places, in the order of reading, of the verdicts that a later one of the same person replaces."""
    metrics: Mapping[str, int]
    """Verdicts that are wanted, by the name of what they are on; those without a name are not among them."""
    reach: Reach = field(default_factory=Reach)
    """The files that verdicts stand in."""


def look_first(items: Iterable[Imported], options: Options) -> FirstLook:
    """Read an export once; memory is 200 bytes a verdict."""
    last: dict[int, tuple[float, int]] = {}
    earlier: set[int] = set()
    metrics = Counter[str]()
    ends: dict[str, int] = {}
    for place, item in enumerate(items):
        ends[item.where.path] = max(item.where.line, ends.get(item.where.path, 0))
        if isinstance(item, LeftOut) or _not_wanted(item, options) is not None:
            continue
        if item.metric is not None:
            metrics[item.metric] += 1
        if (key := _vote_of(item)) is None:
            continue
        mine = (seconds_of(item.time) or 0.0, place)
        other = last.setdefault(key, mine)
        if other != mine:
            last[key] = max(mine, other)
            earlier.add(min(mine, other)[1])
    return FirstLook(earlier=frozenset(earlier), metrics=dict(metrics.most_common()), reach=Reach(ends))


def rated_answers(
    items: Iterable[Imported], options: Options, *, earlier: frozenset[int]
) -> Iterator[tuple[int, Rated, bool | None]]:
    """Yield the verdicts on one answer that count, each with its place in the order of reading, and its label."""
    for place, item in enumerate(items):
        if not isinstance(item, Rated) or place in earlier or _not_wanted(item, options) is not None:
            continue
        try:
            label = _label(item, options)
        except RefusalError:
            continue
        if label is not None or item.score is not None or item.correction:
            yield place, item, label


def as_records(
    items: Iterable[Imported],
    options: Options,
    *,
    earlier: frozenset[int],
    source: str,
    factors: Mapping[int, float] = MappingProxyType({}),
) -> Iterator[Record]:
    """
    Make a record of each item, in order.

    Args:
        items: What an importer yields.
        options: What the user says of the export.
        earlier: Places of the votes that are not the last of their person (`look_first`).
        source: Name of the tool, for the records' `source`.
        factors: Factors on the weights of some verdicts, by their place in the order of reading.
    """
    for place, item in enumerate(items):
        if isinstance(item, LeftOut):
            yield Refusal(item.where, item.reason, item.message)
            continue
        try:
            if (unwanted := _not_wanted(item, options)) is not None:
                yield unwanted.at(item.where)
            elif place in earlier:
                message = f"{item.user or 'the user'} voted on this answer again later, and the last vote counts"
                yield Refusal(item.where, "earlier vote", message)
            else:
                weighed = replace(item, weight=item.weight * factors[place]) if place in factors else item
                yield _pair(weighed, source) if isinstance(weighed, Compared) else _rated(weighed, options, source)
        except RefusalError as refused:
            yield refused.at(item.where)


def _vote_of(verdict: Vote) -> int | None:
    """Return a number for the person, the answer and what was rated of it; None where the answer has no id."""
    if verdict.answer is None:
        return None
    return number_of(repr((verdict.voter, verdict.user, verdict.conversation, verdict.answer, verdict.metric)))


def _not_wanted(verdict: Vote, options: Options) -> RefusalError | None:
    """Return why the user does not want a verdict; None where they do."""
    if verdict.voter not in options.voters:
        who = {"human": "a person", "model": "a judge model", "code": "code"}[verdict.voter]
        named = "" if verdict.metric is None else f" ({short_repr(verdict.metric)})"
        return RefusalError("not a person's", f"the verdict{named} is of {who}; feedback.voters says whose are used")
    if options.metric is not None and verdict.metric != options.metric and not _is_bare_correction(verdict):
        given = short_repr(verdict.metric)
        return RefusalError("other metric", f"the verdict is on {given}, and feedback.metric is {options.metric!r}")
    return None


def _is_bare_correction(verdict: Vote) -> bool:
    """Return whether a verdict is a correction that is of no metric, and so none of another."""
    return isinstance(verdict, Rated) and bool(verdict.correction) and verdict.metric is None


def _rated(item: Rated, options: Options, source: str) -> Feedback | Pair:
    label = _label(item, options)
    if item.correction and not same_completion(item.correction, item.completion):
        if label:
            raise RefusalError("corrected and liked", "the answer has a thumb up and a correction as well")
        return _pair(_of_correction(item), source)
    if label is None and item.score is None:
        raise RefusalError("no verdict", "the vote says neither good nor bad")
    return Feedback(
        prompt=check_prompt(item.messages),
        completion=check_completion(item.completion),
        label=label,
        score=item.score,
        finished=item.finished,
        model=_name(item.model),
        **_shared(item, source),
    )


def _label(item: Rated, options: Options) -> bool | None:
    """Return the label of a vote. Raises RefusalError for a word of unknown meaning, unless a correction says more."""
    if item.word is None:
        return item.label
    try:
        return label_of(item.word, options.words, metric=item.metric)
    except RefusalError:
        if item.correction:
            return None
        raise


def _of_correction(item: Rated) -> Compared:
    return Compared(
        where=item.where,
        messages=item.messages,
        chosen=item.correction,
        rejected=item.completion,
        rejected_finished=item.finished,
        rejected_model=item.model,
        metric=item.metric,
        user=item.user,
        conversation=item.conversation,
        id=item.id,
        time=item.time,
        comment=item.comment,
        weight=item.weight,
        tools=item.tools,
    )


def _pair(item: Compared, source: str) -> Pair:
    chosen, rejected = (
        check_completion(item.chosen, column="chosen"),
        check_completion(item.rejected, column="rejected"),
    )
    if same_completion(chosen, rejected):
        raise RefusalError("chosen equals rejected", "both answers are the same, so neither is preferred")
    return Pair(
        prompt=check_prompt(item.messages),
        chosen=chosen,
        rejected=rejected,
        chosen_finished=item.chosen_finished,
        rejected_finished=item.rejected_finished,
        margin=item.margin,
        chosen_model=_name(item.chosen_model),
        rejected_model=_name(item.rejected_model),
        **_shared(item, source),
    )


def _shared(item: Vote, source: str) -> dict[str, Any]:
    """Return the fields that `Feedback` and `Pair` have in common."""
    return {
        "id": _name(item.id),
        "conversation": _name(item.conversation),
        "user": _name(item.user),
        "source": source if item.metric is None else _name(f"{source}: {item.metric}"),
        "rated_at": iso_time(item.time),
        "comment": _name(item.comment),
        "hindsight": _name(item.hindsight) if isinstance(item, Rated) else None,
        "weight": item.weight,
        "tools": item.tools,
        "where": item.where,
    }


def _name(text: str | None) -> str | None:
    return clean_text(text, subject="a name or remark") if text and text.strip() else None

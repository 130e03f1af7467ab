"""Whose taste a set of feedback holds, in sentences: for the report and for `haloes doctor`."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import groupby

from markupsafe import Markup

from haloes.report import charts
from haloes.report.numbers import count, length_sentence, percent, plain, show, with_interval
from haloes.report.shown import BY as RATED_BY
from haloes.report.shown import rated
from haloes.results import RatedOf, Score, ShownAndRated, Taste, VotesOf

BY = {
    "model": "by the model that answered",
    "length": "by the length of the answer",
    "hour": "by the hour of the vote",
    "time": "by the time of the vote",
}
"""Kinds of answers, by `VotesOf.by`."""


_VOTES = (
    "The strips run from 0% to 100%; the dashed line is the share of all votes. Intervals are 95% and count people, as "
    "one person's votes hang together."
)
_RATED = (
    "Of the answers that people were shown. Where a kind is rated more often than others, votes say more of it than it "
    "has a share in. Intervals are 95% and count people."
)
_LIKELY = (
    "The mean log-probability of a token of an answer, in nats, of the model before training: at −1 each token was as "
    "likely as one of 2.7 equally likely ones, at −2 as one of 7.4. Answers that another model gave are off-policy: "
    "the lower their number, the less the model would have written such answers itself, and the less the votes say of "
    "its own. Held-out answers; intervals count prompts."
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """A number of one kind of answers."""

    name: str
    note: str
    value: str
    interval: str
    method: str
    chart: Markup | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Table:
    """The numbers of several kinds of answers."""

    title: str
    rows: tuple[Row, ...]
    note: str


@dataclass(frozen=True, slots=True, kw_only=True)
class TasteSection:
    """What the report tells of whose verdicts were trained on."""

    sentences: tuple[str, ...]
    tables: tuple[Table, ...]


def taste_section(taste: Taste | None, logged: Sequence[Score]) -> TasteSection | None:
    """Return the section of a report; None where nothing of it was counted."""
    sentences = [] if taste is None else [*people(taste), *thumbs(taste), *rated(taste.shown)]
    kinds = () if taste is None else taste.kinds
    of_all = None if taste is None or taste.up is None else taste.up.value
    tables = [
        Table(title=f"Up votes {BY[by]}", rows=tuple(_vote_row(kind, of_all) for kind in own), note=_VOTES)
        for by, own in groupby(kinds, key=lambda kind: kind.by)
    ]
    # Said once, below the last of them.
    tables = [replace(table, note="") for table in tables[:-1]] + tables[-1:]
    if taste is not None and taste.shown is not None:
        tables += _rated_tables(taste.shown)
    if logged:
        rows = tuple(_likely_row(score, logged) for score in logged)
        tables.insert(0, Table(title="How likely the model finds the logged answers", rows=rows, note=_LIKELY))
    if not sentences and not tables:
        return None
    return TasteSection(sentences=tuple(f"{_capital(sentence)}." for sentence in sentences), tables=tuple(tables))


def _vote_row(kind: VotesOf, of_all: float | None) -> Row:
    shown = None if kind.up is None else show(kind.up)
    drawn = None if kind.up is None else [("after", kind.up.value, kind.up.low, kind.up.high)]
    return Row(
        name=kind.name,
        note=_plural(kind.num_votes, "vote"),
        value=percent(kind.share_up) if shown is None else shown.value,
        interval="one person's" if shown is None else shown.interval,
        method="one person's votes show nothing of others" if kind.up is None else kind.up.method,
        chart=None if drawn is None else charts.intervals(drawn, guide=of_all, within=(0, 1)),
    )


def _rated_tables(shown: ShownAndRated) -> list[Table]:
    """Return the share of answers that are rated, of each kind of answers; what it is, below the last."""
    of_all = shown.num_rated / shown.num_shown
    tables = [
        Table(
            title=f"Answers that are rated, {RATED_BY[by]}",
            rows=tuple(_rated_row(kind, of_all) for kind in own),
            note="",
        )
        for by, own in groupby(shown.kinds, key=lambda kind: kind.by)
    ]
    return [*tables[:-1], *(replace(table, note=_RATED) for table in tables[-1:])]


def _rated_row(kind: RatedOf, of_all: float) -> Row:
    drawn = None if kind.rated is None else [("after", kind.rated.value, kind.rated.low, kind.rated.high)]
    return Row(
        name=kind.name,
        note=f"{_plural(kind.num_shown, 'answer')} shown",
        value=percent(kind.num_rated / kind.num_shown) if kind.rated is None else show(kind.rated).value,
        interval="one person's" if kind.rated is None else show(kind.rated).interval,
        method="one person's show nothing of others" if kind.rated is None else kind.rated.method,
        chart=None if drawn is None else charts.intervals(drawn, guide=of_all, within=(0, 1)),
    )


def _likely_row(score: Score, all_scores: Sequence[Score]) -> Row:
    shown = show(score)
    lowest = min(one.low for one in all_scores)
    return Row(
        name=score.label,
        note=f"{_plural(score.num_rows, 'answer')}, {_plural(score.num_clusters, 'prompt')}",
        value=shown.value,
        interval=shown.interval,
        method=f"{shown.with_level}. {shown.method}",
        chart=charts.intervals([("after", score.value, score.low, score.high)], within=(lowest * 1.05, 0.0)),
    )


def people(taste: Taste) -> list[str]:
    """Say how many people gave the verdicts, and how evenly."""
    verdicts = _plural(taste.num_votes, "verdict")
    if not taste.num_people:
        return [f"nobody is named: how many people gave the {verdicts} cannot be known"]
    unnamed = f" ({count(taste.num_unnamed)} of them name nobody)" if taste.num_unnamed else ""
    if taste.num_people == 1:
        if taste.num_unnamed:
            return [f"one person is named, by {count(taste.num_votes - taste.num_unnamed)} of {verdicts}"]
        return [f"one person gave all {verdicts}: what others like cannot be known"]
    half = "one of them" if taste.num_for_half == 1 else f"{count(taste.num_for_half)} of them"
    said = (
        f"{count(taste.num_people)} people gave {verdicts}{unnamed}: {half} gave half, the most active "
        f"{percent(taste.largest_share)}; as concentrated as {plain(taste.num_even, 1)} people with equally many"
    )
    return [said]


def thumbs(taste: Taste) -> list[str]:
    """Say how many thumbs are up, whether length alone tells them, and how often votes contradict each other."""
    said = []
    if taste.up is not None:
        said.append(f"{with_interval(taste.up)} of {_plural(taste.up.num_rows, 'thumb')} are up")
    if taste.length is not None:
        said.append(length_sentence(taste.length))
    if taste.num_again:
        said.append(
            f"on {_plural(taste.num_again, 'answer')} one person voted again, on {count(taste.num_changed)} of them "
            "the other way"
        )
    if taste.num_shared:
        agreed = f": on {with_interval(taste.agreed)} of these all agree" if taste.agreed is not None else ""
        said.append(f"on {_plural(taste.num_shared, 'answer')} several people voted{agreed}")
    return said


def share_up(kind: VotesOf) -> str:
    """Write the share of up votes with its interval, or that there is none."""
    if kind.up is None:
        return f"{percent(kind.share_up)} (one person's: no interval)"
    shown = show(kind.up)
    return f"{shown.value} ({shown.interval})"


def _capital(text: str) -> str:
    return text[:1].upper() + text[1:]


def _plural(number: int, noun: str) -> str:
    return f"{count(number)} {noun}{'' if number == 1 else 's'}"

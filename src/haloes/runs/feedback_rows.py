"""The rows of a feedback file as a loss needs them: scores to labels, pairs to single answers and back."""

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from functools import partial
from itertools import repeat
from typing import Any

from haloes.errors import ConfigError, DataError
from haloes.feedback.convert import one_per_prompt, pair, unpair
from haloes.feedback.importers.contract import Options
from haloes.feedback.importers.reader import ExportReader
from haloes.feedback.raters.reliability import estimate_raters, rater_weights, weigh
from haloes.feedback.raters.votes import Votes
from haloes.feedback.reach import Reach
from haloes.feedback.read import FeedbackSource
from haloes.feedback.refusals import EMPTY, NO_FAULT
from haloes.feedback.score_rules import RULES, ScoreRule, label_scores
from haloes.progress.contract import Progress
from haloes.records import Feedback, Pair, Record, Refusal, Where, memory_name
from haloes.results import ShownAndRated
from haloes.runs.config import FeedbackSettings

NOT_USED = "undesirable, which this loss does not use"
NO_PARTNER = "no partner for a pair"
"""Reasons given for rows that are left out for no fault of theirs."""

_LEFT_OUT = {NOT_USED, NO_PARTNER, *NO_FAULT}
_TOLD_EVERY = 256
"""Rows after which a progress is told how far the reading is."""
_TOLD_REASONS = 4
_FEW = 0.05
"""The share of a file's rows that may be empty in a file that is in order."""


@dataclass(frozen=True, slots=True)
class Rows:
    """Rows that can be read again and again, through conversions."""

    source: "Iterable[Record] | _Counted"
    convert: Callable[[Iterable[Record]], Iterable[Record]]

    def __iter__(self) -> Iterator[Record]:
        return iter(self.convert(self.source))

    @property
    def num_read(self) -> int:
        """Return how many rows the file gave in the last whole reading, whatever conversions made of them."""
        return self.source.num_read if isinstance(self.source, Rows | _Counted) else 0

    @property
    def num_split(self) -> int:
        """Return how many pairs of the last whole reading became a good and a bad answer each."""
        return self.source.num_split if isinstance(self.source, Rows | _Counted) else 0

    @property
    def rater_weights(self) -> dict[str | None, float]:
        """Return the factor on the rows of each person whose votes overlap with others'; none where all weigh alike."""
        return self.source.rater_weights if isinstance(self.source, Rows | _Counted) else {}

    @property
    def file(self) -> FeedbackSource | None:
        """Return the file that they are read from; None where they are from no file."""
        if isinstance(self.source, Rows):
            return self.source.file
        read = self.source.rows if isinstance(self.source, _Counted) else self.source
        return read if isinstance(read, FeedbackSource) else None

    def shown(self) -> ShownAndRated | None:
        """Return which of the answers that people were shown are rated; None where no unrated ones are in the file."""
        return None if self.file is None else self.file.shown()

    @property
    def scrubbed(self) -> dict[str, int]:
        """Return how much personal data the last reading replaced, by kind."""
        return {} if self.file is None else dict(self.file.scrubbed.most_common())

    @property
    def export(self) -> str | None:
        """Return the layout of the tool's export that they are read from; None where they are from no such thing."""
        return self.source.export if isinstance(self.source, Rows | _Counted) else None


@dataclass(slots=True)
class _Counted:
    """The rows of a file as they are, counted as they are read."""

    rows: FeedbackSource
    splits_pairs: bool
    """Whether pairs become single answers."""
    votes: Votes | None = None
    """Takes the verdicts of the first reading, as they are before any conversion."""
    rater_weights: dict[str | None, float] = field(default_factory=dict)
    """The factors on the rows of each person, where they have some (`raters.reliability.rater_weights`)."""
    num_read: int = 0
    num_split: int = 0

    def __iter__(self) -> Iterator[Record]:
        num, num_split, votes = 0, 0, None if self.votes else self.votes
        for row in self.rows:
            num += 1
            num_split += self.splits_pairs and isinstance(row, Pair)
            if votes is not None and not isinstance(row, Refusal):
                votes.add(row)
            yield row
        self.num_read, self.num_split = num, num_split

    @property
    def export(self) -> str | None:
        """Return the layout of the export; None for a file of any other kind."""
        return self.rows.read_as if isinstance(self.rows.reader, ExportReader) else None


def open_rows(
    path: str,
    settings: FeedbackSettings,
    *,
    pairs: bool,
    undesirable: bool = True,
    middle: float | None = None,
    votes: Votes | None = None,
) -> Rows:
    """
    Open a feedback file as a loss needs it: as pairs, or as single labelled answers.

    Args:
        path: the file, folder or data set.
        settings: how it is read and what it is turned into.
        pairs: whether pairs are needed.
        undesirable: whether undesirable single answers are needed; where not they are refused as `NOT_USED`.
        middle: for a loss that learns from scores: where there is no label, the one for reports is told apart here.
        votes: an empty index, filled by the first reading with the verdicts as the file has them.

    Raises DataError when the file as a whole cannot be used or its raters cannot be weighed,
    ConfigError for a score rule that does not exist, or where
    pairs are needed and one answer a prompt is asked for.
    """
    if pairs and settings.one_per_prompt:
        raise ConfigError("feedback.one_per_prompt is for single answers, and pairs are needed here; leave it out")
    counted = _Counted(feedback_source(path, settings), not pairs, votes)
    rows: Rows | _Counted = counted
    if settings.labels_from is not None:
        rule = score_rule(settings.labels_from)
        rows = Rows(rows, partial(label_scores, rule=rule))
    if settings.rater_weights is not None:
        counted.rater_weights = _rater_weights(rows, path)
        rows = Rows(rows, partial(weigh, weights=counted.rater_weights))
    # Lazily and again: the first reading makes the index, the second encodes, and no list of rows is ever held.
    if pairs:
        return Rows(Rows(rows, partial(_labelled, middle=None)), partial(_paired, seed=settings.split_seed))
    rows = Rows(rows, unpair)
    if settings.one_per_prompt:
        rows = Rows(rows, partial(one_per_prompt, seed=settings.split_seed))
    return Rows(Rows(rows, partial(_labelled, middle=middle)), partial(_used, undesirable=undesirable))


def _rater_weights(rows: Iterable[Record], path: str) -> dict[str | None, float]:
    """Estimate from all rows how much those of each person weigh. Raises DataError where too few people overlap."""
    votes = Votes()
    for row in rows:
        if not isinstance(row, Refusal):
            votes.add(row)
    found = estimate_raters(votes)
    if found.too_little:
        raise DataError(
            f"{memory_name(path) or path}: feedback.rater_weights=em has too little to go by: {found.too_little}; "
            "leave it out"
        )
    return rater_weights(found, votes)


def open_for_doctor(settings: FeedbackSettings, source: FeedbackSource | None = None) -> Rows:
    """
    Open a feedback file as it is, with labels from scores if the settings say so; for looking only.

    Where its source is open already (`feedback_source`), this is read.
    """
    source = source or feedback_source(settings.source, settings)
    if settings.labels_from is None:
        return Rows(source, lambda rows: rows)
    return Rows(source, partial(label_scores, rule=score_rule(settings.labels_from)))


def feedback_source(path: str, settings: FeedbackSettings) -> FeedbackSource:
    """Open a feedback file as the settings say that it is read."""
    return FeedbackSource(
        path,
        settings.format,
        settings.columns,
        settings.split,
        preference_scale=settings.preference_scale,
        sessions=settings.sessions,
        options=Options(
            voters=frozenset(settings.voters),
            metric=settings.metric,
            words=_words(settings),
            reweight=settings.reweight == "rated",
        ),
        system=settings.system,
        scrub=settings.scrub,
    )


def _words(settings: FeedbackSettings) -> dict[str, bool | None]:
    """Return the labels of an export's own words. Raises ConfigError for a word that is said to be two things."""
    labels: dict[str, bool | None] = {}
    for kind, words in (settings.words or {}).items():
        label = {"up": True, "down": False, "none": None}[kind]
        for word in words:
            if labels.setdefault(word.strip().casefold(), label) is not label:
                raise ConfigError(f"feedback.words: {word!r} stands in two of up, down and none; leave it in one")
    return labels


def tell_reading(rows: Rows, progress: Progress, name: str) -> Iterator[Record]:
    """
    Yield the rows, and tell in a stage of this name how far in their files they are, in lines.

    An export is looked through before, in stages of its own. Where all is one line, rows are counted.
    """
    reach = Reach() if rows.file is None else rows.file.reach(progress)
    progress.stage(name, reach.total)
    told = 0
    for number, row in enumerate(rows):
        done = reach.done(row.where, number=number)
        if number % _TOLD_EVERY == 0 and done > told:
            progress.advance(done - told)
            told = done
        yield row


def describe_reading(rows: Rows, name: str, *, num_used: int, refused: Mapping[str, int]) -> str | None:
    """
    Return in a line what a file was recognised as, what its pairs became and what is left out of it.

    None where there is nothing to say.

    Args:
        rows: the rows, which were read.
        name: the file's name.
        num_used: number of rows that are used.
        refused: number of rows that are left out, by reason.
    """
    if rows.export is None and not refused and not rows.num_split:
        return None
    known = "" if rows.export is None else f"{rows.export}; "
    told = f"{name}: {known}{num_used} row{'' if num_used == 1 else 's'} used{left_out(refused)}"
    if not rows.num_split:
        return told
    count = f"{rows.num_split} pair{' is' if rows.num_split == 1 else 's are'}"
    return (
        f"{told}; {count} read as a good and a bad answer each, as the loss learns from single ones (`haloes losses "
        "recommend` with the same file says whether one for pairs, such as --loss dpo, suits it better)"
    )


def left_out(refused: Mapping[str, int]) -> str:
    """Return how many rows are left out and the most frequent reasons, to follow what is used; empty without any."""
    if not refused:
        return ""
    by_count = sorted(refused.items(), key=lambda item: -item[1])
    more = [] if len(by_count) <= _TOLD_REASONS else [f"{len(by_count) - _TOLD_REASONS} other reasons"]
    reasons = ", ".join([*(f"{count} x {reason}" for reason, count in by_count[:_TOLD_REASONS]), *more])
    return f", {sum(refused.values())} left out: {reasons} (`haloes doctor` says which and why)"


def fatal_reasons(refused: Mapping[str, int], num_read: int) -> set[str]:
    """Return which of these reasons, each with its count, show that a file of so many rows is not what it seemed."""
    # Of the file's rows, and not of what a loss makes of them: a file that is fit for thumbs is fit for pairs.
    allowed = _LEFT_OUT if _num_empty(refused) > _FEW * num_read else _LEFT_OUT | EMPTY
    return {reason for reason, count in refused.items() if count and reason not in allowed}


def too_many_empty(refused: Mapping[str, int], num_read: int) -> str:
    """Return in words that a file has more empty rows than are left out tacitly; nothing where it has not."""
    num_empty = _num_empty(refused)
    if num_empty <= _FEW * num_read:
        return ""
    return (
        f"{num_empty} of the file's {num_read} rows ({num_empty / num_read:.1%}) are empty; up to {_FEW:.0%} would be "
        "left out and counted"
    )


def _num_empty(refused: Mapping[str, int]) -> int:
    return sum(count for reason, count in refused.items() if reason in EMPTY)


def score_rule(settings: dict[str, Any]) -> ScoreRule:
    """Make a rule of its `rule` name and its parameters. Raises ConfigError where these do not fit."""
    if "rule" not in settings:
        raise ConfigError(
            f"feedback.labels_from has no rule, but {', '.join(map(repr, settings)) or 'nothing'}: write for example "
            "'{rule: threshold, tau: 4}', with a space after each colon"
        )
    name = str(settings["rule"])
    if name not in RULES:
        raise ConfigError(f"feedback.labels_from.rule: there is no rule {name!r}. There are: {', '.join(RULES)}")
    parameters = {key: value for key, value in settings.items() if key != "rule"}
    try:
        return RULES[name](**parameters)
    except TypeError as error:
        raise ConfigError(f"feedback.labels_from: the rule {name} cannot take {parameters}: {error}") from error


def _used(rows: Iterable[Record], *, undesirable: bool) -> Iterator[Record]:
    for row in rows:
        if isinstance(row, Feedback) and row.label is False and not undesirable:
            yield Refusal(row.where or Where("", 0), NOT_USED, "left out")
        else:
            yield row


def _labelled(rows: Iterable[Record], *, middle: float | None) -> Iterator[Record]:
    for row in rows:
        if isinstance(row, Feedback) and row.label is None and row.score is not None and middle is not None:
            yield replace(row, label=row.score > middle)
        elif isinstance(row, Feedback) and row.label is None:
            message = (
                "the row has a score and no label; say how to make one, such as --set "
                "feedback.labels_from='{rule: threshold, tau: 4}', where good begins at 4"
            )
            yield Refusal(row.where or Where("", 0), "score without label", message)
        else:
            yield row


def _paired(rows: Iterable[Record], *, seed: int) -> Iterator[Record]:
    """Yield pairs as they are; then those that single answers to the same prompt make; refuse the rest."""
    single: list[Feedback] = []
    for row in rows:
        if isinstance(row, Feedback):
            single.append(row)
        else:
            yield row
    paired = pair(single, seed=seed)
    yield from paired.pairs
    left = paired.num_desirable_left + paired.num_undesirable_left + paired.num_contradictory
    where = single[0].where if single else None
    # One refusal for each answer left over, so that the counts of the report add up to the file's rows.
    yield from repeat(Refusal(where or Where("", 0), NO_PARTNER, "no answer of the other label to this prompt"), left)

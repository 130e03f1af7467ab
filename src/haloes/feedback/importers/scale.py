"""
What the numbers of a metric mean: thumbs or points, by all numbers of the export together.

One row cannot tell. A metric that is only ever 0 and 1 is a thumb, and 0 is down. One that is -1 and 1 as well is a
thumb too, on which 0 is no verdict. Any other number makes the whole metric points: 0 and 1 among them are bad marks,
and `feedback.labels_from` says which points are good.
"""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from haloes.feedback.importers.faults import check_direction, names_a_fault
from haloes.feedback.importers.values import as_number, as_text
from haloes.feedback.labels import known_label
from haloes.feedback.refusals import RefusalError, short_repr

_STARS = re.compile(r"(?<![a-z])stars?(?![a-z])|likert|(?<![a-z])(nps|csat)(?![a-z])", re.IGNORECASE)
"""Names of scales that have more than two points."""


@dataclass(frozen=True, slots=True)
class Verdict:
    """What a value says: a label, a score, or a word (see `label_of`)."""

    label: bool | None = None
    score: float | None = None
    word: str | None = None


@dataclass(slots=True)
class Scales:
    """The scale of every metric of an export."""

    points: set[str] = field(default_factory=set)
    """Metrics whose numbers are points."""
    signed: set[str] = field(default_factory=set)
    """Metrics on which -1 is down and 0 no verdict."""

    def add(self, metric: str | None, value: object) -> None:
        """Take in a value of a metric, before any is read."""
        number = as_number(value)
        if isinstance(value, bool) or number is None:
            return
        # Of few stars all may be one: they are still no thumbs up.
        if number not in (0, 1, -1) or _STARS.search(metric or ""):
            self.points.add(metric or "")
        elif number == -1:
            self.signed.add(metric or "")

    def read(self, metric: str | None, value: object) -> Verdict:
        """
        Return what a value of a metric says; nothing for null.

        Raises:
            RefusalError: It is neither a number nor a word.
        """
        verdict = self.read_upwards(metric, value)
        return verdict if verdict.label is None else thumb_on(metric, verdict.label)

    def read_upwards(self, metric: str | None, value: object) -> Verdict:
        """Return what `read` does, of a metric on which a yes is known to be a yes, whatever its name is."""
        if value is None or (isinstance(value, str) and not value.strip()):
            return Verdict()
        if isinstance(value, bool):
            return Verdict(label=value)
        name = metric or ""
        number = as_number(value)
        if number is None:
            return Verdict(word=as_word(value))
        if name in self.points:
            return Verdict(score=number)
        if name in self.signed:
            return Verdict(label=None if number == 0 else number > 0)
        return Verdict(label=number == 1)


def scales_of(values: Iterable[tuple[str | None, object]]) -> Scales:
    """Return the scales of metrics, from all their values."""
    scales = Scales()
    for metric, value in values:
        scales.add(metric, value)
    return scales


def thumb_on(metric: str | None, is_up: bool) -> Verdict:
    """Return a yes or no on a metric as a label; on one that has the name of a fault as a word, "true" or "false"."""
    return Verdict(word=str(is_up).lower()) if names_a_fault(metric) else Verdict(label=is_up)


def check_agreed(verdict: Verdict, word: object) -> None:
    """Raise RefusalError where a thumb and a known word beside it say the opposite of each other."""
    said = known_label(word)
    if verdict.label is not None and said is not None and verdict.label != said:
        number = "up" if verdict.label else "down"
        raise RefusalError("label", f"the score is a thumb {number}, and the word beside it is {short_repr(word)}")


def label_of(word: str, words: Mapping[str, bool | None], *, metric: str | None = None) -> bool | None:
    """
    Return the label that a word is, by the user's own words, else by those that haloes knows.

    Raises:
        RefusalError: It is neither, or a yes or no on a fault; the message says how to tell what it means.
    """
    key = word.strip().casefold()
    if key in words:
        return words[key]
    check_direction(metric, word)
    if (label := known_label(word)) is not None:
        return label
    raise RefusalError(
        "not a verdict",
        f"{short_repr(word)} is no known word for good or bad; feedback.words says what it means: "
        "{up: [WORD, ...], down: [WORD, ...]}",
    )


def as_word(value: object) -> str:
    """Return a text that stands for a verdict. Raises RefusalError where it is no text."""
    text = as_text(value)
    if text is None:
        raise RefusalError("not a verdict", f"{short_repr(value)} is neither a number nor a word")
    return text

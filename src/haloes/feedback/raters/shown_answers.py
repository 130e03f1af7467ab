"""
An index of the answers that people were shown: numbers of each and no text, and what was voted on it.

About 60 bytes an answer, and 100 more for one that is rated.
"""

from array import array
from collections.abc import Iterable
from dataclasses import dataclass, field
from functools import partial

from haloes.feedback.importers.contract import NotShown, Rated, Unrated
from haloes.feedback.keys import number_of
from haloes.feedback.raters.votes import UNKNOWN, Column
from haloes.feedback.times import seconds_of
from haloes.records import plain_text

_int8, _int32, _int64 = partial(array, "b"), partial(array, "i"), partial(array, "q")
_CODE = "```"


@dataclass(slots=True)
class ShownAnswers:
    """Columns of numbers, one entry an answer. What they tell of it needs no knowledge of its language."""

    characters: Column = field(default_factory=_int32)
    """Of the answer, without reasoning."""
    has_code: Column = field(default_factory=_int8)
    """1 where it holds a block of code."""
    number: Column = field(default_factory=_int32)
    """Questions that the user had asked in the conversation by then; `UNKNOWN` where the export does not say."""
    model: Column = field(default_factory=_int32)
    """Number in `models`, or `UNKNOWN`."""
    seconds: Column = field(default_factory=_int64)
    """When it was given, in seconds since 1970, or `UNKNOWN`."""
    person: Column = field(default_factory=_int64)
    """Hash of who was shown it; where nobody is named of the conversation, else a number of its own."""
    verdicts: Column = field(default_factory=_int32)
    """Votes, scores and corrections; 0 of an answer that nobody rated."""
    ups: Column = field(default_factory=_int32)
    downs: Column = field(default_factory=_int32)
    num_not_shown: int = 0
    """Calls that nobody rated, and perhaps nobody saw; they are no entries."""
    models: dict[str, int] = field(default_factory=dict)
    answer_of: dict[int, int] = field(default_factory=dict)
    """The answer of each verdict, both by their place in the order of reading."""

    def __len__(self) -> int:
        """Return the number of answers."""
        return len(self.verdicts)

    @classmethod
    def of(
        cls, rated: Iterable[tuple[int, Rated, bool | None]], unrated: Iterable[Unrated | NotShown]
    ) -> "ShownAnswers":
        """
        Index answers.

        Args:
            rated: Verdicts that count, each with its place in the order of reading and its label.
            unrated: Answers that nobody rated, and calls that perhaps nobody saw.
        """
        shown = cls()
        known: dict[int, int] = {}
        for place, item, label in rated:
            name = number_of(repr(place)) if item.answer is None else _name(item)
            if name not in known:
                known[name] = len(shown)
                shown._add(item, number=sum(turn.role == "user" for turn in item.messages), time=item.answered_at)
            answer = shown.answer_of[place] = known[name]
            shown.verdicts[answer] += 1
            shown.ups[answer] += label is True
            shown.downs[answer] += label is False
        for each in unrated:
            if isinstance(each, NotShown):
                shown.num_not_shown += 1
            elif each.answer is None or _name(each) not in known:
                shown._add(each, number=each.number, time=None)
        return shown

    def _add(self, item: Rated | Unrated, *, number: int | None, time: object) -> None:
        text = plain_text(item.completion)
        seconds = seconds_of(item.time if time is None else time)
        model = item.model if item.model and item.model.strip() else None
        person = repr((item.user, None if item.user is not None else item.conversation))
        named = item.user is not None or item.conversation is not None
        self.characters.append(len(text))
        self.has_code.append(_CODE in text)
        self.number.append(UNKNOWN if number is None else number)
        self.model.append(UNKNOWN if model is None else self.models.setdefault(model, len(self.models)))
        self.seconds.append(UNKNOWN if seconds is None else int(seconds))
        self.person.append(number_of(person) if named else len(self))
        for column in (self.verdicts, self.ups, self.downs):
            column.append(0)


def _name(item: Rated | Unrated) -> int:
    """Return a number for an answer that has an id."""
    return number_of(repr((item.conversation, item.answer)))

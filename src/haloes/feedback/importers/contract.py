"""The contract of an importer, and the shape between what it reads and the records that are trained on."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, TypeAlias

from haloes.feedback.importers.export import Export
from haloes.feedback.refusals import Reason
from haloes.records import Message, Where

Voter: TypeAlias = Literal["human", "model", "code"]
"""Who gave a verdict: a person, a model that judges, or a program that checks."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Vote:
    """What every verdict of an export has, whether it is on one answer or compares two."""

    where: Where
    """Place of the vote."""
    messages: tuple[Message, ...]
    """The turns before the answer (`content.read_messages`)."""
    voter: Voter = "human"
    """Who gave the verdict; others than people count only where `feedback.voters` says so."""
    metric: str | None = None
    """What was rated, where the tool has names for it: the name of the score, the key of the feedback."""
    answer: str | None = None
    """Id of the rated answer, or of what was compared, such as both answers' ids: of one person's votes on it the last
    counts. None: each vote stands alone."""
    user: str | None = None
    """Who voted; None is one person, whoever that is."""
    conversation: str | None = None
    id: str | None = None
    """Id of the vote."""
    time: object = None
    """When the vote was given, as the export has it (see `times.seconds_of`)."""
    comment: str | None = None
    weight: float = 1.0
    """How much the verdict counts, above 0 and up to 1; one of weight 0 is left out instead ("no verdict")."""
    tools: tuple[Mapping[str, Any], ...] = ()
    """Definitions of the tools that the model was offered, in the OpenAI shape."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Rated(Vote):
    """One verdict on one answer, as an export tells it; it becomes a `Feedback`, or with a correction a `Pair`."""

    completion: tuple[Message, ...]
    """The answer: the assistant's turn, with its tool calls and their results where it made some."""
    label: bool | None = None
    """True: up, False: down (`values.thumb`). None: it is a score, a correction, or no verdict, which is left out."""
    score: float | None = None
    """A rating on a scale, whatever the scale is; `feedback.labels_from` turns it into a label."""
    word: str | None = None
    """A verdict that is a word of the user's own, such as a category: `Options.words` says what it means."""
    correction: tuple[Message, ...] = ()
    """The answer that a person wrote instead; it makes a pair, with the answer as the rejected one."""
    model: str | None = None
    """Name of the model that answered."""
    hindsight: str | None = None
    """What the user wrote next, after the answer."""
    finished: bool | None = None
    """False for an answer that was cut off at a token limit. One that was stopped or failed is left out instead
    ("unfinished answer"). None where the export does not say."""
    answered_at: object = None
    """When the answer was given, as the export has it; None where `time` is that."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Compared(Vote):
    """One answer that a person preferred to another, as an export tells it; `rules` makes a `Pair` of it."""

    chosen: tuple[Message, ...]
    rejected: tuple[Message, ...]
    margin: float | None = None
    """By how much the chosen is better, on whatever scale."""
    chosen_model: str | None = None
    rejected_model: str | None = None
    chosen_finished: bool | None = None
    rejected_finished: bool | None = None


@dataclass(frozen=True, slots=True)
class LeftOut:
    """A vote, or a row in which one could stand, that is not used: counted by its reason, and shown as an example."""

    reason: Reason
    where: Where
    message: str
    """What is so with this one: the value, and what to do where something can be done."""


Imported: TypeAlias = Rated | Compared | LeftOut


@dataclass(frozen=True, slots=True, kw_only=True)
class Unrated:
    """An answer that somebody was shown, that could have been rated, and that nobody rated."""

    where: Where
    completion: tuple[Message, ...]
    answer: str | None = None
    """Its id, as `Vote.answer`: one that a verdict elsewhere in the export is on is rated after all."""
    number: int | None = None
    """How many questions the user had asked in the conversation by then: 1 for the first answer; None: unknown."""
    model: str | None = None
    user: str | None = None
    conversation: str | None = None
    time: object = None
    """When the answer was given, as the export has it."""


@dataclass(frozen=True, slots=True)
class NotShown:
    """A call that nobody rated, and of which the export does not tell that a person was shown it."""

    where: Where


@dataclass(frozen=True, slots=True, kw_only=True)
class Importer:
    """One tool whose exports are read."""

    name: str
    """Name in settings (`feedback.format`), such as "open-webui"."""
    product: str
    """Name of the tool, such as "Open WebUI"."""
    files: str
    """What is given to haloes, in words: "one JSON file", "a folder with scores and observations"."""
    how: str
    """How to get it, in one line: where to click, or what to call."""
    votes: str
    """Which values are up and down, and what is left out, in words."""
    recognise: Callable[[Export], str | None]
    """
    Returns the layout, such as "Open WebUI feedback export (0.12 layout)", where this is an export of the tool; else
    None. It looks at names of files and columns, and never fails on broken values. Raises DataError, with one line that
    says what to export instead (`export.unreadable`), where it surely is the tool's and can not be used: a CSV without
    texts, scores without the answers they are about.
    """
    read: Callable[[Export], Iterator[Imported]]
    """Yields what the export holds, with a few rows at a time in memory, and starts anew at each call."""
    unrated: Callable[[Export], Iterator[Unrated | NotShown]] | None = None
    """Yields the answers that were shown and that nobody rated, likewise; such as could not be used had they been rated
    (unfinished ones, images) are not among them. None where no export of the tool holds them, or where it does not show
    which of them a person saw."""
    shown_if: str = ""
    """Which answers count as shown, in words, where the export holds others too; empty where all were."""
    has_system: bool = True
    """False for an export that never holds the system prompt: the user is told to give it (`feedback.system`)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """What the user says of an export."""

    voters: frozenset[str] = frozenset({"human"})
    """Whose verdicts count (`Voter`)."""
    metric: str | None = None
    """The one metric whose verdicts are used; None: all."""
    words: Mapping[str, bool | None] = field(default_factory=dict, hash=False)
    """Words of verdicts, in small letters, and their labels; None: no verdict. They go before the known words."""
    reweight: bool = False
    """Whether rows weigh by 1 / P(rated) (`raters.chance_of_rating`)."""

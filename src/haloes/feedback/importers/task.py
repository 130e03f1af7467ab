"""
Tasks of annotation tools: which field is the prompt, which are answers, and what a person's entry says of them.

The fields have names of the user's own. Names decide, as far as they are plain ("question", "response_a"); what they
leave open is refused, never guessed.
"""

import itertools
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from haloes.feedback.importers.content import read_messages
from haloes.feedback.importers.contract import Compared, Imported, LeftOut, Rated, Voter
from haloes.feedback.importers.scale import Scales, thumb_on
from haloes.feedback.importers.values import as_id, as_list, as_number, as_text, at, first_of
from haloes.feedback.labels import known_label
from haloes.feedback.preferences import named_side
from haloes.feedback.refusals import RefusalError, short_repr
from haloes.records import Message, Where

_PROMPT = ("prompt", "instruction", "question", "query", "input", "user")
_CHAT = ("messages", "chat", "conversation", "dialogue", "dialog", "turns")
_ANSWER = ("response", "completion", "answer", "output", "reply", "generation")
_SIDES = {
    ("a", "b"),
    ("1", "2"),
    ("0", "1"),
    ("left", "right"),
    ("first", "second"),
    ("one", "two"),
    ("", "2"),
    ("", "b"),
}
"""How the names of two answers differ that are called after their sides, in the order of the names."""
_PIECE = re.compile(r"[A-Z]?[a-z]+|[A-Z]+|\d+")
_CORRECTION = re.compile(r"correct(ed|ion)|improved?|rewrit|edited|better[ _-]?(answer|response)", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Task:
    """One thing that people judged."""

    prompt: tuple[Message, ...]
    answers: Mapping[str, tuple[Message, ...]]
    """Field -> the answer in it, in the order of sides: a before b, 1 before 2."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """What one person, or a model, put down about a task in one place."""

    name: str
    """Name of the question or control."""
    value: object
    voter: Voter = "human"
    user: str | None = None
    task: str | None = None
    """Id of the task."""
    time: object = None
    model: str | None = None


def read_task(fields: Mapping[str, Any]) -> Task:
    """
    Return the prompt and the answers of a task's fields.

    Raises:
        RefusalError: No field is called a prompt, or none an answer; the message names the fields.
    """
    texts = {name: value for name, value in fields.items() if value not in (None, "", [])}
    answers = sorted(name for name in texts if _called(name, _ANSWER))
    prompt = next((name for word in _PROMPT for name in texts if name not in answers and _called(name, (word,))), None)
    chat = next((name for word in _CHAT for name in texts if name not in answers and _called(name, (word,))), None)
    system = next((name for name in texts if _called(name, ("system",))), None)
    before = () if system is None else read_messages([{"role": "system", "content": texts[system]}])
    if chat is not None and isinstance(texts[chat], list | tuple):
        turns = read_messages([_turn(each) for each in as_list(texts[chat])])
        if answers:
            return Task(before + turns, {name: _answer(texts[name]) for name in answers})
        return Task(before + turns[:-1], {chat: turns[-1:]})
    if prompt is None or not answers:
        missing = "a prompt or question" if prompt is None else "an answer or response"
        raise RefusalError("missing column", f"no field of {', '.join(map(repr, fields))} is called {missing}")
    return Task(before + read_messages(texts[prompt]), {name: _answer(texts[name]) for name in answers})


def is_of_task(name: str) -> bool:
    """Return whether a field is called a part of the task: prompt, answer, chat, system prompt, or the model."""
    return _called(name, (*_PROMPT, *_CHAT, *_ANSWER, "system", "model"))


def verdicts(task: Task, entry: Entry, where: Where, scales: Scales) -> Iterator[Imported]:
    """
    Yield what an entry says of the task's answers: a vote, a score, a correction, comparisons, or nothing.

    Args:
        task: What was judged.
        entry: What somebody put down.
        where: Its place.
        scales: What numbers mean, by the names of entries: a "1" is good where there are thumbs, and bad among stars.
    """
    if _CORRECTION.search(entry.name) and (isinstance(entry.value, bool) or known_label(entry.value) is not None):
        # "needs_correction: yes" is no corrected answer, and no thumb up.
        raise RefusalError("not a verdict", f"{entry.name!r} is {short_repr(entry.value)}, and no corrected answer")
    if _CORRECTION.search(entry.name) and as_text(entry.value):
        yield _rated(task, entry, where, label=None, score=None, correction=_answer(entry.value))
    elif isinstance(entry.value, list):
        yield from _ranked(task, entry, where)
    elif len(task.answers) > 1:
        yield _compared(task, entry, where)
    elif (score := _score(entry, scales)) is not None:
        yield _rated(task, entry, where, label=None, score=score)
    elif isinstance(entry.value, bool):
        verdict = thumb_on(entry.name, entry.value)
        yield _rated(task, entry, where, label=verdict.label, score=None, word=verdict.word)
    elif (word := as_text(entry.value)) is not None:
        yield _rated(task, entry, where, label=None, score=None, word=word)
    else:
        raise RefusalError("label", f"{entry.name!r} is {short_repr(entry.value)}, no verdict", column="label")


def _rated(
    task: Task,
    entry: Entry,
    where: Where,
    *,
    label: bool | None,
    score: float | None,
    word: str | None = None,
    correction: tuple[Message, ...] = (),
) -> Rated:
    if len(task.answers) != 1:
        raise RefusalError(
            "preference", f"{entry.name!r} does not say which of {', '.join(map(repr, task.answers))} it is about"
        )
    [answer] = task.answers.values()
    return Rated(
        where=where,
        messages=task.prompt,
        completion=answer,
        label=label,
        score=score,
        word=word,
        correction=correction,
        voter=entry.voter,
        metric=entry.name,
        answer=entry.task,
        id=_vote_id(entry),
        user=entry.user,
        model=entry.model,
        time=entry.time,
    )


def _compared(task: Task, entry: Entry, where: Where) -> Compared:
    names = list(task.answers)
    if len(names) != 2:  # noqa: PLR2004  # a side each
        raise RefusalError("preference", f"{entry.name!r} is about {len(names)} answers, and no ranking of them")
    chosen = names.index(entry.value) if entry.value in names else _side(entry, names)
    return _pair(task, entry, where, chosen=names[chosen], rejected=names[1 - chosen])


def _side(entry: Entry, names: list[str]) -> int:
    side = named_side(entry.value)
    if side is None:
        raise RefusalError("preference", f"{entry.name!r} is {short_repr(entry.value)}, which names neither answer")
    if side == "tie":
        raise RefusalError("tie", f"{entry.name!r} is {short_repr(entry.value)}: neither answer is better")
    if not _are_sides(*names):
        which = " or ".join(map(repr, names))
        raise RefusalError(
            "preference", f"{entry.name!r} is {short_repr(entry.value)}, and whether that is {which} is not known"
        )
    return ("a", "b").index(side)


def _are_sides(first: str, second: str) -> bool:
    """Return whether the names of two answers say which is the first, as "answer_a" and "answer_b" do."""
    one, other = (_PIECE.findall(name) for name in (first, second))
    while one and other and one[0].casefold() == other[0].casefold():
        one, other = one[1:], other[1:]
    while one and other and one[-1].casefold() == other[-1].casefold():
        one, other = one[:-1], other[:-1]
    left, right = "".join(one).casefold(), "".join(other).casefold()
    # Of "answera" and "answerb" the last letters are what differs.
    return ((left[-1:], right[-1:]) if left[:-1] == right[:-1] else (left, right)) in _SIDES


def _ranked(task: Task, entry: Entry, where: Where) -> Iterator[Imported]:
    """Yield a comparison of every two neighbours in a ranking."""
    given = as_list(entry.value)
    fields = {_plain(name): name for name in task.answers}
    if all(isinstance(each, str) and _plain(each) in fields for each in given):  # the best first
        given = [{"rank": rank, "value": each} for rank, each in enumerate(given)]
    places = [(as_number(at(each, "rank")), as_id(first_of(each, "value", "name"))) for each in given]
    ranked = sorted((rank, name) for rank, name in places if rank is not None and name is not None)
    if len(ranked) < len(places) or not ranked:
        yield LeftOut("not a verdict", where, f"{entry.name!r} is a list, and no ranking of answers")
        return
    for (better, chosen), (worse, rejected) in itertools.pairwise(ranked):
        if better == worse:
            yield LeftOut("tie", where, f"{chosen!r} and {rejected!r} have the same rank")
        elif (one := fields.get(_plain(chosen))) is None or (other := fields.get(_plain(rejected))) is None:
            yield LeftOut("answer not in the export", where, f"{chosen!r} or {rejected!r} is no field of the task")
        else:
            yield _pair(task, entry, where, chosen=one, rejected=other)


def _pair(task: Task, entry: Entry, where: Where, *, chosen: str, rejected: str) -> Compared:
    return Compared(
        where=where,
        messages=task.prompt,
        chosen=task.answers[chosen],
        rejected=task.answers[rejected],
        voter=entry.voter,
        metric=entry.name,
        answer=f"{entry.task} {min(chosen, rejected)} {max(chosen, rejected)}" if entry.task else None,
        user=entry.user,
        id=_vote_id(entry),
        time=entry.time,
    )


def _vote_id(entry: Entry) -> str | None:
    """Return an id for an entry, of which a task has one a person."""
    return None if entry.task is None else "/".join(filter(None, (entry.task, entry.user)))


def _score(entry: Entry, scales: Scales) -> float | None:
    """Return a number; the text of one too, but for "0" and "1" where these are all, as words for bad and good."""
    is_word = isinstance(entry.value, str) and known_label(entry.value) is not None and entry.name not in scales.points
    return None if is_word else as_number(entry.value)


def _turn(value: object) -> object:
    """Return a turn of a chat under the names that `content` reads, where the tool calls the speaker an author."""
    if isinstance(value, Mapping) and "role" not in value and isinstance(author := value.get("author"), str):
        return {**value, "role": author}
    return value


def _answer(value: object) -> tuple[Message, ...]:
    return read_messages(value, role="assistant")


def _called(name: str, words: tuple[str, ...]) -> bool:
    return any(word in name.casefold() for word in words)


def _plain(name: str) -> str:
    return re.sub(r"[^a-z0-9]", "", name.casefold())

"""Guess from names and values what a file's columns hold; for proposals that are tried before they are shown."""

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from statistics import fmean
from typing import Any

from haloes.feedback.fields import RawRow
from haloes.feedback.labels import known_label, parse_label, parse_score
from haloes.feedback.messages import is_messages, role_of
from haloes.feedback.preferences import named_side
from haloes.feedback.refusals import RefusalError

_PROMPT = ("prompt", "question", "instruction", "query", "input", "request", "asked", "message", "ticket")
_ANSWER = ("completion", "answer", "response", "output", "reply", "generation", "candidate", "conversation")
_LABEL = ("label", "thumb", "rating", "feedback", "vote", "liked", "verdict", "score", "stars")
_PREFERENCE = ("preference", "prefer", "winner", "better", "verdict", "choice", "vote", "pick", "select", "judg",
               "rating", "label", "score", "stars", "likert", "compar", "result", "decision")  # fmt: skip
_NAMED_AFTER = {
    "conversation": ("session", "conversation", "conv", "thread", "dialog", "dialogue", "chat"),
    "user": ("user", "rater", "annotator", "worker", "labeler", "labeller", "reviewer", "evaluator", "customer",
             "account", "assessor", "rated", "voter", "who"),
    "group": ("group", "prompt", "question", "instruction", "task", "query"),
    "weight": ("weight", "importance"),
    "order": ("turn", "position", "step", "seq", "sequence", "order", "index", "timestamp", "created", "time", "date",
              "ts", "at", "nr", "number"),
}  # fmt: skip
_NAMES = {"id", "uuid", "key", "name", "hash", "sample", "example", "row", "by", "email", "no", "num"}
"""Words that may stand beside those of `_NAMED_AFTER` in the name of a column: "rated_by", "session_key"."""
_SIDES = (("a", "b"), ("1", "2"), ("0", "1"), ("left", "right"), ("first", "second"), ("one", "two"), ("x", "y"),
          ("old", "new"), ("control", "treatment"), ("control", "variant"), ("baseline", "candidate"))  # fmt: skip
_FIRST_IS_BETTER = (("chosen", "rejected"), ("good", "bad"), ("better", "worse"), ("preferred", "dispreferred"),
                    ("winner", "loser"), ("winning", "losing"), ("accepted", "rejected"),
                    ("best", "worst"))  # fmt: skip
_WORDS_OF_AN_ANSWER = 3
"""Mean words from which a column without a telling name may hold answers, and not names or categories."""
_MOST_POINTS_OF_A_SCALE = 11
_IS_BETTER = ("better", "wins", "won", "win", "preferred", "best", "winner")
_WORDS_OF_A_PROMPT = 2
"""The same for a column that may hold prompts, the answers being known."""
_MOST_WORDS_OF_A_VERDICT = 6
"""Different values that a column of verdicts in words has at most."""


@dataclass(frozen=True, slots=True)
class Sides:
    """Two columns that hold two answers to the same prompt."""

    a: str
    b: str
    first_is_better: bool = False
    """The names say so: "good_answer" and "bad_answer"."""


def two_answers(values: Mapping[str, Sequence[object]]) -> Sides | None:
    """
    Return the two columns that hold answers side by side, by names that differ in a side only ("answer_a", "answer_b").

    Failing that, two columns that are called answers, or whose names differ in one word ("gpt_text", "llama_text"), if
    there are just two.

    Args:
        values: Column -> its values that are not empty, in the order of the file.
    """
    texts = [name for name in values if _holds_answers(name, values[name])]
    for orders, is_better in ((_FIRST_IS_BETTER, True), (_SIDES, False)):
        for one in texts:
            if (other := _sibling(one, texts, orders)) is not None:
                return Sides(one, other, is_better)
    named = [name for name in texts if _has_word(name, _ANSWER)]
    alike = [(one, other) for one, other in combinations(texts, 2) if _differ_in_a_word(one, other)]
    if len(named) == 2 or (not named and len(alike) == 1):  # noqa: PLR2004 - a side each
        one, other = named or alike[0]
        return Sides(one, other)
    return None


def several_answers(values: Mapping[str, Sequence[object]], sides: Sides) -> list[str]:
    """Return the columns of answers whose names differ from the side A in the same word as B: "answer_3" too."""
    words, others = _words(sides.a), _words(sides.b)
    places = [place for place, (a, b) in enumerate(zip(words, others, strict=False)) if a != b]
    if len(words) != len(others) or len(places) != 1:
        return [sides.a, sides.b]
    rest = [*words[: places[0]], *words[places[0] + 1 :]]
    return [
        name
        for name in values
        if len(own := _words(name)) == len(words)
        and [*own[: places[0]], *own[places[0] + 1 :]] == rest
        and _holds_answers(name, values[name])
    ]


def sibling_of(name: str, names: Iterable[str]) -> str | None:
    """Return the column whose name is this one's but for the side: "answer_b" for "answer_a", and the reverse."""
    others = list(names)
    turned = tuple((b, a) for a, b in _SIDES)
    return _sibling(name, others, _SIDES) or _sibling(name, others, turned)


def has_side(name: str) -> bool:
    """Return whether a name belongs to one side: "rating_a", "rating 1", but not "rating (1-7)" or "1 = A, 5 = B"."""
    words = _words(name)
    telling = {word for word in words if not word.isdigit() or word == words[-1]}
    return any(len(telling & set(pair)) == 1 for pair in _SIDES) and not any(set(pair) <= telling for pair in _SIDES)


def prompt_column(values: Mapping[str, Sequence[object]], *, without: Iterable[str]) -> str | None:
    """Return the column that holds the prompts: by its name, or because no other text is left."""
    taken = set(without)
    left = [name for name in values if name not in taken and _is_text(values[name])]
    named = [name for word in _PROMPT for name in left if word in name.casefold()]
    if named:
        return named[0]
    wordy = [name for name in left if _mean_words(values[name]) >= _WORDS_OF_A_PROMPT]
    return wordy[0] if len(wordy) == 1 else None


def answer_columns(values: Mapping[str, Sequence[object]]) -> list[str]:
    """
    Return the columns of text that are called answers, the likeliest first; where none is, the one of most words.

    Those of labels come last: an answer may be "yes" each time, but a column of yes and no more likely says of an
    answer whether it is liked.
    """
    called = [name for word in _ANSWER for name in values if word in name.casefold()]
    texts = [name for name in called if _is_text(values[name])]
    labels = [
        name
        for name in called
        if values[name] and all(isinstance(value, str) and _is_label(value) for value in values[name])
    ]
    if called:
        return [*texts, *labels]
    wordy = [
        name
        for name in values
        if _is_text(values[name]) and not _has_word(name, _PROMPT) and _mean_words(values[name]) >= _WORDS_OF_AN_ANSWER
    ]
    return sorted(wordy, key=lambda name: -_mean_words(values[name]))[:1]


def label_columns(values: Mapping[str, Sequence[object]], *, without: Iterable[str]) -> Iterator[tuple[str, bool]]:
    """
    Yield the columns that may hold labels or scores, the likeliest first, each with whether they are labels.

    Last come those whose names say nothing, and whose words are labels all the same: "was_helpful" with thumbs.
    """
    taken = set(without)
    for name in dict.fromkeys(name for word in _LABEL for name in values if word in name.casefold()):
        given = [value for value in values[name] if name not in taken]
        if given and all(_is_label(value) for value in given):
            yield name, True
        elif given and all(_number(value) is not None for value in given):
            yield name, False
    for name in values:
        if name not in taken and not _has_word(name, _LABEL) and _holds_verdicts(values[name]):
            yield name, True


def preference_columns(values: Mapping[str, Sequence[object]], sides: Sides, *, prompt: str | None) -> list[str]:
    """Return the columns that may say which of two answers is better, the likeliest first."""
    left = [name for name in values if name not in (sides.a, sides.b, prompt) and values[name]]
    telling = [name for name in left if words_of_sides(name, values[name], sides) is not None]
    numbers = [name for name in left if not has_side(name) and number_range(values[name]) is not None]
    named = [name for word in _PREFERENCE for name in numbers if word in name.casefold()]
    if named or telling:
        return list(dict.fromkeys([*telling, *named]))
    # A scale has few points; what counts rows, times or weights is none.
    other = {column for kind in _NAMED_AFTER for column in columns_for(kind, numbers)}
    scales = [name for name in numbers if name not in other and len(set(values[name])) <= _MOST_POINTS_OF_A_SCALE]
    return scales if len(scales) == 1 else []


def verdicts_in_words(values: Mapping[str, Sequence[object]], sides: Sides, *, prompt: str | None) -> list[str]:
    """Return the columns of a few repeated words, which may say in an unknown language which answer is better."""
    left = [name for name in values if name not in (sides.a, sides.b, prompt) and values[name] and not has_side(name)]
    return [
        name
        for name in left
        if all(isinstance(value, str) and _number(value) is None for value in values[name])
        and 1 < len(set(values[name])) <= min(_MOST_WORDS_OF_A_VERDICT, len(values[name]) // 2)
    ]


def words_of_sides(name: str, given: Sequence[object], sides: Sides) -> dict[str, list[Any]] | None:
    """
    Return which words of a column mean which side: by themselves ("left"), or as they name one of the two columns.

    Yes and no mean a side where the column is called after one: "b_is_better".

    Empty where all speak for themselves; None where the column holds something else.
    """
    own = {"a": _own_words(sides.a, sides.b), "b": _own_words(sides.b, sides.a)}
    if all(map(_is_label, given)) and set(_words(name)) & set(_IS_BETTER):
        called = [side for side in own if set(_words(name)) & own[side]]
        yes, no = ([value for value in dict.fromkeys(given) if parse_label(value) is liked] for liked in (True, False))
        return {called[0]: yes, "b" if called[0] == "a" else "a": no} if len(called) == 1 and yes and no else None
    words = list(dict.fromkeys(value for value in given if isinstance(value, str)))
    if not words or len(words) > _MOST_WORDS_OF_A_VERDICT or any(not isinstance(value, str) for value in given):
        return None
    if all(named_side(word) is not None for word in words):
        return {} if {named_side(word) for word in words} & {"a", "b"} else None
    found: dict[str, list[str]] = {"a": [], "b": [], "tie": []}
    for word in words:
        side = named_side(word)
        meant = [side] if side is not None else [each for each in own if set(_words(word)) & own[each]]
        if len(meant) != 1:
            return None
        found[meant[0]].append(word)
    return {side: words for side, words in found.items() if words} if found["a"] and found["b"] else None


def columns_for(kind: str, names: Iterable[str]) -> list[str]:
    """
    Return the columns whose names say that they hold a kind of thing, the likeliest first.

    Args:
        kind: "conversation", "user", "group", "weight" or "order".
        names: Columns of the file.
    """
    words = _NAMED_AFTER[kind]
    more = _NAMES | {other for kinds in _NAMED_AFTER.values() for other in kinds} if kind == "order" else _NAMES
    fits = {
        name: min(words.index(word) for word in _words(name) if word in words)
        for name in names
        if set(_words(name)) & set(words) and set(_words(name)) <= set(words) | more
    }
    return sorted(fits, key=lambda name: fits[name])


def number_range(given: Sequence[object]) -> tuple[float, float] | None:
    """Return the lowest and the highest number of a column; None where it holds something else, or one number only."""
    numbers = [number for value in given if (number := _number(value)) is not None]
    if len(numbers) < len(given) or len(set(numbers)) < 2:  # noqa: PLR2004 - one number says nothing
        return None
    return min(numbers), max(numbers)


def values_of(rows: Iterable[RawRow]) -> dict[str, list[object]]:
    """Return each column's values that are not empty, columns in the order of the file."""
    values: dict[str, list[object]] = {}
    for row in rows:
        for name, value in row.items():
            column = values.setdefault(name, [])
            if value is not None and value != "":
                column.append(value)
    return values


def is_conversation(given: Sequence[object]) -> bool:
    """Return whether a column holds conversations from their beginning, prompt and answer in one."""
    value = given[0] if given else None
    try:
        return isinstance(value, list) and is_messages(value) and role_of(value[0], subject="") != "assistant"
    except RefusalError:
        return False


def _sibling(name: str, names: Sequence[str], orders: Sequence[tuple[str, str]]) -> str | None:
    """Return the column whose name has the second word of a pair where this one has the first."""
    words = _words(name)
    for first, second in orders:
        for place, word in enumerate(words):
            if word == first:
                wanted = [*words[:place], second, *words[place + 1 :]]
                if (found := next((each for each in names if _words(each) == wanted), None)) is not None:
                    return found
    return None


def _words(name: str) -> list[str]:
    """Split a name into words: "answerA", "answer_a" and "answer-A" are the same two."""
    return [word.casefold() for word in re.findall(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+|\d+|[^\W\d_]+", name)]


def _differ_in_a_word(one: str, other: str) -> bool:
    """Return whether two names have the same words but for one of each, and share one at least."""
    words, others = _words(one), _words(other)
    differing = sum(a != b for a, b in zip(words, others, strict=False))
    return len(words) == len(others) > 1 and differing == 1


def _own_words(name: str, other: str) -> set[str]:
    return set(_words(name)) - set(_words(other))


def _has_word(name: str, words: Iterable[str]) -> bool:
    return any(word in name.casefold() for word in words)


def _holds_answers(name: str, given: Sequence[object]) -> bool:
    if not _is_text(given) or _has_word(name, _PROMPT):
        return False
    return _has_word(name, _ANSWER) or _mean_words(given) >= _WORDS_OF_AN_ANSWER or is_conversation(given)


def _is_text(given: Sequence[object]) -> bool:
    """Return whether a column holds texts or turns, and neither labels nor numbers."""
    return bool(given) and all(
        is_messages(value) or (isinstance(value, str) and not _is_label(value) and _number(value) is None)
        for value in given[:20]
    )


def _mean_words(given: Sequence[object]) -> float:
    return fmean(len(value.split()) if isinstance(value, str) else 0 for value in given)


def _holds_verdicts(given: Sequence[object]) -> bool:
    """Return whether a column holds labels of both kinds, and those no numbers, which may count something."""
    return all(isinstance(value, str | bool) and _is_label(value) and _number(value) is None for value in given) and (
        len({parse_label(value) for value in given}) == 2  # noqa: PLR2004 - liked and not
    )


def _is_label(value: object) -> bool:
    if isinstance(value, str):
        return known_label(value) is not None
    return isinstance(value, int | float) and value in (0, 1)


def _number(value: object) -> float | None:
    try:
        return parse_score(value)
    except RefusalError:
        return None

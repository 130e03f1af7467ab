"""
Verdicts on two answers, A and B, parsed strictly: which is the better one, and by how much where a scale says it.

Names of a side ("A", "model_b", "left", "tie") speak for themselves. A number does not: on a scale of 1 to 5 a 5 may
mean that B is much better, or A. The user states which (`feedback.preference_scale`); nothing is guessed.
"""

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, TypeAlias

from haloes.errors import ConfigError, DataError
from haloes.feedback.labels import parse_score
from haloes.feedback.refusals import RefusalError, short_repr

Side: TypeAlias = Literal["a", "b", "tie"]

_THINGS = ("", "answer ", "response ", "completion ", "output ", "model ", "assistant ", "conversation ", "option ",
           "candidate ", "text ", "reply ")  # fmt: skip
_BETTER = ("", " better", " is better", " wins", " won")
_TIES = ("tie", "tied", "ties", "draw", "equal", "same", "neither", "both", "both bad", "both good", "bothbad", "none",
         "tie bothbad", "tie both bad", "no preference", "about the same", "equally good", "equally bad")  # fmt: skip
NAMES: dict[str, Side] = dict.fromkeys(_TIES, "tie")
"""Every text that names a side, in lower case with single blanks between words, and the side."""
_SIDES: tuple[tuple[Side, tuple[str, ...]], ...] = (("a", ("a", "left", "first")), ("b", ("b", "right", "second")))
for _side, _words in _SIDES:
    NAMES |= dict.fromkeys((f"{thing}{word}{end}" for thing in _THINGS for word in _words for end in _BETTER), _side)

_LONGEST_NAME = 200
"""Characters, with room for the blanks and marks around a name."""
_ACCEPTED = '"A"/"B", "model_a"/"model_b", "left"/"right", "first"/"second", "tie", "both_bad"'
_PARTS: tuple[Side, ...] = ("a", "b", "tie")


@dataclass(frozen=True, slots=True)
class Preference:
    """The better side of a comparison."""

    side: Literal["a", "b"]
    strength: float | None = None
    """Distance from the middle of the scale, in points of the scale; None where the verdict is a name."""


@dataclass(frozen=True, slots=True)
class PreferenceScale:
    """
    What the values of a preference mean; made by `preference_scale`.

    Values that are named come first, then numbers between the ends, then the names of `NAMES`.
    """

    named: Mapping[object, Side] = field(default_factory=dict)
    """Values, as `_key` makes them, and the side that each means."""
    ends: tuple[float, float] | None = None
    """The number that says most clearly that A is better, and the one for B; None where no scale is stated."""

    def read(self, value: object) -> Preference:
        """
        Return the better side.

        Raises:
            RefusalError: Neither is better ("tie"), nobody said which is ("no label"), or the value is not known.
        """
        side, strength = self._side(value)
        if side == "tie":
            raise RefusalError("tie", f"the preference {short_repr(value)} is a tie: neither answer is better")
        return Preference(side, strength)

    def _side(self, value: object) -> tuple[Side, float | None]:
        if value is None or (isinstance(value, str) and not value.strip()):
            raise _refused("no label", "the preference is empty: nobody compared these answers")
        number = _number(value)
        side = self.named.get(_key(value)) or named_side(value)
        if side is None and number is not None:
            return self._side_of_number(number)
        if side is None:
            raise _refused(
                "preference",
                f"the preference {short_repr(value)} is not one of {_ACCEPTED}; say what your words mean: "
                "--set feedback.preference_scale='{a: [WORD], b: [WORD], tie: [WORD]}'",
            )
        return side, None

    def _side_of_number(self, number: float) -> tuple[Side, float]:
        if self.ends is None:
            what = f"the preference {number:g} is a number, which does not say by itself which answer is better"
            raise _refused("preference", f"{what}; {how_to_say('1', '5')}")
        first, last = self.ends
        if not min(self.ends) <= number <= max(self.ends):
            what = f"the preference {number:g} is not on the scale from {first:g} to {last:g}"
            raise _refused("preference", f"{what}; give the scale's own ends as a and b of feedback.preference_scale")
        middle = (first + last) / 2
        side: Side = "tie" if number == middle else "b" if (number > middle) == (last > first) else "a"
        return side, abs(number - middle)

    def describe(self) -> str:
        """Return in words what the values mean, for a person to check."""
        parts = []
        for side in _PARTS:
            values = [
                f"{key:g}" if isinstance(key, float) else str(key) for key, meant in self.named.items() if meant == side
            ]
            if values:
                parts.append(f"{', '.join(values)}: {'a tie' if side == 'tie' else f'{side.upper()} is better'}")
        if self.ends is not None:
            first, last = self.ends
            middle = f"{(first + last) / 2:g} is a tie"
            parts.append(f"from {first:g} (A is better) to {last:g} (B is better), {middle}")
        return "; ".join(parts) or "names such as A, model_b, left, tie"


BY_NAMES = PreferenceScale()
"""The scale where none is stated: names alone."""


def preference_scale(settings: Mapping[str, Any] | None) -> PreferenceScale:
    """
    Make a scale of what the user stated: `a`, `b` and, if need be, `tie`, each a value or a list of values.

    Where `a` and `b` are one number each they are the ends of a scale: what lies nearer to `a` means that A is better,
    the middle is a tie, and the distance from the middle is the strength. Lists name single values, without strength.

    Raises:
        ConfigError: Something else is stated.
    """
    if settings is None:
        return BY_NAMES
    example = "such as {a: 1, b: 5} (1: A is much better, 5: B is), {a: [left], b: [right], tie: [same]}"
    if not {"a", "b"} <= set(settings) <= set(_PARTS):
        raise ConfigError(f"feedback.preference_scale needs a and b, and may have tie, {example}; got {dict(settings)}")
    ends = [_number(settings[side]) for side in ("a", "b")]
    named: dict[object, Side] = {}
    for side in _PARTS:
        values = settings.get(side, [])
        # Two single numbers are ends, and what lies at or between them follows; all else is named value by value.
        if side != "tie" and None not in ends:
            continue
        for value in values if isinstance(values, list | tuple) else [values]:
            if not isinstance(value, str | int | float):
                raise ConfigError(
                    f"feedback.preference_scale.{side}: {value!r} is neither text nor a number; {example}"
                )
            if named.setdefault(_key(value), side) != side:
                raise ConfigError(f"feedback.preference_scale: {value!r} is named twice; {example}")
    if ends[0] is None or ends[1] is None:
        return PreferenceScale(named)
    if ends[0] == ends[1]:
        raise ConfigError(f"feedback.preference_scale: a and b are both {ends[0]:g}; {example}")
    return PreferenceScale(named, (ends[0], ends[1]))


def check_preference_column(values: Sequence[tuple[str, object]], scale: PreferenceScale) -> None:
    """
    Raise DataError for a column of numbers whose direction is not stated, before any row of it is used.

    Args:
        values: The first preferences of a file, unparsed, each with its place ("file:line").
        scale: What the user stated.
    """
    numbers = [(where, number) for where, value in values if (number := _number(value)) is not None]
    unknown = [(where, number) for where, number in numbers if _key(number) not in scale.named]
    if scale.ends is not None or not unknown:
        return
    seen = sorted({number for _, number in numbers})
    some = ", ".join(f"{number:g}" for number in seen[:8])
    raise DataError(
        f"{unknown[0][0]}: the preferences are numbers (seen: {some}), which do not say by themselves which answer is "
        f"better; {how_to_say(f'{seen[0]:g}', f'{seen[-1]:g}')}"
    )


def how_to_say(low: str, high: str) -> str:
    """Return the line that shows how the direction of a scale is stated."""
    high = "HIGHEST" if low == high else high
    return (
        f"say so: --set feedback.preference_scale='{{a: {low}, b: {high}}}' where {high} means that B is better, "
        f"'{{a: {high}, b: {low}}}' where it means that A is (give the ends of the scale, also where no row has them)"
    )


def named_side(value: object) -> Side | None:
    """Return the side that a text names by itself; None for other values."""
    # A whole answer is no name, and takes a second for ten megabytes.
    return NAMES.get(str(_key(value))) if isinstance(value, str) and len(value) <= _LONGEST_NAME else None


def _key(value: object) -> object:
    """Return what a value is looked up by: its number, or its words in lower case."""
    if isinstance(value, bool):  # a CSV has it as the text "True"
        value = str(value)
    if not isinstance(value, str) or _number(value) is not None:
        return _number(value)
    return " ".join(re.sub(r"[\s_\-()/:.]+", " ", value.casefold()).split())


def _shown(key: object) -> str:
    return f"{key:g}" if isinstance(key, float) else str(key)


def _number(value: object) -> float | None:
    """Return the number that a value is or spells; None for booleans, words and what is not finite."""
    try:
        number = parse_score(value)
    except RefusalError:
        return None
    return number if math.isfinite(number) else None


def _refused(reason: Literal["preference", "no label"], message: str) -> RefusalError:
    return RefusalError(reason, message, column="preference")

"""
Labels and scores, parsed strictly: what is not on the list is refused, never guessed.

Numbers other than 0 and 1 are refused, -1 too. A row cannot tell what its column means by 0 or by 1: beside -1 a 0 is
usually "no verdict", and on a scale of 1 to 5 a 1 is the worst. Such columns are scores, and become labels by a rule
that the user states (`feedback.labels_from`). `check_label_column` therefore looks at the first labels of a file
together, before the first row of it is used.
"""

import math
import re
from collections.abc import Sequence

from haloes.errors import DataError
from haloes.feedback.refusals import RefusalError, short_repr

_DESIRABLE = (
    ["true", "1", "1.0", "+1", "yes", "good", "up", "like", "desirable", "positive"]
    + ["thumbs_up", "thumbs-up", "thumbs up", "thumbsup", "thumb_up"]
    + [f"👍{tone}" for tone in ("", "🏻", "🏼", "🏽", "🏾", "🏿", "\ufe0f")]
)
_UNDESIRABLE = (
    ["false", "0", "0.0", "-1", "no", "bad", "down", "dislike", "undesirable", "negative"]
    + ["thumbs_down", "thumbs-down", "thumbs down", "thumbsdown", "thumb_down"]
    + [f"👎{tone}" for tone in ("", "🏻", "🏼", "🏽", "🏾", "🏿", "\ufe0f")]
)
LABEL_WORDS = dict.fromkeys(_DESIRABLE, True) | dict.fromkeys(_UNDESIRABLE, False)
"""Every text that is a label, in lower case, and its meaning."""

_ACCEPTED = 'true/false, 1/0, "yes"/"no", "good"/"bad", "up"/"down", "like"/"dislike", "desirable"/"undesirable", 👍/👎'
_USE_SCORES = (
    "map the column as a score (--columns score=COLUMN) and turn scores into labels "
    "(--set feedback.labels_from='{rule: threshold, tau: 3}')"
)
# No two repetitions side by side may take the same digits: a long cell would be split between them in every way.
_NUMBER = re.compile(r"[+-]?(\d+(\.\d*)?|\.\d+)([eE][+-]?\d+)?")

_MIN_LABELS_TO_JUDGE = 8
_MAX_SHARE_OF_OTHER_NUMBERS = 0.1


def known_label(value: object) -> bool | None:
    """Return the label that a text spells; None for a text that is none, and for what is no text."""
    return LABEL_WORDS.get(value.strip().casefold()) if isinstance(value, str) else None


def parse_label(value: object) -> bool:
    """
    Parse a label: True for desirable, False for undesirable.

    Accepted are booleans, the numbers 0 and 1, and the words of `LABEL_WORDS` in any case.

    Raises:
        RefusalError: Anything else, None and NaN included.
    """
    if value is True or value is False:
        return value
    if isinstance(value, str):
        label = known_label(value)
        if label is None:
            raise _refused_word(value)
        return label
    if isinstance(value, int | float):
        if value in (0, 1):
            return value == 1
        if _is_nan(value):
            raise RefusalError("NaN", "the label is NaN (not a number)", column="label")
        raise RefusalError(
            "label",
            f"label {short_repr(value)} is a number other than 0 and 1, which is a score, not a label: {_USE_SCORES}",
            column="label",
        )
    if value is None:
        raise RefusalError("no label", "the label is null: nobody rated this answer", column="label")
    raise RefusalError("label", f"label {short_repr(value)} is not one of {_ACCEPTED}", column="label")


def parse_score(value: object) -> float:
    """
    Parse a score: a finite number, or a text that spells one (a CSV cell).

    Raises:
        RefusalError: Anything else: booleans, NaN and infinities included.
    """
    if isinstance(value, str) and _NUMBER.fullmatch(value.strip()):
        value = float(value)
    # bool is an int in Python, and True would become a score of 1.
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise RefusalError("score", f"score {short_repr(value)} is not a number", column="score")
    if _is_nan(value):
        raise RefusalError("NaN", "the score is NaN (not a number)", column="score")
    try:
        number = float(value)
    except OverflowError:
        number = math.inf
    if math.isinf(number):
        raise RefusalError("score", f"score {short_repr(value)} is not finite", column="score")
    return number


def check_label_column(values: Sequence[tuple[str, object]]) -> None:
    """
    Raise DataError for a column of numbers that are not labels, before some of its 0s and 1s pass for labels.

    Args:
        values: The first labels of a file, unparsed, each with its place ("file:line").

    Raises:
        DataError: At least eight labels are given, all are numbers, 0 or 1 occurs, and more than a tenth is neither;
            or "-1" and "0" occur as texts, of which the first is a label only where the second is none.
    """
    given = [(where, value) for where, value in values if value not in (None, "")]
    numbers = [(where, number) for where, value in given if (number := _as_number(value)) is not None]
    others = [(where, number) for where, number in numbers if number not in (0, 1)]
    if len(numbers) < len(given) or len(others) == len(numbers):
        return
    # "-1" is accepted as a word for undesirable; beside a "0" it is a scale of three, on which 0 is "no verdict".
    has_minus_one_as_text = any(value == "-1" for _, value in given) and any(number == 0 for _, number in numbers)
    enough = len(given) >= _MIN_LABELS_TO_JUDGE and len(others) > _MAX_SHARE_OF_OTHER_NUMBERS * len(given)
    only_texts = all(value in ("-1", "1", "+1") for _, value in given)
    if has_minus_one_as_text or (enough and not only_texts):
        seen = ", ".join(short_repr(number, limit=12) for number in sorted({number for _, number in numbers})[:6])
        raise DataError(
            f"{others[0][0]}: the labels are numbers other than 0 and 1 (seen: {seen}), so a 0 or a 1 among them "
            f"cannot be trusted to mean undesirable or desirable; {_USE_SCORES}"
        )


def _as_number(value: object) -> float | None:
    """Return the number that a label is or spells; None for booleans, words and NaN."""
    if isinstance(value, str):
        return float(value) if _NUMBER.fullmatch(value.strip()) else None
    if isinstance(value, bool) or not isinstance(value, int | float) or _is_nan(value):
        return None
    return value


def _is_nan(value: float) -> bool:
    return isinstance(value, float) and math.isnan(value)  # a huge int has no float to ask


def _refused_word(value: str) -> RefusalError:
    if not value.strip():
        return RefusalError("no label", "the label is empty: nobody rated this answer", column="label")
    if value.strip().casefold() == "nan":
        return RefusalError("NaN", f"label {short_repr(value)} is not a number", column="label")
    hint = f"; if it is a number on a scale, {_USE_SCORES}" if _NUMBER.fullmatch(value.strip()) else ""
    return RefusalError("label", f"label {short_repr(value)} is not one of {_ACCEPTED}{hint}", column="label")

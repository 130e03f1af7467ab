"""
Two answers, and which of them was preferred: `prompt`, `a`, `b`, `preference`; the columns are mapped to these names.

`preference` names the better side ("A", "model_b", "left"), or is a number on a scale that the user states
(`feedback.preference_scale`). Ties are left out, and counted. The distance from the middle of the scale is the pair's
margin, unless the row has a `margin` of its own. The answers may be texts, turns, or whole conversations that begin
alike; `a_finished` and `b_finished` say of either whether it was cut off.
"""

from collections.abc import Iterator

from haloes.feedback.fields import RawRow
from haloes.feedback.formats.contract import Format, always, no_labels
from haloes.feedback.formats.paired import parse_pair
from haloes.feedback.preferences import BY_NAMES, PreferenceScale
from haloes.records import Pair, Where


def preferred_pair(
    row: RawRow, where: Where, *, a: str, b: str, preference: str, scale: PreferenceScale
) -> Iterator[Pair]:
    """
    Yield the pair of a row with two answers in the columns `a` and `b`, and a verdict in the column `preference`.

    Raises:
        RefusalError: The row cannot be used, or neither answer is better.
    """
    # The verdict first: rows that nobody compared and ties are counted as such, whatever else they lack.
    preferred = scale.read(row.get(preference))
    chosen, rejected = (a, b) if preferred.side == "a" else (b, a)
    if preferred.strength is not None and row.get("margin") is None:
        row = {**row, "margin": preferred.strength}
    yield from parse_pair(row, where, chosen=chosen, rejected=rejected)


def _matches(row: RawRow) -> bool:
    return "a" in row and "b" in row and "preference" in row


def _parse(row: RawRow, where: Where, *, scale: PreferenceScale = BY_NAMES) -> Iterator[Pair]:
    yield from preferred_pair(row, where, a="a", b="b", preference="preference", scale=scale)


COMPARISON = Format(
    name="comparison",
    needs="prompt, a, b, preference (which of the answers a and b is better)",
    matches=_matches,
    parse=_parse,
    reads=always("prompt", "a", "b", "preference", "system", "margin"),
    labels=no_labels,
    preference="preference",
)

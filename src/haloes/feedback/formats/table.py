"""The table of formats, in the order in which they are tried."""

from collections.abc import Sequence

from haloes.feedback.fields import RawRow
from haloes.feedback.formats.alpaca import ALPACA
from haloes.feedback.formats.arena import ARENA
from haloes.feedback.formats.comparison import COMPARISON
from haloes.feedback.formats.contract import Format
from haloes.feedback.formats.hh import HH
from haloes.feedback.formats.llamafactory_dpo import LLAMAFACTORY_DPO
from haloes.feedback.formats.ms_swift_pairs import MS_SWIFT_PAIRS
from haloes.feedback.formats.openai import OPENAI
from haloes.feedback.formats.paired import PAIRED
from haloes.feedback.formats.rated_messages import RATED_MESSAGES
from haloes.feedback.formats.rated_turns import RATED_TURNS
from haloes.feedback.formats.unpaired import UNPAIRED

# The more a shape asks for, the earlier it comes: a row that two shapes fit belongs to the one that says more about it.
# So a conversation with rated turns goes before one with a single label, a transcript before any two texts, and a pair
# before a single answer.
_IN_ORDER = (
    OPENAI,
    COMPARISON,
    ARENA,
    RATED_TURNS,
    MS_SWIFT_PAIRS,
    LLAMAFACTORY_DPO,
    ALPACA,
    HH,
    PAIRED,
    RATED_MESSAGES,
    UNPAIRED,
)
FORMATS: dict[str, Format] = {each.name: each for each in _IN_ORDER}
"""Every format by its name."""


def detect(rows: Sequence[RawRow]) -> Format | None:
    """Return the format that fits most of these rows, the earliest in the table of equals; None if none fits any."""
    # By majority and not by the first row, which may be the broken one.
    counts = {each.name: sum(map(each.matches, rows)) for each in _IN_ORDER}
    best = max(_IN_ORDER, key=lambda each: counts[each.name])
    return best if counts[best.name] else None

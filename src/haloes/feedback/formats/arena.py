"""
Battles of two models as Chatbot Arena publishes them: `winner`, and two conversations or a prompt with two responses.

`winner` is "model_a", "model_b", "tie" or "tie (bothbad)". The answers are `conversation_a` and `conversation_b`, which
begin alike, or `response_a` and `response_b` (or `answer_`, `completion_`, `output_`) to a `prompt`.
"""

from collections.abc import Iterator

from haloes.feedback.fields import RawRow
from haloes.feedback.formats.comparison import preferred_pair
from haloes.feedback.formats.contract import Format, always, no_labels
from haloes.feedback.preferences import BY_NAMES, PreferenceScale
from haloes.feedback.refusals import RefusalError
from haloes.records import Pair, Where

_ANSWERS = ("conversation", "response", "answer", "completion", "output")


def _matches(row: RawRow) -> bool:
    column = _answers(row)
    return "winner" in row and column is not None and (column == "conversation" or "prompt" in row)


def _parse(row: RawRow, where: Where, *, scale: PreferenceScale = BY_NAMES) -> Iterator[Pair]:
    column = _answers(row)
    if column is None:
        raise RefusalError("missing column", "the row has no conversation_a and conversation_b")
    yield from preferred_pair(row, where, a=f"{column}_a", b=f"{column}_b", preference="winner", scale=scale)


def _answers(row: RawRow) -> str | None:
    """Return what the columns of the two answers begin with."""
    return next((name for name in _ANSWERS if f"{name}_a" in row and f"{name}_b" in row), None)


ARENA = Format(
    name="arena",
    needs="winner, and conversation_a, conversation_b (or prompt, response_a, response_b)",
    matches=_matches,
    parse=_parse,
    reads=always("prompt", "system", "margin"),
    labels=no_labels,
    preference="winner",
)

"""
One conversation, of which the last answer was rated: `messages` (or `conversations`) and `label` (or `kto_tag`).

ms-swift and LLaMA-Factory write this. As with them, the label belongs to the last assistant turn alone.
"""

from collections.abc import Iterator

from haloes.feedback.fields import RawRow, parse_rating, parse_shared_fields
from haloes.feedback.formats.contract import Format, always
from haloes.feedback.messages import is_messages, parse_completion, parse_prompt, split_last_turn
from haloes.feedback.refusals import RefusalError
from haloes.records import Feedback, Where

_LABELS = ("label", "kto_tag")


def turns_column(row: RawRow) -> str | None:
    """Return the column that holds the conversation: `messages`, or ShareGPT's `conversations`."""
    return next((name for name in ("messages", "conversations") if name in row), None)


def _matches(row: RawRow) -> bool:
    column = turns_column(row)
    return column is not None and is_messages(row[column]) and any(name in row for name in (*_LABELS, "score"))


def _parse(row: RawRow, where: Where) -> Iterator[Feedback]:
    # The rating first: rows that nobody rated are counted as such, whatever else they lack.
    rated = parse_rating(row, label_columns=_LABELS)
    column = turns_column(row)
    if column is None:
        raise RefusalError("missing column", "the row has no messages", column="messages")
    before, last = split_last_turn(row[column], column=column)
    completion = parse_completion(last, column=column)
    yield Feedback(
        prompt=parse_prompt(before, system=row.get("system"), column="prompt"),
        completion=completion,
        **rated,
        **parse_shared_fields(row),
        where=where,
    )


RATED_MESSAGES = Format(
    name="messages",
    needs="messages (or conversations), label (or kto_tag, or score)",
    matches=_matches,
    parse=_parse,
    reads=always("messages", "label", "score", "system"),
    labels=lambda row: [row.get("label", row.get("kto_tag"))],
)

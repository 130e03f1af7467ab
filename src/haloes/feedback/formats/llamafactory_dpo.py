"""LLaMA-Factory's pairs: `conversations` (or `messages`) is the prompt, `chosen` and `rejected` are one turn each."""

from collections.abc import Iterator

from haloes.feedback.fields import RawRow, required_value
from haloes.feedback.formats.build_pair import make_pair
from haloes.feedback.formats.contract import Format, always, no_labels
from haloes.feedback.formats.rated_messages import turns_column
from haloes.feedback.messages import is_message, parse_completion, parse_prompt
from haloes.records import Pair, Where


def _matches(row: RawRow) -> bool:
    return turns_column(row) is not None and is_message(row.get("chosen")) and is_message(row.get("rejected"))


def _parse(row: RawRow, where: Where) -> Iterator[Pair]:
    yield make_pair(
        row,
        where,
        prompt=parse_prompt(required_value(row, turns_column(row) or "conversations"), system=row.get("system")),
        chosen=parse_completion([required_value(row, "chosen")], column="chosen"),
        rejected=parse_completion([required_value(row, "rejected")], column="rejected"),
    )


LLAMAFACTORY_DPO = Format(
    name="llamafactory-dpo",
    needs="conversations (or messages), chosen, rejected as one turn each",
    matches=_matches,
    parse=_parse,
    reads=always("messages", "chosen", "rejected", "system", "margin"),
    labels=no_labels,
)

"""
ms-swift's pairs: `messages` ends with the chosen answer, and `rejected_response` or `rejected_messages` is the other.

`rejected_response` replaces the last turn. `rejected_messages` is the whole conversation with the other ending.
"""

from collections.abc import Iterator

from haloes.feedback.fields import RawRow, required_value
from haloes.feedback.formats.build_pair import make_pair, split_common_prompt
from haloes.feedback.formats.contract import Format, always, no_labels
from haloes.feedback.messages import parse_completion, parse_prompt, split_last_turn
from haloes.records import Pair, Where


def _matches(row: RawRow) -> bool:
    return "messages" in row and ("rejected_response" in row or "rejected_messages" in row)


def _parse(row: RawRow, where: Where) -> Iterator[Pair]:
    messages = required_value(row, "messages")
    if row.get("rejected_messages"):
        prompt, chosen, rejected = split_common_prompt(messages, row["rejected_messages"], system=row.get("system"))
        yield make_pair(row, where, prompt=prompt, chosen=chosen, rejected=rejected)
        return
    before, last = split_last_turn(messages, column="messages")
    answer = required_value(row, "rejected_response")
    turns = [{"role": "assistant", "content": answer}] if isinstance(answer, str) else answer
    yield make_pair(
        row,
        where,
        prompt=parse_prompt(before, system=row.get("system")),
        chosen=parse_completion(last, column="messages"),
        rejected=parse_completion(turns, column="rejected_response"),
    )


MS_SWIFT_PAIRS = Format(
    name="ms-swift-pairs",
    needs="messages, rejected_response (or rejected_messages)",
    matches=_matches,
    parse=_parse,
    reads=always("messages", "rejected_response", "system", "margin"),
    labels=no_labels,
)

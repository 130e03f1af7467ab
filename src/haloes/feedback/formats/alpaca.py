"""
Alpaca columns, as LLaMA-Factory reads them: `instruction`, `input`, `history`, and either `output` or a pair.

With `output` and `kto_tag` (or `label`, `score`) a row is one rated answer; with `chosen` and `rejected` it is a pair.
The prompt is the instruction, a line break, and the input where there is one; `history` is a list of earlier
[question, answer] turns.
"""

from collections.abc import Iterator

from haloes.feedback.fields import RawRow, parse_rating, parse_shared_fields, required_value
from haloes.feedback.formats.build_pair import make_pair
from haloes.feedback.formats.contract import Format
from haloes.feedback.messages import parse_completion, parse_prompt
from haloes.feedback.refusals import RefusalError, short_repr
from haloes.records import Feedback, Pair, Text, Where

_LABELS = ("kto_tag", "label")
_FOR_PAIRS = frozenset({"chosen", "rejected", "system", "margin"})
_FOR_ANSWERS = frozenset({"label", "score", "system"})


def _matches(row: RawRow) -> bool:
    if "instruction" not in row:
        return False
    rated = "output" in row and any(name in row for name in (*_LABELS, "score"))
    return rated or ("chosen" in row and "rejected" in row)


def _parse(row: RawRow, where: Where) -> Iterator[Feedback | Pair]:
    if "chosen" in row and "rejected" in row:
        yield make_pair(
            row,
            where,
            prompt=_prompt(row),
            chosen=parse_completion(row["chosen"], column="chosen"),
            rejected=parse_completion(row["rejected"], column="rejected"),
        )
        return
    rated = parse_rating(row, label_columns=_LABELS)
    completion = parse_completion(required_value(row, "output"), column="output")
    yield Feedback(prompt=_prompt(row), completion=completion, **rated, **parse_shared_fields(row), where=where)


def _prompt(row: RawRow) -> Text:
    """Build the prompt of instruction, input, history and system message."""
    parts = [required_value(row, "instruction"), row.get("input")]
    for column, part in zip(("instruction", "input"), parts, strict=True):
        if part is not None and not isinstance(part, str):
            raise RefusalError("wrong type", f"{column} is {short_repr(part)}, not text", column=column)
    question = "\n".join(part for part in parts if part)
    earlier = row.get("history")
    if not earlier:
        return parse_prompt(question, system=row.get("system"), column="instruction")
    if not isinstance(earlier, list) or not all(isinstance(turn, list | tuple) and len(turn) == 2 for turn in earlier):  # noqa: PLR2004  # a question and its answer
        raise RefusalError(
            "wrong type", f"history is {short_repr(earlier)}, not a list of [question, answer]", column="history"
        )
    turns = [
        {"role": role, "content": words}
        for turn in earlier
        for role, words in zip(("user", "assistant"), turn, strict=True)
    ]
    turns.append({"role": "user", "content": question})
    return parse_prompt(turns, system=row.get("system"), column="instruction")


ALPACA = Format(
    name="alpaca",
    needs="instruction, output, kto_tag (or label, or score); or instruction, chosen, rejected",
    matches=_matches,
    parse=_parse,
    reads=lambda row: _FOR_PAIRS if "chosen" in row and "rejected" in row else _FOR_ANSWERS,
    labels=lambda row: [row.get("kto_tag", row.get("label"))],
)

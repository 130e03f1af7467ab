"""
OpenAI's preference files, read by Azure, Together and Fireworks too.

`input.messages` is the prompt, `preferred_output` and `non_preferred_output` are the answers. An older client spells
these `preferred_completion` and `non_preferred_completion`; both are read.
"""

from collections.abc import Iterator, Mapping

from haloes.feedback.fields import RawRow, parse_tools, required_value
from haloes.feedback.formats.build_pair import make_pair
from haloes.feedback.formats.contract import Format, always, no_labels
from haloes.feedback.messages import parse_completion, parse_prompt
from haloes.feedback.refusals import RefusalError, short_repr
from haloes.records import Pair, Where


def _matches(row: RawRow) -> bool:
    asked = isinstance(row.get("input"), Mapping) and "messages" in row["input"]
    return asked and ("preferred_output" in row or "preferred_completion" in row)


def _parse(row: RawRow, where: Where) -> Iterator[Pair]:
    asked = required_value(row, "input")
    if not isinstance(asked, Mapping) or "messages" not in asked:
        raise RefusalError("wrong type", f"input is {short_repr(asked)}, not an object with messages", column="input")
    ending = "completion" if "preferred_completion" in row else "output"
    chosen, rejected = f"preferred_{ending}", f"non_preferred_{ending}"
    yield make_pair(
        row,
        where,
        prompt=parse_prompt(asked["messages"], system=row.get("system"), column="input.messages"),
        chosen=parse_completion(required_value(row, chosen), column=chosen),
        rejected=parse_completion(required_value(row, rejected), column=rejected),
        **({"tools": parse_tools(asked["tools"])} if asked.get("tools") else {}),
    )


OPENAI = Format(
    name="openai",
    needs="input with messages, preferred_output, non_preferred_output",
    matches=_matches,
    parse=_parse,
    reads=always("system", "margin"),
    labels=no_labels,
)

"""One answer and its label or score: `prompt`, `completion`, `label` (haloes, and TRL's "unpaired preference")."""

from collections.abc import Iterator

from haloes.feedback.fields import RawRow, parse_finished, parse_rating, parse_shared_fields, required_value
from haloes.feedback.formats.contract import Format, always
from haloes.feedback.messages import parse_completion, parse_prompt
from haloes.records import Feedback, Where


def _matches(row: RawRow) -> bool:
    return "prompt" in row and "completion" in row and ("label" in row or "score" in row)


def _parse(row: RawRow, where: Where) -> Iterator[Feedback]:
    # The rating first: a log has many rows that nobody rated, and these are counted as such whatever else they lack.
    rated = parse_rating(row)
    yield Feedback(
        prompt=parse_prompt(required_value(row, "prompt"), system=row.get("system")),
        completion=parse_completion(required_value(row, "completion")),
        **rated,
        finished=parse_finished(row),
        **parse_shared_fields(row),
        where=where,
    )


UNPAIRED = Format(
    name="unpaired",
    needs="prompt, completion, label (or score)",
    matches=_matches,
    parse=_parse,
    reads=always("prompt", "completion", "label", "score", "system"),
    labels=lambda row: [row.get("label")],
)

"""Two answers of which the first was preferred: `prompt`, `chosen`, `rejected` (haloes, and TRL's "preference")."""

from collections.abc import Iterator

from haloes.feedback.fields import RawRow, parse_finished, required_value
from haloes.feedback.formats.build_pair import make_pair, split_common_prompt
from haloes.feedback.formats.contract import Format, always, no_labels
from haloes.feedback.messages import is_messages, parse_completion, parse_messages, parse_prompt, role_of
from haloes.feedback.refusals import RefusalError
from haloes.records import Message, Pair, Text, Where


def _matches(row: RawRow) -> bool:
    if "chosen" not in row or "rejected" not in row:
        return False
    return "prompt" in row or (is_messages(row["chosen"]) and is_messages(row["rejected"]))


def parse_pair(row: RawRow, where: Where, *, chosen: str = "chosen", rejected: str = "rejected") -> Iterator[Pair]:
    """
    Yield the pair of a row whose better answer stands in the column `chosen`, and the other in `rejected`.

    Raises:
        RefusalError: The row cannot be used.
    """
    better, worse = required_value(row, chosen), required_value(row, rejected)
    ended = {
        "chosen_finished": parse_finished(row, f"{chosen}_finished"),
        "rejected_finished": parse_finished(row, f"{rejected}_finished"),
    }
    if _is_conversation(better) and _is_conversation(worse):
        prompt, first, second = split_common_prompt(better, worse, system=row.get("system"))
        _check_given_prompt(row.get("prompt"), prompt)
        yield make_pair(row, where, prompt=prompt, chosen=first, rejected=second, **ended)
        return
    yield make_pair(
        row,
        where,
        prompt=parse_prompt(required_value(row, "prompt"), system=row.get("system")),
        chosen=parse_completion(better, column=chosen),
        rejected=parse_completion(worse, column=rejected),
        **ended,
    )


def _is_conversation(value: object) -> bool:
    """Return whether a value is turns that begin before the completion, so that the prompt stands in them."""
    return isinstance(value, list) and is_messages(value) and role_of(value[0], subject="the first turn") != "assistant"


def _check_given_prompt(given: object, shared: Text) -> None:
    """Refuse a row whose own prompt is not the one with which its conversations begin."""
    if not given:
        return
    # Sets differ in how much of the conversation they repeat as the prompt: one turn as text, or the last turns.
    if isinstance(given, str):
        words = [message.content.strip() for message in shared if isinstance(message, Message)]
        agrees = given.strip() in words
    else:
        turns = parse_messages(given, column="prompt")
        agrees = shared[-len(turns) :] == turns
    if not agrees:
        message = "the prompt differs from the turns with which chosen and rejected begin; drop one (--columns prompt=)"
        raise RefusalError("prompt mismatch", message, column="prompt")


PAIRED = Format(
    name="paired",
    needs="prompt, chosen, rejected (or chosen and rejected as whole conversations)",
    matches=_matches,
    parse=parse_pair,
    reads=always("prompt", "chosen", "rejected", "system", "margin"),
    labels=no_labels,
)

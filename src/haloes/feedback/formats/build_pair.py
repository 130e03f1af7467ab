"""What the formats of pairs share: building a `Pair`, and finding the prompt that two conversations begin with."""

from typing import Any

from haloes.feedback.fields import RawRow, parse_shared_fields
from haloes.feedback.labels import parse_score
from haloes.feedback.messages import (
    check_completion,
    check_no_reasoning,
    check_prompt,
    parse_messages,
    same_completion,
    with_system,
)
from haloes.feedback.refusals import RefusalError
from haloes.records import Message, Pair, Text, Where

_SCORES = (("chosen_score", "rejected_score"), ("score_chosen", "score_rejected"))
"""What sets of pairs call the scores of the two answers."""


def make_pair(row: RawRow, where: Where, *, prompt: Text, chosen: Text, rejected: Text, **more: Any) -> Pair:
    """
    A pair with the fields that its row carries; `more` adds to them.

    Raises:
        RefusalError: Both answers are the same, or a field is not what it should be.
    """
    if same_completion(chosen, rejected):
        raise RefusalError("chosen equals rejected", "chosen and rejected are the same answer, so neither is preferred")
    return Pair(
        prompt=prompt,
        chosen=chosen,
        rejected=rejected,
        margin=margin_of(row),
        **(parse_shared_fields(row) | more),
        where=where,
    )


def margin_of(row: RawRow) -> float | None:
    """
    By how much the chosen answer is better: a `margin` (as in TRL), or both answers' scores; None without either.

    Raises:
        RefusalError: One of them is not a finite number.
    """
    if row.get("margin") is not None:
        return parse_score(row["margin"])
    for one, other in _SCORES:
        if row.get(one) is not None and row.get(other) is not None:
            return parse_score(row[one]) - parse_score(row[other])
    return None


def split_common_prompt(chosen: object, rejected: object, *, system: object = None) -> tuple[Text, Text, Text]:
    """
    Split two whole conversations into the prompt that they share and two completions.

    The prompt is the longest common beginning after which both go on with the assistant's turn, and which does not
    itself end with one.

    Raises:
        RefusalError: They are the same, share no such beginning, or either is broken.
    """
    chosen_turns = parse_messages(chosen, column="chosen")
    rejected_turns = parse_messages(rejected, column="rejected")
    if chosen_turns == rejected_turns:
        raise RefusalError("chosen equals rejected", "chosen and rejected are the same answer, so neither is preferred")
    end = _end_of_prompt(chosen_turns, rejected_turns)
    if end == 0:
        message = "chosen and rejected share no turns before an answer; give the prompt in a column of its own"
        raise RefusalError("no common prompt", message)
    for column, value in (("chosen", chosen), ("rejected", rejected)):
        check_no_reasoning(_turns_from(value, end), column=column)
    return (
        check_prompt(with_system(chosen_turns[:end], system)),
        check_completion(chosen_turns[end:], column="chosen"),
        check_completion(rejected_turns[end:], column="rejected"),
    )


def _end_of_prompt(chosen: tuple[Message, ...], rejected: tuple[Message, ...]) -> int:
    shorter = min(len(chosen), len(rejected))
    common = next((i for i in range(shorter) if chosen[i] != rejected[i]), shorter)
    for end in range(min(common, shorter - 1), 0, -1):
        answers = chosen[end].role == rejected[end].role == "assistant"
        if answers and chosen[end - 1].role != "assistant":
            return end
    return 0


def _turns_from(value: object, start: int) -> list[object]:
    return list(value[start:]) if isinstance(value, list | tuple) else [value]

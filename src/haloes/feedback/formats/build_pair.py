"""Build a `Pair`, and split two conversations into the prompt that they share and two completions."""

from typing import Any

from haloes.feedback.fields import RawRow, parse_shared_fields
from haloes.feedback.labels import parse_score
from haloes.feedback.messages import (
    check_completion,
    check_prompt,
    parse_messages,
    same_completion,
    same_words,
    with_system,
)
from haloes.feedback.refusals import RefusalError
from haloes.records import Message, Pair, Text, Where

_SCORES = (("chosen_score", "rejected_score"), ("score_chosen", "score_rejected"))
"""Columns under which published sets of pairs hold the scores of the two completions."""


def make_pair(row: RawRow, where: Where, *, prompt: Text, chosen: Text, rejected: Text, **more: Any) -> Pair:
    """
    Build a pair with the fields that its row carries; `more` adds to them.

    Raises:
        RefusalError: Both completions are the same, or a field is not what it should be.
    """
    if same_completion(chosen, rejected):
        raise RefusalError("chosen equals rejected", "chosen and rejected are the same answer, so neither is preferred")
    return Pair(
        prompt=prompt,
        chosen=chosen,
        rejected=rejected,
        margin=margin_of(row),
        **(parse_shared_fields(row, models=("chosen_model", "rejected_model")) | more),
        where=where,
    )


def margin_of(row: RawRow) -> float | None:
    """
    Return by how much the chosen completion is better: a `margin` (as in TRL), or the difference of both scores.

    None where the row has neither.

    Raises:
        RefusalError: One of them is not a finite number.
    """
    if row.get("margin") is not None:
        return parse_score(row["margin"])
    for chosen, rejected in _SCORES:
        if row.get(chosen) is not None and row.get(rejected) is not None:
            return parse_score(row[chosen]) - parse_score(row[rejected])
    return None


def split_common_prompt(chosen: object, rejected: object, *, system: object = None) -> tuple[Text, Text, Text]:
    """
    Split two whole conversations into the prompt that they share and two completions.

    The prompt is the longest common beginning after which both continue with an assistant turn, and which does not
    itself end with one.

    Raises:
        RefusalError: They are the same, share no such beginning, or either is broken.
    """
    chosen_turns = parse_messages(chosen, column="chosen")
    rejected_turns = parse_messages(rejected, column="rejected")
    if same_words(chosen_turns, rejected_turns):
        raise RefusalError("chosen equals rejected", "chosen and rejected are the same answer, so neither is preferred")
    end = _end_of_prompt(chosen_turns, rejected_turns)
    if end == 0:
        message = "chosen and rejected share no turns before an answer; give the prompt in a column of its own"
        raise RefusalError("no common prompt", message)
    return (
        check_prompt(with_system(chosen_turns[:end], system)),
        check_completion(chosen_turns[end:], column="chosen"),
        check_completion(rejected_turns[end:], column="rejected"),
    )


def _end_of_prompt(chosen: tuple[Message, ...], rejected: tuple[Message, ...]) -> int:
    """Return the number of turns of the common prompt; 0 where there is none."""
    shorter = min(len(chosen), len(rejected))
    common = next((i for i in range(shorter) if not same_words(chosen[i : i + 1], rejected[i : i + 1])), shorter)
    # From the longest common beginning backwards. Turns that both share after the cut, such as a tool call and its
    # result, belong to both completions.
    for end in range(min(common, shorter - 1), 0, -1):
        answers = chosen[end].role == rejected[end].role == "assistant"
        if answers and chosen[end - 1].role != "assistant":
            return end
    return 0

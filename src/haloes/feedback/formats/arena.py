"""
Battles of two models as Chatbot Arena publishes them: a winner, and two conversations or a prompt with two responses.

`winner` is "model_a", "model_b", "tie" or "tie (bothbad)"; or there is a column of 0 and 1 for each (`winner_model_a`,
`winner_model_b`, `winner_tie`). The answers are `conversation_a` and `conversation_b`, which begin alike, or
`response_a` and `response_b` (`answer_`, `completion_` and `output_` too) to a `prompt`. A prompt that is a JSON list
of texts, as in lmsys-arena-human-preference-55k, is the user's turns of both; the responses are such lists too.
"""

import json
from collections.abc import Iterator

from haloes.feedback.fields import RawRow
from haloes.feedback.formats.comparison import preferred_pair
from haloes.feedback.formats.contract import Format, always, no_labels
from haloes.feedback.preferences import BY_NAMES, PreferenceScale
from haloes.feedback.refusals import RefusalError, short_repr
from haloes.records import Pair, Where

_ANSWERS = ("conversation", "response", "answer", "completion", "output")
_ONE_OF = {"winner_model_a": "model_a", "winner_model_b": "model_b", "winner_tie": "tie"}


def _matches(row: RawRow) -> bool:
    column = _answers(row)
    has_winner = "winner" in row or ("winner_model_a" in row and "winner_model_b" in row)
    return has_winner and column is not None and (column == "conversation" or "prompt" in row)


def _parse(row: RawRow, where: Where, *, scale: PreferenceScale = BY_NAMES) -> Iterator[Pair]:
    column = _answers(row)
    if column is None:
        raise RefusalError("missing column", "the row has no conversation_a and conversation_b")
    a, b = f"{column}_a", f"{column}_b"
    if "winner" not in row:
        row = {**row, "winner": _one_of(row)}
    if (asked := _texts(row.get("prompt"))) is not None:
        talks = {name: _conversation(asked, row, name) for name in (a, b)}
        row = {name: value for name, value in row.items() if name != "prompt"} | talks
    yield from preferred_pair(row, where, a=a, b=b, preference="winner", scale=scale)


def _answers(row: RawRow) -> str | None:
    """Return what the columns of the two answers begin with."""
    return next((name for name in _ANSWERS if f"{name}_a" in row and f"{name}_b" in row), None)


def _one_of(row: RawRow) -> str | None:
    """Return the winner of a row that has a column of 0 and 1 for each; None where not exactly one of them is 1."""
    marked = [meant for name, meant in _ONE_OF.items() if str(row.get(name)).casefold() in ("1", "1.0", "true")]
    return marked[0] if len(marked) == 1 else None


def _texts(value: object) -> list[str] | None:
    """Return the texts of a JSON list of texts; None for anything else."""
    if not isinstance(value, str) or not value.startswith("["):
        return None
    try:
        texts = json.loads(value)
    except (ValueError, RecursionError):
        return None
    return texts if isinstance(texts, list) and texts and all(isinstance(text, str) for text in texts) else None


def _conversation(asked: list[str], row: RawRow, column: str) -> list[dict[str, str]]:
    """Return the turns of a conversation of questions and the answers in a column."""
    answered = _texts(row.get(column))
    if answered is None or len(answered) != len(asked):
        message = f"{column} is {short_repr(row.get(column))}, not a list of {len(asked)} texts as the prompt is"
        raise RefusalError("wrong type", message, column=column)
    turns: list[dict[str, str]] = []
    for question, answer in zip(asked, answered, strict=True):
        turns += [{"role": "user", "content": question}, {"role": "assistant", "content": answer}]
    return turns


ARENA = Format(
    name="arena",
    needs="winner, and conversation_a, conversation_b (or prompt, response_a, response_b)",
    matches=_matches,
    parse=_parse,
    reads=always("prompt", "system", "margin"),
    labels=no_labels,
    preference="winner",
)

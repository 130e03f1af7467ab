"""
Refused rows: the error that a parser raises for one, and the short, stable reasons under which parsers refuse.

A row that cannot be used never stops the reading of a file: `read` turns the error into a `Refusal` record. Later steps
refuse rows as well, for reasons that are named there: `score_rules` ("no verdict"), `runs/feedback_rows` (rows that the
loss cannot take: unlabelled, unpaired, undesirable), `tokens/encode` and `runs/write_rows` (rows that cannot be
encoded, or lack a number that the loss reads). All are counted alike, by `Refusal.reason`.
"""

from typing import Literal, TypeAlias

from haloes.records import Refusal, Where

Reason: TypeAlias = Literal[
    "label",  # the label is none of the accepted spellings
    "no label",  # neither a label nor a score: nobody rated this answer
    "score",  # the score is not a finite number
    "preference",  # which of two answers is better is said in no known way, or by a number of unknown direction
    "tie",  # neither of two answers is better
    "order",  # the place of a row in its session is neither a number nor a date
    "weight",  # the weight is not a positive number
    "NaN",  # not a number where a text, a label or a number should stand
    "missing column",  # the row lacks a column that its format needs
    "wrong type",  # a value of another type than its place asks for
    "invalid unicode",  # bytes that are not UTF-8, or half of a surrogate pair
    "broken JSON",  # the line is not JSON
    "broken CSV",  # the row has more or fewer cells than the header
    "empty prompt",
    "no user turn",  # a chat in which nobody asks
    "prompt ends with assistant turn",  # then the completion would answer nobody
    "no completion",  # null, or a chat without any turn
    "empty completion",
    "first turn not assistant",  # of a completion
    "last turn not assistant",  # of a completion or of a rated chat
    "unknown role",
    "two system messages",  # a system column and a different system turn
    "multimodal content",  # images, audio, video, files
    "content part",  # a part of a message that is neither text nor media, such as a tool_use block
    "chosen equals rejected",
    "no common prompt",  # chosen and rejected share no beginning that could be the prompt
    "prompt mismatch",  # the prompt given is not the one with which chosen and rejected begin
    # Of the importers, which read what production tools export:
    "no verdict",  # a draw, a vote taken back, a mark of the middle
    "earlier vote",  # the same person voted again on the same answer
    "not a person's",  # the verdict of a judge model or of code (feedback.voters)
    "other metric",  # a verdict on something else than feedback.metric
    "not a verdict",  # a note, a reaction, an expectation: nothing that says good or bad
    "answer not in the export",  # the rated answer, or the chat in which it stands, is not there
    "broken chat tree",  # the way from the answer back to the first turn has a gap or goes in a circle
    "long chat",  # more turns stand before the answer than are read for one vote
    "unfinished answer",  # stopped, failed, or still being written when it was rated
    "compacted context",  # the model saw a summary of the earlier turns, which the export does not hold
    "retrieved context",  # the model answered from documents or pages that the export does not hold
    "images",  # the prompt or the answer holds images, audio, video or files
    "corrected and liked",  # a correction of an answer that has a thumb up: neither can be trusted
]
"""Reasons of the parsers, which read rows; not those of the later steps."""

OF_EXPORTS = frozenset[str](
    {"no verdict", "earlier vote", "not a person's", "other metric", "not a verdict", "answer not in the export"}
    | {"broken chat tree", "long chat", "unfinished answer", "compacted context", "retrieved context", "images"}
    | {"corrected and liked"}
)
"""Reasons for which votes of an export are left out: every log has such, and there is nothing in it to correct."""
NO_FAULT = frozenset({"no label", "no verdict", "tie"}) | OF_EXPORTS
"""Reasons in the nature of feedback: nobody rated the answer, the score lies where the user's rule says neither good
nor bad, neither of two answers is better, or an export holds what cannot be used. There is nothing to correct: such
rows are left out and counted."""
EMPTY = frozenset({"empty completion", "no completion", "empty prompt", "chosen equals rejected"})
"""Reasons of rows that hold nothing to learn from: aborted answers and the like, which logs always have a few of."""


class RefusalError(Exception):
    """
    One row cannot be used; raised by the parsers and caught by the reader, so that no user sees it as an error.

    Args:
        reason: kind of fault, for counting.
        message: description of the fault, with the value and what to do.
        column: column at fault, under our name for it, if one is.
    """

    def __init__(self, reason: Reason, message: str, *, column: str | None = None) -> None:
        super().__init__(message)
        self.reason: Reason = reason
        self.message = message
        self.column = column

    def at(self, where: Where) -> Refusal:
        """Return the refusal as a record of the row at this place."""
        return Refusal(where=where, reason=self.reason, message=self.message)


def short_repr(value: object, *, limit: int = 60) -> str:
    """Return a value's Python form for an error message, cut to `limit` characters."""
    # Half of a surrogate pair cannot be printed, and a message about it must be.
    try:
        text = ascii(value) if isinstance(value, str) and not _is_unicode(value) else repr(value)
    except RecursionError:
        text = f"a {type(value).__name__} nested too deeply"
    return text if len(text) <= limit else text[: limit - 3] + "..."


def _is_unicode(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True

"""
Gradio: the log of a `ChatInterface` or `Chatbot` with thumbs, `.gradio/flagged/log.csv`.

The header of that file names a column more than its rows have (6.31): "value" stands over the verdict and "flag" over
the time. `containers` reads such rows by position. The conversation is the chat at the moment of the vote, as turns or
as pairs of a question and an answer, and `index` says which of them was rated.
"""

from collections.abc import Iterator

from haloes.feedback.fields import RawRow
from haloes.feedback.importers.content import read_messages
from haloes.feedback.importers.contract import Imported, Importer, Rated
from haloes.feedback.importers.export import Export
from haloes.feedback.importers.rules import each_row
from haloes.feedback.importers.values import as_list, as_number, at, thumb
from haloes.feedback.refusals import RefusalError, short_repr
from haloes.records import Where

_REACTIONS = {"like", "dislike", "true", "false"}


def _recognise(export: Export) -> str | None:
    return "Gradio chat log" if export.with_columns("conversation", "index", "value", "timestamp") else None


def _read(export: Export) -> Iterator[Imported]:
    return each_row(export.rows(), _vote)


def _vote(row: RawRow, where: Where) -> Iterator[Imported]:
    """Yield the reaction of a row."""
    turns, number = _turns(as_list(row.get("conversation")), row.get("index"))
    rated = turns[number]
    if at(rated, "role") != "assistant":
        raise RefusalError("last turn not assistant", f"the rated turn {number} is not the assistant's")
    yield Rated(
        where=where,
        messages=read_messages(turns[:number]),
        completion=read_messages([rated]),
        label=_label(row),
        time=row.get("timestamp"),
        hindsight=_next_words(turns[number + 1 :]),
    )


def _label(row: RawRow) -> bool | None:
    """Return the verdict, which stands under "value", or in rows with all five cells under "flag"."""
    said = row.get("value"), row.get("flag")
    found = next((each for each in said if isinstance(each, str) and each.strip().lower() in _REACTIONS), said[0])
    if isinstance(found, str) and found.strip() and found.strip().lower() not in _REACTIONS:
        raise RefusalError("not a verdict", f"the reaction {short_repr(found)} is neither Like nor Dislike")
    return thumb(found, up=("Like", True), down=("Dislike", False))


def _turns(chat: list[object], index: object) -> tuple[list[object], int]:
    """Return the turns of a chat, and the number of the one that `index` names, itself or as the answer of a pair."""
    place = as_list(index)
    number = as_number(place[0] if place else index)
    if number is None or not number.is_integer():
        raise RefusalError("answer not in the export", f"{short_repr(index)} is no place in the chat")
    turn = int(number)
    if chat and all(isinstance(pair, list) and len(pair) == 2 for pair in chat):  # noqa: PLR2004  # question and answer
        turn = 2 * turn + 1
        chat = [
            {"role": role, "content": words}
            for pair in as_list(chat)
            for role, words in zip(("user", "assistant"), pair, strict=True)
        ]
    if not 0 <= turn < len(chat):
        raise RefusalError("answer not in the export", f"the chat has {len(chat)} turns, and {turn} is rated")
    return chat, turn


def _next_words(later: list[object]) -> str | None:
    """Return what the user wrote after the answer, where the log already has it."""
    following = read_messages(later[:1]) if at(later[0] if later else None, "role") == "user" else ()
    return following[0].content if following else None


GRADIO = Importer(
    name="gradio",
    product="Gradio",
    files="the log.csv of flagged chats",
    how='in the app\'s folder: .gradio/flagged/log.csv, which ChatInterface(flagging_mode="manual") writes',
    votes="Like up, Dislike down; other words of flagging_options are left out",
    recognise=_recognise,
    read=_read,
    has_system=False,
)

"""
Dify: the feedbacks of an app joined to its messages (API), messages that carry their feedback, or the log's export.

A message is a question and its answer (`query`, `answer`). Earlier turns are those along `parent_message_id`, or, where
there is none, the conversation's messages that were created before. The feedback export of the log page (CSV or JSON)
has no earlier turns, and cuts answers at 500 characters: cut ones are left out.
"""

from collections.abc import Collection, Iterable, Iterator, Mapping

from haloes.feedback.fields import RawRow
from haloes.feedback.importers.content import read_messages
from haloes.feedback.importers.contract import Imported, Importer, Rated, Unrated
from haloes.feedback.importers.export import Export, PlacedRow
from haloes.feedback.importers.join import Lookup
from haloes.feedback.importers.rules import each_row, each_shown
from haloes.feedback.importers.tree import Node, Trees, check_length
from haloes.feedback.importers.values import as_id, as_list, as_map, as_text, at, first_of, parsed, thumb
from haloes.feedback.refusals import RefusalError, short_repr
from haloes.feedback.times import seconds_of
from haloes.records import Message, Where

_HOW = (
    "GET /v1/app/feedbacks into feedbacks.json, and GET /v1/messages of each conversation into messages.json, "
    "in one folder"
)
_CUT_AT = 500
_LOG = ("feedback_id", "user_query", "ai_response", "feedback_rating_raw")
_VOTE = ("message_id", "rating")
_NO_PARENT = ("", "00000000-0000-0000-0000-000000000000")


def _recognise(export: Export) -> str | None:
    if export.with_columns(*_LOG) or _in_one(export):
        return "Dify feedback export (log page)"
    if export.with_columns("conversation_id", "query", "answer") is None:
        if export.with_columns("app_id", "message_id", "rating", "from_source"):
            raise export.unreadable(what="these are feedbacks of Dify without the messages", how=_HOW)
        return None
    return "Dify messages and feedbacks"


def _in_one(export: Export) -> bool:
    return any(at(row, "export_info", "data_source") == "dify_feedback_export" for row in export.head())


def _read(export: Export) -> Iterator[Imported]:
    log = export if _in_one(export) else export.with_columns(*_LOG)
    if log is not None:
        return each_row(_log_rows(log.rows()), _log_vote)
    return _api_votes(export)


def _log_rows(rows: Iterable[PlacedRow]) -> Iterator[PlacedRow]:
    """Yield the rows of the log's export, which as JSON stand in one object."""
    for where, row in rows:
        inside = parsed(row.get("feedback_data")) if isinstance(row, Mapping) else None
        if not isinstance(inside, list):
            yield where, row
            continue
        for number, each in enumerate(inside, 1):
            is_row = isinstance(each, Mapping)
            yield (
                Where(where.path, number),
                each if is_row else RefusalError("wrong type", "a row of feedback_data is no JSON object"),
            )


def _log_vote(row: RawRow, where: Where) -> Iterator[Imported]:
    answer = row.get("ai_response")
    if isinstance(answer, str) and len(answer) == _CUT_AT + len("...") and answer.endswith("..."):
        raise RefusalError(
            "answer not in the export", f"Dify's log cuts answers at {_CUT_AT} characters; the API has them whole"
        )
    yield Rated(
        where=where,
        messages=read_messages(row.get("user_query")),
        completion=read_messages(answer, role="assistant"),
        label=_label(row.get("feedback_rating_raw")),
        answer=as_id(row.get("message_id")),
        user=_user(row),
        conversation=as_id(row.get("conversation_id")),
        id=as_id(row.get("feedback_id")),
        time=row.get("feedback_date"),
        comment=as_text(row.get("feedback_comment")),
    )


def _api_votes(export: Export) -> Iterator[Imported]:
    messages = export.with_columns("conversation_id", "query", "answer") or Export(export.path, ())
    votes = export.with_columns(*_VOTE)
    with (
        Lookup(messages.rows(), lambda row: [_conversation(row)]) as chats,
        Lookup(messages.rows(), lambda row: [as_id(row.get("id"))]) as answers,
    ):
        trees = Trees(chats, parent=_parent)
        if votes is not None:
            yield from each_row(votes.rows(), lambda row, where: _joined(row, where, trees, answers))
            yield from answers.faults
        else:
            yield from each_row(messages.rows(), lambda row, where: _own(row, where, trees))


def _joined(row: RawRow, where: Where, trees: Trees, answers: Lookup) -> Iterator[Imported]:
    """Yield a feedback with the message that it is on."""
    label, identity = _label(row.get("rating")), as_id(row.get("message_id"))
    found = answers.rows(identity)
    if not found:
        raise RefusalError("answer not in the export", f"the message {short_repr(identity)} is not among the messages")
    yield _rated(
        found[0][1],
        where,
        trees,
        label=label,
        user=_user(row),
        id=as_id(row.get("id")),
        time=first_of(row, "updated_at", "created_at"),
        comment=as_text(row.get("content")),
    )


def _own(row: RawRow, where: Where, trees: Trees) -> Iterator[Imported]:
    """Yield the feedback that a message carries, if it has one."""
    own = [as_map(each) for each in (row.get("feedback"), row.get("user_feedback"), row.get("admin_feedback"))]
    for vote in own:
        if vote.get("rating") is not None:
            yield _rated(
                row,
                where,
                trees,
                label=_label(vote["rating"]),
                user=_user(vote) or _user(row),
                id=as_id(row.get("id")),
                time=first_of(vote, "created_at") or row.get("created_at"),
                comment=as_text(vote.get("content")),
            )


def _rated(
    message: Node, where: Where, trees: Trees, *, label: bool | None, user: str | None, **given: object
) -> Rated:
    if message.get("status") == "error" or as_text(message.get("error")):
        raise RefusalError("unfinished answer", "the answer failed")
    return Rated(
        where=where,
        messages=(
            *(turn for each in _earlier(message, trees) for turn in (*_question(each), *_answer(each))),
            *_question(message),
        ),
        completion=_answer(message),
        label=label,
        answer=as_id(message.get("id")),
        user=user,
        conversation=_conversation(message),
        model=as_text(first_of(message, "model_id", "model_name")),
        id=as_id(given["id"]),
        time=given["time"],
        answered_at=message.get("created_at"),
        comment=as_text(given["comment"]),
    )


def _unrated(export: Export) -> Iterator[Unrated]:
    """Yield the answers without feedback; the log page's export has none."""
    if _in_one(export) or export.with_columns(*_LOG) is not None:
        return
    messages = export.with_columns("conversation_id", "query", "answer") or Export(export.path, ())
    votes = export.with_columns(*_VOTE) or Export(export.path, ())
    voted = {as_id(row.get("message_id")) for _, row in votes.rows() if not isinstance(row, RefusalError)}
    with Lookup(messages.rows(), lambda row: [_conversation(row)]) as chats:
        trees = Trees(chats, parent=_parent)
        yield from each_shown(messages.rows(), lambda row, where: _not_rated(row, where, trees, voted))


def _not_rated(row: RawRow, where: Where, trees: Trees, voted: Collection[str | None]) -> Iterator[Unrated]:
    own = (as_map(row.get(name)).get("rating") for name in ("feedback", "user_feedback", "admin_feedback"))
    failed = row.get("status") == "error" or as_text(row.get("error"))
    if as_id(row.get("id")) in voted or any(rating is not None for rating in own) or failed:
        return
    yield Unrated(
        where=where,
        answer=as_id(row.get("id")),
        completion=_answer(row),
        number=1 + len(_earlier(row, trees)),
        model=as_text(first_of(row, "model_id", "model_name")),
        user=_user(row),
        conversation=_conversation(row),
        time=row.get("created_at"),
    )


def _earlier(message: Node, trees: Trees) -> list[Node]:
    """Return the messages before one in its conversation."""
    if "parent_message_id" in message:
        return trees.of(_conversation(message)).before(message)
    chat = [each for _, each in trees.chats.rows(_conversation(message))]
    begun = seconds_of(message.get("created_at"))
    if begun is None:
        raise RefusalError("broken chat tree", "the message has no time, so what was said before is not known")
    times = [(seconds_of(each.get("created_at")) or 0.0, each) for each in chat if each.get("id") != message.get("id")]
    before: list[Node] = [each for time, each in sorted(times, key=lambda pair: pair[0]) if time < begun]
    check_length(before)
    return before


def _parent(message: Node) -> object:
    parent = message.get("parent_message_id")
    return None if parent in _NO_PARENT else parent


def _conversation(row: RawRow) -> str | None:
    return as_id(row.get("conversation_id"))


def _question(message: Node) -> tuple[Message, ...]:
    if as_list(message.get("message_files")):
        raise RefusalError("images", "a question has files; only text can be trained on")
    return read_messages([{"role": "user", "content": message.get("query")}])


def _answer(message: Node) -> tuple[Message, ...]:
    return read_messages([{"role": "assistant", "content": message.get("answer")}])


def _label(rating: object) -> bool | None:
    return thumb(rating, up=("like",), down=("dislike",))


def _user(row: RawRow) -> str | None:
    """Return who voted: an end user, an account, or, in the log's export, the name of an account."""
    return as_id(first_of(row, "from_end_user_id", "from_account_id", "from_account_name"))


DIFY = Importer(
    name="dify",
    product="Dify",
    files="a folder with the app's feedbacks and messages, or the log page's feedback export",
    how=_HOW,
    votes="like up, dislike down",
    recognise=_recognise,
    read=_read,
    unrated=_unrated,
    has_system=False,
)

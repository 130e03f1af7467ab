"""Helicone: requests exported with their bodies (`--include-body`), whose feedback is a rating of true or false."""

from collections.abc import Iterator, Mapping
from functools import partial
from typing import Any

from haloes.feedback.fields import RawRow
from haloes.feedback.importers.alike import RULE, Call, unrated_calls
from haloes.feedback.importers.call import has_reply_ended
from haloes.feedback.importers.content import read_messages
from haloes.feedback.importers.contract import Imported, Importer, NotShown, Rated, Unrated
from haloes.feedback.importers.export import Export
from haloes.feedback.importers.rules import each_row
from haloes.feedback.importers.spans import Answered
from haloes.feedback.importers.values import as_id, as_list, as_map, as_text, at, first_of, parsed, thumb
from haloes.feedback.refusals import RefusalError
from haloes.records import Message, Where

_HOW = "npx @helicone/export --format jsonl --include-body"


def _recognise(export: Export) -> str | None:
    if export.with_columns("request_body", "response_body"):
        return "Helicone requests"
    if export.with_columns("request_id", "helicone_request_properties") or export.with_columns(
        "request_id", "feedback_rating"
    ):
        raise export.unreadable(what="these are requests of Helicone without their bodies", how=_HOW)
    return None


def _read(export: Export) -> Iterator[Imported]:
    return each_row(export.rows(), _votes)


def _rating(row: RawRow) -> object:
    feedback = parsed(row.get("feedback"))
    value = feedback.get("rating") if isinstance(feedback, Mapping) else feedback
    return value if value is not None else first_of(row, "feedback_rating", "rating")


def _votes(row: RawRow, where: Where) -> Iterator[Imported]:
    """Yield the rating of a request, if it has one."""
    rating = _rating(row)
    if rating is None or rating == "":
        return
    label = thumb(rating, up=(True,), down=(False,))
    request, response = as_map(row.get("request_body")), as_map(row.get("response_body"))
    if not response or response.get("error"):
        raise RefusalError("unfinished answer", "the request has no answer")
    identity = as_id(first_of(row, "request_id", "id"))
    yield Rated(
        where=where,
        messages=_asked(request),
        completion=read_messages(_answer(response), role="assistant"),
        label=label,
        answer=identity,
        id=identity,
        user=_user(row, request),
        conversation=_session(row),
        model=_model(row, response),
        time=first_of(row, "feedback_created_at", "request_created_at", "created_at"),
        finished=has_reply_ended(response),
        tools=tuple(each for each in as_list(request.get("tools")) if isinstance(each, Mapping) and "function" in each),
    )


def _asked(request: Mapping[str, object]) -> tuple[Message, ...]:
    """Return the turns of a request: of OpenAI's, or with the system prompt beside them as Anthropic has it."""
    system = first_of(request, "system", "instructions")
    first = () if system is None else read_messages([{"role": "system", "content": system}])
    return first + read_messages(first_of(request, "messages", "input", "prompt"))


def _answer(response: Mapping[str, object]) -> object:
    """Return what `content` reads of a response: all of it, or the content of one of Anthropic's."""
    if response.get("type") == "message":
        return [{"role": "assistant", "content": response.get("content")}]
    return response


def _unrated(export: Export) -> Iterator[Unrated | NotShown]:
    return unrated_calls(lambda: _calls(export))


def _calls(export: Export) -> Iterator[Call]:
    for where, row in export.rows():
        if not isinstance(row, Mapping) or at(row, "response_body", "error"):
            continue
        request = as_map(row.get("request_body"))
        names = (
            at(row, "request_properties", f"Helicone-{name}") for name in ("Prompt-Id", "Session-Name", "Session-Path")
        )
        yield Call(
            where=where,
            is_rated=_rating(row) not in (None, ""),
            answer=as_id(first_of(row, "request_id", "id")),
            name=" ".join(filter(None, map(as_text, names))) or None,
            is_first=True,
            user=_user(row, request),
            conversation=_session(row),
            time=first_of(row, "request_created_at", "created_at"),
            read=partial(_answered, row, request),
        )


def _answered(row: RawRow, request: Mapping[str, Any]) -> Answered:
    response = as_map(row.get("response_body"))
    if not response:
        raise RefusalError("unfinished answer", "the request has no answer")
    answer = read_messages(_answer(response), role="assistant")
    return Answered(_asked(request), answer, _model(row, response), _user(row, request), _session(row))


def _user(row: RawRow, request: Mapping[str, Any]) -> str | None:
    return as_id(first_of(row, "request_user_id", "user_id")) or as_id(request.get("user"))


def _session(row: RawRow) -> str | None:
    return as_id(at(row, "request_properties", "Helicone-Session-Id"))


def _model(row: RawRow, response: Mapping[str, Any]) -> str | None:
    return as_text(first_of(row, "response_model", "model")) or as_text(first_of(response, "model"))


HELICONE = Importer(
    name="helicone",
    product="Helicone",
    files="one file of requests with their bodies",
    how=_HOW,
    votes="rating true up, false down",
    recognise=_recognise,
    read=_read,
    unrated=_unrated,
    shown_if=RULE,
)

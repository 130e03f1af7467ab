"""Helicone: requests exported with their bodies (`--include-body`), whose feedback is a rating of true or false."""

from collections.abc import Iterator, Mapping

from haloes.feedback.fields import RawRow
from haloes.feedback.importers.call import has_reply_ended
from haloes.feedback.importers.content import read_messages
from haloes.feedback.importers.contract import Imported, Importer, Rated
from haloes.feedback.importers.export import Export
from haloes.feedback.importers.rules import each_row
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
        user=as_id(first_of(row, "request_user_id", "user_id")) or as_id(request.get("user")),
        conversation=as_id(at(row, "request_properties", "Helicone-Session-Id")),
        model=as_text(first_of(row, "response_model", "model")) or as_text(first_of(response, "model")),
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


HELICONE = Importer(
    name="helicone",
    product="Helicone",
    files="one file of requests with their bodies",
    how=_HOW,
    votes="rating true up, false down",
    recognise=_recognise,
    read=_read,
)

"""`/v1/feedback`: a vote on an answer, told as kept when it is on the disk."""

from asyncio import wrap_future
from collections.abc import Awaitable, Callable, Mapping
from sqlite3 import Connection
from typing import TYPE_CHECKING, Any, TypeVar

from haloes.serving.queries import iso
from haloes.serving.records import NotKeptError, Rating, UnknownError
from haloes.serving.requests import RefusedError, as_json, body_of, text
from haloes.serving.store import Store
from haloes.serving.writes import add_rating

if TYPE_CHECKING:
    from starlette.requests import Request
    from starlette.responses import Response

Result = TypeVar("Result")

_WORDS: Mapping[str, int] = {"up": 1, "down": -1}
_KNOWN = frozenset({"completion_id", "rating", "comment", "correction", "user", "choice"})


class Voting:
    """The route."""

    def __init__(self, store: Store, until_over: Callable[[str], Awaitable[None]]) -> None:
        """Take where votes are kept, and what waits for the end of an answer that is on its way."""
        self._store, self._until_over = store, until_over

    async def rate(self, request: "Request") -> "Response":
        """Keep a vote."""
        _, body = await body_of(request)
        vote = _rating(body)
        await self._until_over(vote.completion_id)
        kept = await written(self._store, lambda connection: add_rating(connection, vote))
        return as_json({**kept, "created_at": iso(kept["created_at"])})


async def written(store: Store, work: Callable[[Connection], Result]) -> Result:
    """
    Return what was written once it is on the disk.

    Raises:
        RefusedError: what it is about is not there, or the disk is full.
    """
    try:
        return await wrap_future(store.write(work))
    except UnknownError as error:
        raise RefusedError(404, str(error), "unknown_completion") from error
    except NotKeptError as error:
        raise RefusedError(507, f"nothing was kept, send it again later: {error}", "not_kept") from error


def _rating(body: Mapping[str, Any]) -> Rating:
    odd = next((name for name in body if name not in _KNOWN), None)
    if odd is not None:
        raise RefusedError(400, f"{odd!r:.80} is no field of feedback: {', '.join(sorted(_KNOWN))}", param=odd)
    completion = text(body, "completion_id")
    if completion is None:
        raise RefusedError(400, "completion_id is missing", param="completion_id")
    correction = text(body, "correction")
    if "rating" not in body and correction is None:
        raise RefusedError(400, "give a rating (1, -1 or null) or a correction", param="rating")
    choice = body.get("choice", 0)
    if not isinstance(choice, int) or isinstance(choice, bool) or not 0 <= choice < 1 << 10:
        raise RefusedError(400, "choice must be a number from 0", param="choice")
    return Rating(
        completion_id=completion,
        choice=choice,
        rating=_thumb(body.get("rating")),
        correction=correction,
        comment=text(body, "comment"),
        user=text(body, "user"),
    )


def _thumb(value: object) -> int | None:
    if value is None:
        return None
    if isinstance(value, bool):
        return 1 if value else -1
    number = _WORDS.get(value) if isinstance(value, str) else value
    if number not in (1, -1):
        raise RefusedError(400, "rating must be 1, -1 or null (or true, false, up, down)", param="rating")
    return int(number)

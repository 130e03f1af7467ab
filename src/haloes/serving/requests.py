"""Bodies that clients send, bounded and checked; and errors in the shape that OpenAI's clients read."""

import asyncio
import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from haloes.serving.writes import storable

if TYPE_CHECKING:
    from starlette.requests import Request
    from starlette.responses import Response

MOST_BYTES = 8 << 20
_MOST_TEXT = 1 << 20
_SECONDS = 60
"""Time for a body to arrive."""


@dataclass
class RefusedError(Exception):
    """A request that is refused, as the client is told."""

    status: int
    message: str
    code: str | None = None
    param: str | None = None

    def __post_init__(self) -> None:
        super().__init__(self.message)

    def body(self) -> dict[str, Any]:
        """Return the error in OpenAI's shape."""
        kind = "invalid_request_error" if self.status < 500 else "server_error"  # noqa: PLR2004 - HTTP
        return {"error": {"message": self.message, "type": kind, "param": self.param, "code": self.code}}


def refusal(error: RefusedError) -> "Response":
    """Return the reply that tells a client of an error."""
    return as_json(error.body(), status=error.status)


def as_json(value: object, *, status: int = 200) -> "Response":
    """Return a reply with a JSON body."""
    from starlette.responses import Response

    # Escaped: an answer may hold half of a surrogate pair.
    return Response(json.dumps(value), status_code=status, media_type="application/json")


async def body_of(request: "Request") -> tuple[bytes, dict[str, Any]]:
    """
    Read a JSON object, and return it as it came and as it reads.

    Raises:
        RefusedError: it is too long, too slow, or no JSON object.
    """
    if request.headers.get("content-type", "").partition(";")[0].strip().lower() != "application/json":
        raise RefusedError(415, "send a JSON body with Content-Type: application/json")
    parts, size = [], 0
    try:
        async with asyncio.timeout(_SECONDS):
            async for part in request.stream():
                size += len(part)
                if size > MOST_BYTES:
                    raise RefusedError(413, f"the body is longer than {MOST_BYTES >> 20} MiB")
                parts.append(part)
    except TimeoutError:
        raise RefusedError(408, f"the body did not arrive within {_SECONDS} seconds") from None
    raw = b"".join(parts)
    try:
        value = json.loads(raw, parse_constant=_no_number)
    except (ValueError, RecursionError) as error:
        raise RefusedError(400, f"the body is no JSON: {error}") from error
    if not isinstance(value, dict):
        raise RefusedError(400, "the body must be a JSON object")
    return raw, value


def text(body: Mapping[str, Any], name: str) -> str | None:
    """
    Return a text of a body; None where it is missing, null or blank.

    Raises:
        RefusedError: it is something else, or very long.
    """
    value = body.get(name)
    if value is None:
        return None
    if not isinstance(value, str) or len(value) > _MOST_TEXT:
        raise RefusedError(400, f"{name} must be a text of at most {_MOST_TEXT:,} characters", param=name)
    return storable(value) if value.strip() else None


def messages_of(body: Mapping[str, Any]) -> list[dict[str, Any]]:
    """
    Return the turns of a chat.

    Raises:
        RefusedError: there are none, or one is no object with a role.
    """
    turns = body.get("messages")
    if not isinstance(turns, list) or not turns:
        raise RefusedError(400, "messages must be a list of turns", param="messages")
    if not all(isinstance(turn, dict) and isinstance(turn.get("role"), str) for turn in turns):
        raise RefusedError(400, "each of messages must be an object with a role", param="messages")
    return turns


def _no_number(name: str) -> object:
    raise ValueError(f"{name} is no JSON")

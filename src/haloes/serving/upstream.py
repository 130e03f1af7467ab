"""A server of the OpenAI kind, asked in place of a model: requests and replies pass through byte by byte."""

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from urllib.parse import quote, urlsplit

from haloes.errors import ConfigError
from haloes.remote.client import Endpoint, checked_key
from haloes.serving.backend import Ask, Loading, Reply
from haloes.serving.connection import BrokenOffError, Connections, UnreachableError
from haloes.serving.requests import RefusedError

_PASSED_ON = frozenset({b"content-type", b"content-length", b"content-encoding", b"retry-after", b"x-request-id"})
"""Headers of a reply that the client gets; cookies and what describes the connection stay behind."""
_MOST_BYTES = 4 << 20
_PORTS = {"http": 80, "https": 443}


class Upstream:
    """Asks one server."""

    def __init__(self, endpoint: Endpoint) -> None:
        """Read the key. Raises ConfigError where it is missing, or the address must not be asked."""
        self._key = checked_key(endpoint)
        parts = urlsplit(endpoint.base_url.strip())
        self._path = quote(parts.path.rstrip("/"), safe="/%:@!$&()*+,;=~")
        self._name = endpoint.base_url
        host = _ascii(parts.hostname or "")
        self._connections = Connections(host, parts.port or _PORTS[parts.scheme], tls=parts.scheme == "https")
        shown = f"[{host}]" if ":" in host else host
        # No cookies, nothing packed: what comes is what is passed on.
        self._headers = (
            f"Host: {shown}{f':{parts.port}' if parts.port else ''}".encode(),
            b"User-Agent: haloes",
            b"Accept: */*",
            b"Accept-Encoding: identity",
        )

    @asynccontextmanager
    async def opened(self) -> AsyncIterator[None]:
        """Keep connections while the block lasts."""
        try:
            yield
        finally:
            self._connections.close()

    @property
    def key(self) -> str:
        """Return the key, to be blotted out of what is kept."""
        return self._key

    async def models(self, authorization: bytes | None = None) -> list[str]:
        """Return the names of the server's models."""
        async with self._asked("GET", "/models", None, authorization) as reply:
            raw = b""
            async for part in reply.parts:
                raw += part
                if len(raw) > _MOST_BYTES:
                    break
        try:
            return [str(model["id"]) for model in json.loads(raw)["data"]]
        except (ValueError, LookupError, TypeError, RecursionError):
            raise RefusedError(502, f"{self._name} does not list its models (HTTP {reply.status})") from None

    def loading(self) -> Loading | None:
        """Return None: models are the server's own affair."""
        return None

    def failure(self) -> Exception | None:
        """Return None: a server that is not there may come back."""
        return None

    @asynccontextmanager
    async def answer(self, ask: Ask) -> AsyncIterator[Reply]:
        """Pass a request on, and yield the reply as it comes."""
        async with self._asked("POST", "/chat/completions", ask.raw, ask.authorization) as reply:
            yield reply

    @asynccontextmanager
    async def _asked(
        self, method: str, path: str, content: bytes | None, authorization: bytes | None
    ) -> AsyncIterator[Reply]:
        request = self._request(method, path, content, authorization)
        try:
            async with self._connections.asked(request) as connection:
                if 300 <= connection.status < 400:  # noqa: PLR2004 - redirects
                    raise RefusedError(502, f"{self._name} redirects, and redirects are not followed")
                passed = [(name, value) for name, value in connection.headers if name in _PASSED_ON]
                yield Reply(connection.status, passed, connection.parts(), connection.size)
        except UnreachableError as error:
            raise RefusedError(502, f"{self._name} cannot be reached ({error})", code="upstream") from error
        except BrokenOffError as error:
            raise RefusedError(502, f"{self._name} broke off ({error})", code="upstream") from error

    def _request(self, method: str, path: str, content: bytes | None, authorization: bytes | None) -> bytes:
        """Return a request as it is sent."""
        lines = [f"{method} {self._path}{path} HTTP/1.1".encode(), *self._headers]
        if self._key or authorization:
            lines.append(b"Authorization: " + (f"Bearer {self._key}".encode() if self._key else authorization or b""))
        if content is not None:
            lines += [b"Content-Type: application/json", f"Content-Length: {len(content)}".encode()]
        return b"\r\n".join([*lines, b"", content or b""])


def _ascii(host: str) -> str:
    """Return a host's name as it is asked. Raises ConfigError where there is no such name."""
    try:
        return host if host.isascii() else host.encode("idna").decode()
    except UnicodeError as error:
        raise ConfigError(f"{host} is not the name of a host") from error

"""A server of the OpenAI kind, asked in place of a model: requests and replies pass through byte by byte."""

import json
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from typing import Any
from urllib.parse import quote, urlsplit

import anyio
import httpcore

from haloes.errors import ConfigError
from haloes.remote.addresses import safe_addresses
from haloes.remote.client import Endpoint, checked_key
from haloes.serving.backend import Ask, Reply
from haloes.serving.requests import RefusedError

_PASSED_ON = frozenset({b"content-type", b"content-length", b"content-encoding", b"retry-after", b"x-request-id"})
"""Headers of a reply that the client gets; cookies and what describes the connection stay behind."""
_CONNECT, _SILENCE, _IDLE = 10.0, 600.0, 30.0
"""Seconds to connect, of silence within a reply, and that an unused connection is kept."""
_MOST_BYTES = 4 << 20


class Upstream:
    """Asks one server."""

    def __init__(self, endpoint: Endpoint) -> None:
        """Read the key. Raises ConfigError where it is missing, or the address must not be asked."""
        self._key = checked_key(endpoint)
        self._url = urlsplit(endpoint.base_url.strip())
        self._name = endpoint.base_url

    @asynccontextmanager
    async def opened(self) -> AsyncIterator[None]:
        """Keep connections while the block lasts."""
        async with httpcore.AsyncConnectionPool(
            max_connections=None, max_keepalive_connections=100, keepalive_expiry=_IDLE, network_backend=_Backend()
        ) as self._pool:
            yield

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

    @asynccontextmanager
    async def answer(self, ask: Ask) -> AsyncIterator[Reply]:
        """Pass a request on, and yield the reply as it comes."""
        async with self._asked("POST", "/chat/completions", ask.raw, ask.authorization) as reply:
            yield reply

    @asynccontextmanager
    async def _asked(
        self, method: str, path: str, content: bytes | None, authorization: bytes | None
    ) -> AsyncIterator[Reply]:
        url = httpcore.URL(
            scheme=self._url.scheme,
            host=self._url.hostname or "",
            port=self._url.port,
            target=quote(self._url.path.rstrip("/") + path, safe="/%:@!$&'()*+,;=~"),
        )
        headers = [
            (b"Host", self._url.netloc.encode("idna")),
            (b"Content-Type", b"application/json"),
            # The events are read as they pass.
            (b"Accept-Encoding", b"identity"),
            (b"User-Agent", b"haloes"),
        ]
        key = f"Bearer {self._key}".encode() if self._key else authorization
        headers += [(b"Authorization", key)] if key else []
        limits = {"connect": _CONNECT, "read": _SILENCE, "write": _SILENCE, "pool": None}
        try:
            async with self._pool.stream(
                method, url, headers=headers, content=content, extensions={"timeout": limits}
            ) as response:
                if 300 <= response.status < 400:  # noqa: PLR2004 - redirects
                    raise RefusedError(502, f"{self._name} redirects, and redirects are not followed")
                passed = [(name.lower(), value) for name, value in response.headers if name.lower() in _PASSED_ON]
                yield Reply(response.status, passed, response.aiter_stream())
        except (httpcore.ConnectError, httpcore.ConnectTimeout, OSError, ConfigError) as error:
            raise RefusedError(502, f"{self._name} cannot be reached ({error})", code="upstream") from error
        except (httpcore.NetworkError, httpcore.ProtocolError, httpcore.TimeoutException) as error:
            raise RefusedError(502, f"{self._name} broke off ({type(error).__name__})", code="upstream") from error


class _Backend(httpcore.AsyncNetworkBackend):
    """Connects to addresses that were looked at, so that no name leads to one that is never asked."""

    def __init__(self) -> None:
        self._inner = httpcore.AnyIOBackend()

    async def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,  # noqa: ASYNC109 - httpcore's interface
        local_address: str | None = None,
        socket_options: Iterable[Any] | None = None,
    ) -> httpcore.AsyncNetworkStream:
        addresses = await anyio.to_thread.run_sync(safe_addresses, host, port)
        for left, address in zip(range(len(addresses), 0, -1), addresses, strict=True):
            try:
                return await self._inner.connect_tcp(address, port, timeout, local_address, socket_options)
            except (httpcore.ConnectError, httpcore.ConnectTimeout):
                if left == 1:
                    raise
        raise httpcore.ConnectError(f"{host} has no address")

    async def connect_unix_socket(self, path: str, *_: object, **__: object) -> httpcore.AsyncNetworkStream:
        raise httpcore.ConnectError(f"{path} is no server that is asked")

    async def sleep(self, seconds: float) -> None:
        await self._inner.sleep(seconds)

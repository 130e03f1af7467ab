"""A server of the OpenAI kind, asked in place of a model: requests and replies pass through byte by byte."""

import json
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from io import BytesIO
from ssl import create_default_context
from urllib.parse import quote, urlsplit

import anyio.to_thread

from haloes.errors import ConfigError
from haloes.remote.addresses import safe_addresses
from haloes.remote.client import Endpoint, checked_key
from haloes.serving.backend import Ask, Loading, Reply
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
        parts = urlsplit(endpoint.base_url.strip())
        self._base = f"{parts.scheme}://{parts.netloc}{quote(parts.path.rstrip('/'), safe='/%:@!$&()*+,;=~')}"
        self._name = endpoint.base_url

    @asynccontextmanager
    async def opened(self) -> AsyncIterator[None]:
        """Keep connections while the block lasts."""
        from aiohttp import ClientSession, ClientTimeout, DummyCookieJar, TCPConnector

        # What Python trusts now (SSL_CERT_FILE, SSL_CERT_DIR), and not what it did when aiohttp was imported.
        trusted = create_default_context()
        connector = TCPConnector(
            limit=0, keepalive_timeout=_IDLE, resolver=_resolver(), use_dns_cache=False, ssl=trusted
        )
        limits = ClientTimeout(total=None, sock_connect=_CONNECT, sock_read=_SILENCE)
        # Nothing of the environment, no cookies, nothing unpacked: what comes is what is passed on.
        async with ClientSession(
            connector=connector,
            timeout=limits,
            cookie_jar=DummyCookieJar(),
            auto_decompress=False,
            trust_env=False,
            headers={"User-Agent": "haloes", "Accept-Encoding": "identity"},
        ) as self._session:
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
        from aiohttp import ClientConnectorError, ClientError
        from yarl import URL

        url = URL(self._base + path, encoded=True)
        headers = {} if content is None else {"Content-Type": "application/json"}
        if self._key or authorization:
            headers["Authorization"] = f"Bearer {self._key}" if self._key else (authorization or b"").decode("latin-1")
        try:
            async with self._session.request(
                method, url, headers=headers, data=content and BytesIO(content), allow_redirects=False
            ) as response:
                if 300 <= response.status < 400:  # noqa: PLR2004 - redirects
                    raise RefusedError(502, f"{self._name} redirects, and redirects are not followed")
                passed = [(name.lower(), value) for name, value in response.raw_headers if name.lower() in _PASSED_ON]
                yield Reply(response.status, passed, response.content.iter_any(), response.content_length)
        except (ClientConnectorError, ConfigError) as error:
            raise RefusedError(502, f"{self._name} cannot be reached ({error})", code="upstream") from error
        except (ClientError, TimeoutError, OSError, ValueError) as error:
            raise RefusedError(502, f"{self._name} broke off ({type(error).__name__})", code="upstream") from error


def _resolver() -> object:
    """Return what looks names up for aiohttp, so that none leads to an address that is never asked."""
    from aiohttp.abc import AbstractResolver, ResolveResult

    class Resolver(AbstractResolver):  # type: ignore[misc]  # aiohttp is an extra
        async def resolve(self, host: str, port: int = 0, family: int = socket.AF_UNSPEC) -> list[ResolveResult]:
            del family
            addresses = await anyio.to_thread.run_sync(safe_addresses, host, port)
            return [
                ResolveResult(
                    hostname=host,
                    host=address,
                    port=port,
                    family=socket.AF_INET6 if ":" in address else socket.AF_INET,
                    proto=0,
                    flags=socket.AI_NUMERICHOST,
                )
                for address in addresses
            ]

        async def close(self) -> None:
            """Nothing is open."""

    return Resolver()

"""
HTTP/1.1 as a client, over connections that are kept: what comes is handed on as it comes.

`httptools` reads the replies, the parser that reads the requests too. A connection carries one request at a time.
"""

import asyncio
import ipaddress
import ssl
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, cast

from haloes.errors import ConfigError
from haloes.remote.addresses import safe_addresses

_CONNECT, _SILENCE, _IDLE = 10.0, 600.0, 30.0
"""Seconds to connect, of silence within a reply, and that an unused connection is kept."""
_MOST_WAITING = 1 << 20
"""Bytes that wait for a slow reader before no more are read."""
_LONGEST_HEAD = 1 << 16
"""Bytes of a reply before its body."""
_FIRST_FINAL = 200
"""Statuses below it announce another reply."""


class UnreachableError(Exception):
    """There is no connection to the server."""


class BrokenOffError(Exception):
    """A connection ended or was silent for minutes, or what came is no HTTP, before a reply was whole."""


class Connection(asyncio.Protocol):
    """One connection; `status` and `headers` are those of the reply that is read."""

    def __init__(self) -> None:
        """Wait to be connected."""
        self._arrived = asyncio.Event()
        self.is_open, self._fault = False, ""
        self._begin()

    @property
    def is_reusable(self) -> bool:
        """Return whether it can carry another request."""
        return self.is_open and self._ended and self._keeps_alive

    @property
    def size(self) -> int | None:
        """Return the bytes of the body, where they were announced."""
        value = dict(self.headers).get(b"content-length", b"")
        return int(value) if value.isdigit() else None

    async def ask(self, request: bytes) -> None:
        """Send a request, and wait for the head of its reply. Raises BrokenOffError."""
        self._begin()
        self._transport.write(request)
        while not self._has_head:
            await self._more()

    async def parts(self) -> AsyncIterator[bytes]:
        """Yield the body as it comes. Raises BrokenOffError."""
        while True:
            if self._body:
                part = bytes(self._body)
                self._body.clear()
                self._transport.resume_reading()
                yield part
            elif self._ended:
                return
            else:
                await self._more()

    def close(self) -> None:
        """End it, whatever is on its way."""
        self.is_open = False
        self._transport.abort()

    async def _more(self) -> None:
        if self._fault:
            raise BrokenOffError(self._fault)
        self._arrived.clear()
        try:
            async with asyncio.timeout(_SILENCE):
                await self._arrived.wait()
        except TimeoutError:
            raise BrokenOffError(f"nothing came for {_SILENCE:.0f} seconds") from None

    def _begin(self) -> None:
        from httptools import HttpResponseParser

        self._parser = HttpResponseParser(self)
        self.status, self.headers = 0, list[tuple[bytes, bytes]]()
        self._body, self._head_size = bytearray(), 0
        self._has_head = self._ended = self._keeps_alive = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Remember where to write."""
        self._transport, self.is_open = cast("asyncio.Transport", transport), True

    def data_received(self, data: bytes) -> None:
        """Read what came."""
        from httptools import HttpParserError, HttpParserUpgrade

        if not self._has_head:
            self._head_size += len(data)
        try:
            self._parser.feed_data(data)
        except (HttpParserError, HttpParserUpgrade) as error:
            self._break_off(f"what came is no HTTP ({type(error).__name__})")
        if not self._has_head and self._head_size > _LONGEST_HEAD:
            self._break_off("its reply has no end to its headers")
        if len(self._body) > _MOST_WAITING:
            self._transport.pause_reading()
        self._arrived.set()

    def connection_lost(self, exc: Exception | None) -> None:
        """Take a reply without an announced length for whole, and any other for broken off."""
        self.is_open = False
        names = {name for name, _ in self.headers}
        if self._has_head and exc is None and not names & {b"content-length", b"transfer-encoding"}:
            self._ended = True
        self._fault = self._fault or "the connection was closed"
        self._arrived.set()

    def on_message_begin(self) -> None:
        """Take what nobody asked for as the end of the connection: it would be the reply to another request."""
        if self._ended:
            self._break_off("more came than was asked for")

    def on_header(self, name: bytes, value: bytes) -> None:
        """Keep a header; what follows the body is none."""
        if not self._has_head:
            self.headers.append((name.lower(), value))

    def on_headers_complete(self) -> None:
        """Have the head of a reply, or of one that announces it."""
        if self._ended:
            return
        self.status = self._parser.get_status_code()
        self._has_head = self.status >= _FIRST_FINAL
        if not self._has_head:
            self.headers.clear()

    def on_body(self, body: bytes) -> None:
        """Keep a part for the reader."""
        if not self._ended:
            self._body += body

    def on_message_complete(self) -> None:
        """End the reply."""
        self._ended = self._has_head
        # Only now does the parser know: with what follows it forgets.
        self._keeps_alive = bool(self._parser.should_keep_alive())

    def _break_off(self, fault: str) -> None:
        self._fault = self._fault or fault
        self.close()


class Connections:
    """Connections to one server."""

    def __init__(self, host: str, port: int, *, tls: bool) -> None:
        """Take an address; nothing is asked yet."""
        self._host, self._port = host, port
        self._tls = ssl.create_default_context() if tls else None
        self._idle: list[tuple[Connection, float]] = []

    @asynccontextmanager
    async def asked(self, request: bytes) -> AsyncIterator[Connection]:
        """
        Send a request, and yield the connection with its reply's head; leaving the block ends what is left of it.

        Raises:
            UnreachableError: there is no connection, or the name leads to an address that is never asked.
            BrokenOffError: it ended before the reply did.
        """
        connection = self._kept() or await self._connected()
        try:
            await connection.ask(request)
            yield connection
        finally:
            if connection.is_reusable:
                self._idle.append((connection, time.monotonic()))
            else:
                connection.close()

    def close(self) -> None:
        """End all that are kept."""
        while self._idle:
            self._idle.pop()[0].close()

    def _kept(self) -> Connection | None:
        """Return a connection that is kept, the one used last; those that were not used for long are closed."""
        cut = time.monotonic() - _IDLE
        while self._idle and (self._idle[0][1] < cut or not self._idle[0][0].is_open):
            self._idle.pop(0)[0].close()
        while self._idle:
            connection, _ = self._idle.pop()
            if connection.is_open:
                return connection
        return None

    async def _connected(self) -> Connection:
        try:
            async with asyncio.timeout(_CONNECT):
                return await self._connect()
        except TimeoutError:
            raise UnreachableError(f"no connection within {_CONNECT:.0f} seconds") from None
        except (OSError, ConfigError) as error:
            raise UnreachableError(str(error)) from error

    async def _connect(self) -> Connection:
        loop, fault = asyncio.get_running_loop(), OSError(f"{self._host} has no address")
        named: dict[str, Any] = {"ssl": self._tls, "server_hostname": self._host} if self._tls else {}
        for address in await self._addresses():
            try:
                return (await loop.create_connection(Connection, address, self._port, **named))[1]
            except OSError as error:
                fault = error
        raise fault

    async def _addresses(self) -> list[str]:
        # Each time anew: a name may lead elsewhere by now, and not to an address that is never asked.
        try:
            ipaddress.ip_address(self._host)
        except ValueError:
            return await asyncio.to_thread(safe_addresses, self._host, self._port)
        return safe_addresses(self._host, self._port)

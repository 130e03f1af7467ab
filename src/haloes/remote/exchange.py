"""
One HTTP exchange by one deadline, over connections that are kept for the next.

Time limits of HTTP libraries are of each wait: a server that drips a byte a second, header or body, meets none of them
for hours. Here every wait is for what is left until the exchange's deadline.
"""

import ssl
import threading
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from math import inf
from typing import Any, TypeAlias

import httpcore

_IDLE = 5.0
"""Seconds that an unused connection is kept: servers close theirs, and a request into a closed one is lost."""
_PIECE = 16 << 10
"""Bytes that are handed to the system at a time, each by what is left until the deadline."""

SocketOptions: TypeAlias = Iterable[httpcore.SOCKET_OPTION] | None


class UnreachableError(OSError):
    """No connection to this address; another one of the host may take it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Received:
    """What a server sent back."""

    status: int
    headers: Mapping[str, str]
    """By their names in small letters."""
    content: bytes
    """The body as it came: nothing is unpacked."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """What a request is, and where it goes."""

    method: str
    """GET or POST."""
    scheme: str
    address: str
    """A numeric address, so that nothing is looked up any more."""
    port: int
    target: str
    """The path, in the characters that may stand in it."""
    host: str
    """The name for which a certificate is checked."""


class Connections:
    """Connections to servers, for several threads at once."""

    def __init__(self) -> None:
        self._deadline = _Deadline()
        backend = _Backend(self._deadline)
        # The time limit and the number of threads say how many there are at once.
        self._pool = httpcore.ConnectionPool(max_connections=None, keepalive_expiry=_IDLE, network_backend=backend)

    def close(self) -> None:
        """Close all of them, also those that are being read."""
        self._pool.close()

    def exchange(
        self, place: Place, headers: Mapping[str, str], content: bytes, *, until: float, connect_until: float, most: int
    ) -> Received:
        """
        Send a request, and read what comes back.

        Args:
            place: where to.
            headers: headers of the request, in ASCII.
            content: its body; empty for none.
            until: when all must be over, in `time.monotonic` seconds.
            connect_until: when the connection must be there.
            most: bytes of the reply's body after which no more is read; a longer body has this many and some more.

        Raises:
            UnreachableError: no connection could be made.
            TimeoutError: it is not over by the deadline.
            OSError: the connection broke, or what came is not HTTP.
        """
        self._deadline.until, self._deadline.connect_until = until, connect_until
        url = httpcore.URL(scheme=place.scheme, host=place.address, port=place.port, target=place.target)
        extensions = {"sni_hostname": place.host} if place.scheme == "https" else {}
        try:
            with self._pool.stream(
                place.method, url, headers=[*headers.items()], content=content or None, extensions=extensions
            ) as response:
                received = bytearray()
                for chunk in response.iter_stream():
                    received += chunk
                    if len(received) > most:
                        break
                named = {name.decode("latin-1").lower(): value.decode("latin-1") for name, value in response.headers}
                return Received(status=response.status, headers=named, content=bytes(received))
        except httpcore.ConnectTimeout as error:
            raise UnreachableError("nobody answers there in time") from error
        except httpcore.ConnectError as error:
            raise UnreachableError(str(error)) from error
        except httpcore.TimeoutException as error:
            raise TimeoutError(str(error)) from error
        except (httpcore.NetworkError, httpcore.ProtocolError) as error:
            raise OSError(f"{type(error).__name__}: {error}") from error


class _Deadline(threading.local):
    """When the exchange that this thread is in must be over; connections are passed on from thread to thread."""

    until: float = inf
    connect_until: float = inf

    def left(self) -> float:
        left = self.until - time.monotonic()
        if left <= 0:
            raise httpcore.ReadTimeout("the exchange does not come to its end")
        return left

    def left_to_connect(self) -> float:
        left = min(self.until, self.connect_until) - time.monotonic()
        if left <= 0:
            raise httpcore.ConnectTimeout("no connection in time")
        return left


class _Backend(httpcore.NetworkBackend):
    """Makes connections that keep to the deadline."""

    def __init__(self, deadline: _Deadline) -> None:
        self._deadline, self._inner = deadline, httpcore.SyncBackend()

    def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,  # noqa: ARG002 - the deadline says how long
        local_address: str | None = None,
        socket_options: SocketOptions = None,
    ) -> httpcore.NetworkStream:
        left = self._deadline.left_to_connect()
        return _Stream(self._inner.connect_tcp(host, port, left, local_address, socket_options), self._deadline)


class _Stream(httpcore.NetworkStream):
    """A connection that keeps to the deadline of the thread that uses it."""

    def __init__(self, inner: httpcore.NetworkStream, deadline: _Deadline) -> None:
        self._inner, self._deadline = inner, deadline

    def read(self, max_bytes: int, timeout: float | None = None) -> bytes:  # noqa: ARG002 - the deadline says it
        return self._inner.read(max_bytes, self._deadline.left())

    def write(self, buffer: bytes, timeout: float | None = None) -> None:  # noqa: ARG002 - the deadline says it
        # In pieces: a server may take what it is sent as slowly as it likes.
        for start in range(0, len(buffer), _PIECE):
            self._inner.write(buffer[start : start + _PIECE], self._deadline.left())

    def close(self) -> None:
        self._inner.close()

    def start_tls(
        self,
        ssl_context: ssl.SSLContext,
        server_hostname: str | None = None,
        timeout: float | None = None,  # noqa: ARG002 - the deadline says it
    ) -> httpcore.NetworkStream:
        secured = self._inner.start_tls(ssl_context, server_hostname, self._deadline.left_to_connect())
        return _Stream(secured, self._deadline)

    def get_extra_info(self, info: str) -> Any:
        return self._inner.get_extra_info(info)

"""
JSON over HTTP to one server, for requests that may be repeated: retries, pauses, limits, and no surprises.

- Retried: no connection, no reply in time, 408, 425, 429, 5xx, and a reply that is not what it should be (cut off, not
  JSON, of another shape). Between attempts it waits as long as `Retry-After` asks, else twice as long each time.
- One deadline for an attempt, from the look-up of the name to the last byte of the reply.
- Never followed: redirects. Never asked: link-local and metadata addresses, also where a name leads to them; what was
  checked is what is connected to. Not used: proxies and .netrc of the environment. Not unpacked: compressed replies.
- The key is read from an environment variable when the client is made. It is in no message and no result: where the
  server repeats it, it is blotted out.
"""

import base64
import json
import os
import random
import re
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from math import isfinite
from typing import TYPE_CHECKING, Any, Self, TypeVar
from urllib.parse import quote, urlencode, urlsplit

from haloes.errors import ConfigError, RunError
from haloes.remote.addresses import is_local, safe_addresses

if TYPE_CHECKING:
    from haloes.remote.exchange import Received

Read = TypeVar("Read")

_AGAIN = frozenset({408, 425, 429})
_FATAL = frozenset({401, 402, 403, 404, 405, 407, 410})
"""Statuses that every further request would meet as well."""
_NOT_THERE = frozenset({404, 410})
_ODD = (ValueError, LookupError, TypeError, AttributeError, ArithmeticError, RecursionError)
"""What reading a reply of another shape may raise."""
_MOST_BYTES = 16 << 20
_QUOTED = 300
_SHORTEST_SECRET = 8
"""Servers of one's own take any word as a key; blotting out "x" would ruin every reply."""
_KEY_NAME = re.compile(r"[A-Z_][A-Z0-9_]{0,63}")


class NoReplyError(Exception):
    """A request that got nothing usable after all attempts. Its message may be shown: it holds no key."""


class TooLongError(NoReplyError):
    """A reply that is longer than is read; asking for less may help."""


class NotFoundError(RunError):
    """The server has nothing under this path."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Endpoint:
    """A server's address, and the patience with which it is asked."""

    base_url: str
    """The server's address, such as https://host/v1 or http://localhost:8000/v1."""
    key_env: str | None = None
    """The NAME of the environment variable that holds the key; None sends none."""
    user_env: str | None = None
    """The NAME of the environment variable with the user that the key belongs to, where a server wants both (HTTP basic
    authentication, RFC 7617); None sends the key alone, as a bearer's."""
    timeout: float = 60.0
    """Seconds for a request, from beginning to end."""
    attempts: int = 5
    """Most attempts at a request."""
    backoff: float = 1.0
    """Seconds before the second attempt; doubled before each further one."""
    longest_wait: float = 120.0
    """Seconds: where the server asks to wait longer than this, the request is given up."""
    requests_per_minute: float | None = None
    """Most requests a minute; None for no limit."""

    def __post_init__(self) -> None:
        parts = _parts(self.base_url)
        if parts.username or parts.password or parts.query or parts.fragment:
            raise ConfigError(
                "base_url: it holds a password, a query or a fragment, which would end up in records; give the bare "
                "address, and the name of the environment variable that holds the key as key_env"
            )
        for name, given in (("key_env", self.key_env), ("user_env", self.user_env)):
            if given is None or _KEY_NAME.fullmatch(given):
                continue
            raise ConfigError(
                f"{name}: give the NAME of an environment variable in capitals, such as JUDGE_API_KEY, not the key "
                "itself (what was given is not repeated here)"
            )
        for name, fits, rule in (
            ("timeout", 0 < self.timeout < float("inf"), "positive"),
            ("attempts", self.attempts >= 1, "at least 1"),
            ("backoff", 0 <= self.backoff < float("inf"), "at least 0"),
            ("longest_wait", 0 <= self.longest_wait < float("inf"), "at least 0"),
            ("requests_per_minute", self.requests_per_minute is None or self.requests_per_minute > 0, "positive"),
        ):
            if not fits:
                raise ConfigError(f"{name} must be {rule}, got {getattr(self, name)}")


class Client:
    """Requests to one endpoint, also from several threads at once; use as a context manager."""

    def __init__(self, endpoint: Endpoint) -> None:
        """
        Read the key and look at the address; nothing is sent.

        Raises ConfigError where the key is not in the environment, the address must not be asked, or the key would go
        over an open network in the clear.
        """
        from haloes.remote.exchange import Connections

        self._endpoint = endpoint
        self._url = _parts(endpoint.base_url)
        self._key = checked_key(endpoint)
        self._authorization = f"Bearer {self._key}" if self._key else ""
        if endpoint.user_env is not None:
            both = f"{_key(endpoint.user_env, field='user_env')}:{self._key}"
            self._authorization = f"Basic {base64.b64encode(both.encode()).decode()}"
        self._secrets = [self._key, self._authorization.rpartition(" ")[2]]
        self._stopped = threading.Event()
        self._turn = threading.Lock()
        self._not_before = 0.0
        self._connections = Connections()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        """Wake up the threads that wait between attempts, and close the connections."""
        self._stopped.set()
        self._connections.close()

    def post(self, path: str, body: Mapping[str, Any], read: Callable[[Any], Read]) -> Read:
        """
        Send a JSON body, and read the JSON reply.

        Args:
            path: below the base URL, such as /chat/completions.
            body: request, to be sent as JSON.
            read: takes what is wanted out of the reply; raises ValueError where the reply has another shape.

        Raises:
            NoReplyError: nothing usable came back after all attempts.
            RunError: no request can succeed (key refused, address unknown, redirect).
            ConfigError: the name leads to an address that is never asked.
        """
        return self._ask(_Request("POST", path, content=json.dumps(body).encode()), read)

    def get(self, path: str, query: Mapping[str, str], read: Callable[[Any], Read]) -> Read:
        """
        Ask for something, and read the JSON reply; as `post`, but for what is sent.

        Args:
            path: below the base URL, such as /scores; what is not to be a part of a path is quoted already.
            query: names and values behind the question mark.
            read: as of `post`.

        Raises:
            NotFoundError: there is nothing under this path.
            NoReplyError, RunError, ConfigError: as `post`; TooLongError, a NoReplyError, for a reply that is too long.
        """
        return self._ask(_Request("GET", path, query=urlencode(query)), read)

    def _ask(self, request: "_Request", read: Callable[[Any], Read]) -> Read:
        fault = "stopped"
        for attempt in range(self._endpoint.attempts):
            self._wait_for_turn()
            try:
                return read(self._blotted(json.loads(self._attempt(request))))
            except _TryAgainError as error:
                fault, wait = str(error), error.wait
            # Tried again like a fault of the network: servers cut replies off, and put errors into pages of HTML.
            except _ODD as error:
                fault, wait = f"not the reply it should be ({type(error).__name__}: {error})", None
            if attempt + 1 < self._endpoint.attempts:
                self._pause(wait, attempt, fault)
        attempts = self._endpoint.attempts
        raise NoReplyError(self._clean(f"{fault}, {attempts} times" if attempts > 1 else fault))

    def _attempt(self, request: "_Request") -> bytes:
        try:
            reply = self._exchange(request)
        except OSError as error:
            if self._stopped.is_set():
                raise NoReplyError("stopped") from error
            raise _TryAgainError(_network_fault(error, self._endpoint.timeout)) from error
        status, headers, content = reply.status, reply.headers, reply.content
        packed = headers.get("content-encoding", "").strip().lower()
        if packed in {"", "identity"}:
            # Cleaned before it is cut: half of a key would no longer be recognised.
            said = " ".join(self._clean(content.decode(errors="replace")).split())[:_QUOTED] or "nothing further"
        else:
            said = f"a text that is compressed ({self._clean(packed)[:_QUOTED]}), which was not asked for"
        if 300 <= status < 400:  # noqa: PLR2004 - redirects
            place = urlsplit(headers.get("location", "")).netloc.rpartition("@")[2]
            raise RunError(
                f"{self._endpoint.base_url} redirects to {place or 'another address'} (HTTP {status}), and redirects "
                "are not followed: they could carry the key elsewhere. If that is the server you mean, give its address"
            )
        if status in _FATAL:
            kind = NotFoundError if status in _NOT_THERE else RunError
            raise kind(f"{self._endpoint.base_url} answers HTTP {status}: {said}")
        if status in _AGAIN or status >= 500:  # noqa: PLR2004 - faults of the server
            raise _TryAgainError(f"HTTP {status}: {said}", wait=_retry_after(headers.get("retry-after")))
        if status >= 400:  # noqa: PLR2004 - faults of the request
            raise NoReplyError(f"HTTP {status}: {said}")
        # The limit on a reply's bytes could not see what they unfold to.
        if packed not in {"", "identity"}:
            raise NoReplyError(f"the reply is {said}; switch compression off at the server")
        if len(content) > _MOST_BYTES:
            raise TooLongError(f"the reply is longer than {_MOST_BYTES >> 20} MiB")
        return content

    def _exchange(self, request: "_Request") -> "Received":
        """Return what the first address of the host answers that takes the connection."""
        from haloes.remote.exchange import Place, UnreachableError

        until = time.monotonic() + self._endpoint.timeout
        host, scheme = self._url.hostname or "", self._url.scheme
        port = self._url.port or (443 if scheme == "https" else 80)
        headers = {
            "Host": self._url.netloc.encode("idna").decode(),
            "Accept": "application/json",
            "Accept-Encoding": "identity",
            "User-Agent": "haloes",
        }
        if request.method == "POST":
            headers["Content-Type"] = "application/json"
        if self._authorization:
            headers["Authorization"] = self._authorization
        target = quote(self._url.path.rstrip("/") + request.path, safe="/%:@!$&'()*+,;=~")
        target += f"?{request.query}" if request.query else ""
        addresses = safe_addresses(host, port)
        for left, address in zip(range(len(addresses), 0, -1), addresses, strict=True):
            # The name is resolved and checked above: connecting to the address itself leaves no second look-up, while
            # the certificate is still checked for the name.
            place = Place(method=request.method, scheme=scheme, address=address, port=port, target=target, host=host)
            now = time.monotonic()
            # An address that swallows everything leaves the others their share of the time.
            connect_until = now + (until - now) / left
            try:
                return self._connections.exchange(
                    place, headers, request.content, until=until, connect_until=connect_until, most=_MOST_BYTES
                )
            except UnreachableError:
                # A machine without IPv6 gets such addresses all the same: only the last failure counts.
                if left == 1:
                    raise
        raise OSError(f"{host} has no address")

    def _wait_for_turn(self) -> None:
        """Wait until the rate limit, or a pause that the server asked for, lets another request go."""
        rate = self._endpoint.requests_per_minute
        # Each thread takes a place in the row and waits for it outside of the lock, so that none blocks another.
        with self._turn:
            start = max(time.monotonic(), self._not_before)
            self._not_before = start + 60 / rate if rate else self._not_before
        if self._stopped.wait(max(0.0, start - time.monotonic())):
            raise NoReplyError("stopped")

    def _pause(self, asked: float | None, attempt: int, fault: str) -> None:
        if asked is not None:
            if asked > self._endpoint.longest_wait:
                raise NoReplyError(self._clean(f"{fault}; the server asks to wait {asked:.0f} seconds"))
            with self._turn:  # for all threads: the server does not know one from another
                self._not_before = max(self._not_before, time.monotonic() + asked)
            return
        wait = min(self._endpoint.backoff * 2**attempt, self._endpoint.longest_wait)
        # Threads that failed together shall not come back together.
        if self._stopped.wait(wait * random.uniform(0.5, 1.0)):
            raise NoReplyError("stopped")

    def _clean(self, text: str) -> str:
        for secret in self._secrets:
            text = text.replace(secret, "[key]") if len(secret) >= _SHORTEST_SECRET else text
        return text

    def _blotted(self, value: Any) -> Any:
        """Take the key out of a reply, wherever the server put it."""
        if isinstance(value, str):
            return self._clean(value)
        if isinstance(value, list):
            return [self._blotted(item) for item in value]
        if isinstance(value, dict):
            return {self._clean(name): self._blotted(item) for name, item in value.items()}
        return value


@dataclass(frozen=True, slots=True)
class _Request:
    """What is sent."""

    method: str
    path: str
    query: str = ""
    """As it stands behind the question mark."""
    content: bytes = b""


class _TryAgainError(Exception):
    """An attempt that failed and may succeed later; `wait` in seconds where the server says."""

    def __init__(self, message: str, *, wait: float | None = None) -> None:
        super().__init__(message)
        self.wait = wait


def checked_key(endpoint: Endpoint) -> str:
    """
    Return the endpoint's key, or "" where it takes none, after a look at the address; nothing is sent.

    Raises ConfigError where the key is not in the environment, the address must not be asked, or the key would go over
    an open network in the clear.
    """
    url, key = _parts(endpoint.base_url), _key(endpoint.key_env)
    try:
        addresses = safe_addresses(url.hostname or "", url.port or 0)
    except OSError:
        return key  # perhaps later: each request resolves the name anew
    if key and url.scheme == "http" and not all(map(is_local, addresses)):
        raise ConfigError(
            f"base_url: {endpoint.base_url} is plain http on the open network, and the key would be readable on its "
            "way; give an https address, or leave key_env out"
        )
    return key


def _parts(base_url: str) -> Any:
    try:
        parts = urlsplit(base_url.strip())
        usable = parts.scheme in {"http", "https"} and bool(parts.hostname) and (parts.port or 1) > 0
    except ValueError:
        usable = False
    if not usable:
        raise ConfigError("base_url must be an address such as https://host/v1 or http://localhost:8000/v1")
    return parts


def _key(name: str | None, *, field: str = "key_env") -> str:
    if name is None:
        return ""
    key = os.environ.get(name, "").strip()
    if not key:
        raise ConfigError(f"{field}: the environment variable {name} is not set; put the key there")
    # A header cannot hold other characters, and the error of the HTTP library would show the key.
    if not key.isascii() or not key.isprintable():
        raise ConfigError(f"{field}: {name} holds characters that cannot stand in a request's header")
    return key


def _network_fault(error: OSError, timeout: float) -> str:
    if isinstance(error, TimeoutError):
        return f"no reply within {timeout:g} seconds"
    return f"no connection ({error})"


def _retry_after(value: str | None) -> float | None:
    """Return the seconds to wait, from the header's seconds or date; None where it says neither."""
    if value is None:
        return None
    try:
        seconds = float(value)
    except ValueError:
        try:
            when = parsedate_to_datetime(value)
        except ValueError:
            return None
        seconds = (when.replace(tzinfo=when.tzinfo or UTC) - datetime.now(UTC)).total_seconds()
    return max(0.0, seconds) if isfinite(seconds) else None

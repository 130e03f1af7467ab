"""
What every request passes before anything else sees it: who may ask, from which page, and under which name.

A page of another site reaches a server on this machine in two ways. It asks 127.0.0.1 itself: then its `Origin` is not
ours. Or its own name is made to lead to 127.0.0.1 (DNS rebinding): then `Host` is a name that is none of ours.
"""

import hmac
import ipaddress
from collections.abc import Collection
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from haloes.serving.requests import RefusedError, refusal

if TYPE_CHECKING:
    from starlette.types import ASGIApp, Message, Receive, Scope, Send

_POLICY = (
    b"default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; "
    b"base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
_HEADERS = (
    (b"content-security-policy", _POLICY),
    (b"x-content-type-options", b"nosniff"),
    (b"x-frame-options", b"DENY"),
    (b"referrer-policy", b"no-referrer"),
    (b"cross-origin-resource-policy", b"same-origin"),
    (b"cross-origin-opener-policy", b"same-origin"),
    (b"cache-control", b"no-store"),
)
_OPEN = ("/v1/", "/api/")
"""Beginnings of paths that want the token where there is one; the others are the page's own files."""


@dataclass(frozen=True, slots=True)
class Guard:
    """Refuses what does not come from here, as an ASGI application around another."""

    app: "ASGIApp"
    token: str = ""
    """What each request must bring; empty for none."""
    names: Collection[str] = ()
    """Further names of the server."""

    async def __call__(self, scope: "Scope", receive: "Receive", send: "Send") -> None:
        """Pass a request on, or refuse it."""
        if scope["type"] != "http":
            if scope["type"] == "lifespan":
                await self.app(scope, receive, send)
            return

        async def guarded(message: "Message") -> None:
            if message["type"] == "http.response.start":
                given = {name for name, _ in message["headers"]}
                own = [each for each in _HEADERS if each[0] not in given]
                message = {**message, "headers": [*message["headers"], *own]}
            await send(message)

        try:
            self._check(scope)
        except RefusedError as error:
            await refusal(error)(scope, receive, guarded)
            return
        await self.app(scope, receive, guarded)

    def _check(self, scope: "Scope") -> None:
        hosts, origins = _all(scope, b"host"), _all(scope, b"origin")
        if len(hosts) != 1 or not self._is_ours(hosts[0]):
            raise RefusedError(403, "this server is asked by its address; --allow-host adds a name", "host")
        ours = {f"http://{hosts[0]}".lower(), f"https://{hosts[0]}".lower()}
        if any(origin.lower() not in ours for origin in origins):
            raise RefusedError(403, "pages of other sites may not ask this server", "origin")
        if any(value not in ("same-origin", "none") for value in _all(scope, b"sec-fetch-site")):
            raise RefusedError(403, "pages of other sites may not ask this server", "origin")
        if self.token and scope["path"].startswith(_OPEN):
            given = [value.removeprefix("Bearer ") for value in _all(scope, b"authorization")]
            if len(given) != 1 or not hmac.compare_digest(given[0].encode(), self.token.encode()):
                raise RefusedError(401, "send the token: Authorization: Bearer TOKEN", "invalid_api_key")

    def _is_ours(self, host: str) -> bool:
        """Return whether a `Host` is an address, which no name can be made to lead to, or a name of ours."""
        name = host.rpartition(":")[0] if host.rpartition(":")[2].isdigit() and not host.endswith("]") else host
        name = name.lower().removesuffix(".")
        if name in {"localhost", *(each.lower() for each in self.names)}:
            return True
        try:
            ipaddress.ip_address(name.removeprefix("[").removesuffix("]"))
        except ValueError:
            return False
        return True


def _all(scope: Any, wanted: bytes) -> list[str]:
    return [value.decode("latin-1") for name, value in scope["headers"] if name == wanted]

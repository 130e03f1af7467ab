"""Start the server: everything that can be refused is refused before a model is loaded or an address is bound."""

import contextlib
import ipaddress
import os
import socket
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from haloes.errors import ConfigError, RunError
from haloes.run_files import is_trained_run

_SHORTEST_TOKEN = 16
_GRACE = 5
"""Seconds that answers have to come to their end when the server stops."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Address:
    """Where the server is asked, and by whom."""

    host: str = "127.0.0.1"
    port: int = 8321
    token_env: str | None = None
    """The NAME of the environment variable with the token."""
    names: tuple[str, ...] = ()
    """Further names under which browsers may ask."""

    @property
    def url(self) -> str:
        """Return the page's address."""
        return f"http://{f'[{self.host}]' if ':' in self.host else self.host}:{self.port}"

    def token(self) -> str:
        """
        Return the token, or "" for none.

        Raises:
            ConfigError: the address is open to other machines and there is none, or it is too short.
        """
        if self.token_env is None:
            if not _is_loopback(self.host):
                raise ConfigError(
                    f"serve.host {self.host} can be asked by other machines, and no token is set; put one into an "
                    "environment variable and give its name: --token-env HALOES_TOKEN"
                )
            return ""
        token = os.environ.get(self.token_env, "").strip()
        if len(token) < _SHORTEST_TOKEN or not token.isascii() or not token.isprintable():
            raise ConfigError(
                f"serve.token_env: the environment variable {self.token_env} must hold {_SHORTEST_TOKEN} printable "
                "ASCII characters or more"
            )
        return token


def check_installed() -> None:
    """Raise ConfigError where the packages of the server are not installed."""
    missing = [name for name in ("starlette", "uvicorn", "httptools", "aiohttp") if find_spec(name) is None]
    if missing:
        raise ConfigError(f"haloes serve needs {' and '.join(missing)}: pip install 'haloes[web]'")


def check_is_trained(run: Path) -> None:
    """Raise RunError where a folder is no run with a model."""
    if not is_trained_run(run):
        raise RunError(f"{run} holds no trained run; give the folder that `haloes train` wrote, or --upstream URL")


@contextmanager
def bound(address: Address) -> Iterator[tuple[socket.socket, Address]]:
    """
    Bind the address, and yield the socket with the address that it has: port 0 is any that is free.

    Raises:
        RunError: it is taken, or none of this machine's.
    """
    try:
        family = socket.getaddrinfo(address.host, address.port, type=socket.SOCK_STREAM)[0][0]
        listening = socket.create_server((address.host, address.port), family=family, backlog=512)
    except (OSError, UnicodeError, OverflowError) as error:
        raise RunError(f"{address.url} cannot be bound ({error}); give another --port or --host") from error
    with listening:
        port = listening.getsockname()[1]
        yield listening, Address(host=address.host, port=port, token_env=address.token_env, names=address.names)


def serve_until_stopped(
    app: Any, listening: socket.socket, *, ready: Callable[[], None], failure: Callable[[], Exception | None]
) -> None:
    """
    Serve until Ctrl-C or SIGTERM; answers that are on their way get a few seconds to end.

    Args:
        app: what is served.
        listening: the socket that it is asked on.
        ready: told once requests are taken.
        failure: what else ends it; it is raised then.
    """
    import uvicorn

    class Server(uvicorn.Server):  # type: ignore[misc]  # uvicorn is an extra
        async def startup(self, sockets: Any = None) -> None:
            await super().startup(sockets)
            ready()

        async def on_tick(self, counter: int) -> bool:
            return bool(await super().on_tick(counter)) or failure() is not None

    config = uvicorn.Config(
        app,
        loop="asyncio",
        http="httptools",
        ws="none",
        lifespan="on",
        log_level="warning",
        access_log=False,
        server_header=False,
        proxy_headers=False,
        timeout_graceful_shutdown=_GRACE,
        timeout_keep_alive=30,
    )
    with contextlib.suppress(KeyboardInterrupt):  # the usual end
        Server(config).run(sockets=[listening])
    ended_by = failure()
    if ended_by is not None:
        raise ended_by


def _is_loopback(host: str) -> bool:
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False

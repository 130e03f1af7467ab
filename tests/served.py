"""A server of `haloes serve` in a thread of the test, before a fake upstream."""

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.client import HTTPConnection
from pathlib import Path
from typing import Any

import uvicorn

from haloes.remote.client import Endpoint
from haloes.serving.app import Site, make_app
from haloes.serving.of_upstream import site_of_upstream
from haloes.serving.run import Address, bound
from haloes.serving.store import Store


class Served:
    """A client of the server."""

    def __init__(self, port: int, store: Store) -> None:
        self.port, self.store = port, store
        self.url = f"http://127.0.0.1:{port}"

    def send(
        self, method: str, path: str, body: Any = None, headers: dict[str, str] | None = None
    ) -> tuple[int, dict[str, str], bytes]:
        """Send a request; return the status, the headers and the body."""
        connection = HTTPConnection("127.0.0.1", self.port, timeout=30)
        raw = None if body is None else body if isinstance(body, bytes) else json.dumps(body).encode()
        given = {"Content-Type": "application/json"} if raw is not None else {}
        connection.request(method, path, raw, given | (headers or {}))
        reply = connection.getresponse()
        content = reply.read()
        connection.close()
        return reply.status, {k.lower(): v for k, v in reply.getheaders()}, content

    def json(self, method: str, path: str, body: Any = None, **more: Any) -> tuple[int, Any]:
        """Send a request; return the status and the body as it reads."""
        status, _, content = self.send(method, path, body, **more)
        return status, json.loads(content)

    def chat(self, question: str = "Why?", **more: Any) -> str:
        """Have a question answered, and return the id under which the answer is kept."""
        body = {"model": "big", "messages": [{"role": "user", "content": question}], **more}
        status, headers, content = self.send("POST", "/v1/chat/completions", body)
        assert status == 200, content
        return headers["x-haloes-completion-id"]


@contextmanager
def served_site(site: Site, *, while_loading: bool = False, **guard: Any) -> Iterator[Served]:
    """
    Serve a site.

    Its models are there, unless it is served `while_loading`: one process does not load two models at the same time.
    """
    with bound(Address(port=0)) as (listening, address):
        config = uvicorn.Config(make_app(site, **guard), log_level="error", ws="none", timeout_graceful_shutdown=2)
        server = uvicorn.Server(config)
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listening]})
        thread.start()
        try:
            while not server.started or (site.backend.loading() is not None and not while_loading):
                assert thread.is_alive()
                threading.Event().wait(0.01)
            yield Served(address.port, site.store)
        finally:
            server.should_exit = True
            thread.join(20)


@contextmanager
def served(
    folder: Path,
    upstream: str,
    *,
    compare: tuple[str, ...] = (),
    prompts: str | None = None,
    key_env: str | None = None,
    **guard: Any,
) -> Iterator[Served]:
    """Serve an upstream, with the store in a folder."""
    with Store(folder / "collected.db") as store:
        site = site_of_upstream(Endpoint(base_url=upstream, key_env=key_env), store, compare=compare, prompts=prompts)
        with served_site(site, **guard) as client:
            yield client

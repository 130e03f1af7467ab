"""A server on 127.0.0.1 that speaks chat completions, and misbehaves on request."""

import json
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import Any, Self


@dataclass(frozen=True)
class Reply:
    """What the server sends back."""

    status: int = 200
    body: bytes = b""
    headers: dict[str, str] = field(default_factory=dict)
    hang: bool = False
    """Say nothing until the test is over."""
    cut: bool = False
    """Announce more bytes than are sent."""
    drip: str = ""
    """Which part never ends, a byte at a time: header or body."""


@dataclass(frozen=True)
class Request:
    """What the server was sent."""

    path: str
    headers: dict[str, str]
    body: dict[str, Any]


def says(text: Any, **choice: Any) -> Reply:
    """A chat completion with this text."""
    message = {"role": "assistant", "content": text}
    content = {
        "choices": [{"index": 0, "message": message, "finish_reason": "stop", **choice}],
        "usage": {"prompt_tokens": 100, "completion_tokens": 3},
    }
    return Reply(body=json.dumps(content).encode())


class FakeServer:
    """Answers each request by `answer(number from 0, request)`; use as a context manager."""

    def __init__(self, answer: Callable[[int, Request], Reply], *, keep_alive: bool = False) -> None:
        self.requests: list[Request] = []
        over, lock, requests = threading.Event(), threading.Lock(), self.requests

        peers: set[Any] = set()
        self._peers = peers

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1" if keep_alive else "HTTP/1.0"

            def do_GET(self) -> None:
                self.do_POST()

            def do_POST(self) -> None:
                content = self.rfile.read(int(self.headers.get("content-length", 0))) or b"{}"
                request = Request(self.path, {k.lower(): v for k, v in self.headers.items()}, json.loads(content))
                with lock:
                    number = len(requests)
                    requests.append(request)
                    peers.add(self.client_address)
                reply = answer(number, request)
                if reply.hang:
                    over.wait(30)
                    self.close_connection = True
                    return
                if reply.drip:
                    start = b"HTTP/1.1 200 OK\r\nX-Slow: "
                    self.wfile.write(
                        start if reply.drip == "header" else start + b"no\r\nContent-Length: 99999\r\n\r\n"
                    )
                    while not over.wait(0.02):
                        try:
                            self.wfile.write(b" ")
                        except OSError:  # the client has gone
                            break
                    self.close_connection = True
                    return
                self.send_response(reply.status)
                for name, value in reply.headers.items():
                    self.send_header(name, value)
                self.send_header("Content-Length", str(len(reply.body) + (100 if reply.cut else 0)))
                self.end_headers()
                self.wfile.write(reply.body)
                self.close_connection = reply.cut

            def log_message(self, *args: Any) -> None:
                pass

        self._over = over
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self._server.block_on_close = False
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.01,))

    @property
    def connections(self) -> int:
        """How many connections the requests came over."""
        return len(self._peers)

    @property
    def port(self) -> int:
        return int(self._server.server_address[1])

    @property
    def url(self) -> str:
        """Its base URL."""
        return f"http://127.0.0.1:{self.port}/v1"

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        self._over.set()
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

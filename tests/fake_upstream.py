"""A chat server on 127.0.0.1 that streams, for `haloes serve` to stand before; run as a program or in a thread."""

import asyncio
import json
import ssl
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from types import TracebackType
from typing import Any, Self


@dataclass
class FakeUpstream:
    """Answers "word 0 word 1 ..."; what it was sent is kept."""

    words: int = 5
    pause: float = 0.0
    """Seconds before each word."""
    status: int = 200
    ids: str = "chatcmpl-{n}"
    models: Sequence[str] = ("big", "small")
    says: Callable[[dict[str, Any]], list[str]] | None = None
    """The pieces of the answer to a request, in place of the words."""
    requests: list[tuple[dict[str, str], dict[str, Any]]] = field(default_factory=list)
    sent: list[bytes] = field(default_factory=list)
    """The bodies of its replies."""
    hang_ups: int = 0
    tls: ssl.SSLContext | None = None

    def __enter__(self) -> Self:
        self._loop = asyncio.new_event_loop()
        began = threading.Event()
        self._thread = threading.Thread(target=self._run, args=(began,), daemon=True)
        self._thread.start()
        assert began.wait(10)
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        self._loop.call_soon_threadsafe(self._over.set)
        self._thread.join(10)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/v1" if self.tls is None else f"https://localhost:{self.port}/v1"

    def _run(self, began: threading.Event) -> None:
        asyncio.set_event_loop(self._loop)
        self._loop.run_until_complete(self._serve(began))
        self._loop.close()

    async def _serve(self, began: threading.Event) -> None:
        self._over = asyncio.Event()
        server = await asyncio.start_server(self.talk, "127.0.0.1", 0, backlog=512, ssl=self.tls)
        self.port = server.sockets[0].getsockname()[1]
        began.set()
        await self._over.wait()
        server.close()
        tasks = [task for task in asyncio.all_tasks() if task is not asyncio.current_task()]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def talk(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Answer the requests of one connection."""
        try:
            while head := await reader.readuntil(b"\r\n\r\n"):
                first, *lines = head.decode().split("\r\n")
                headers = {k.lower(): v.strip() for k, _, v in (line.partition(":") for line in lines if line)}
                body = json.loads(await reader.readexactly(int(headers.get("content-length", 0))) or b"{}")
                if "/models" in first:
                    data = [{"id": name, "object": "model"} for name in self.models]
                    await self._whole(writer, {"object": "list", "data": data})
                    continue
                self.requests.append((headers, body))
                await self._answer(writer, body, len(self.requests))
        except (asyncio.IncompleteReadError, ConnectionError):
            self.hang_ups += 1
        finally:
            writer.close()

    async def _answer(self, writer: asyncio.StreamWriter, body: dict[str, Any], n: int) -> None:
        name, model = self.ids.format(n=n), body.get("model")
        words = self.says(body) if self.says else [f"word {i} of {model} " for i in range(self.words)]
        if self.status != 200:
            await self._whole(writer, {"error": {"message": "no", "type": "x"}}, self.status)
            return
        if not body.get("stream"):
            await asyncio.sleep(self.pause)
            choice = {
                "index": 0,
                "message": {"role": "assistant", "content": "".join(words)},
                "logprobs": {"content": [{"token": word, "logprob": -0.5} for word in words]},
                "finish_reason": "stop",
            }
            usage = {"prompt_tokens": 3, "completion_tokens": len(words)}
            await self._whole(writer, {"id": name, "model": model, "choices": [choice], "usage": usage})
            return
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n")
        whole = b""
        for part in [*words, None]:
            await asyncio.sleep(self.pause)
            delta = {} if part is None else {"role": "assistant", "content": part}
            choice = {"index": 0, "delta": delta, "finish_reason": None if part else "stop"}
            whole += self._chunk(
                writer, b"data: " + json.dumps({"id": name, "model": model, "choices": [choice]}).encode()
            )
            await writer.drain()
        whole += self._chunk(writer, b"data: [DONE]")
        writer.write(b"0\r\n\r\n")
        self.sent.append(whole)
        await writer.drain()

    @staticmethod
    def _chunk(writer: asyncio.StreamWriter, data: bytes) -> bytes:
        data += b"\n\n"
        writer.write(f"{len(data):x}\r\n".encode() + data + b"\r\n")
        return data

    async def _whole(self, writer: asyncio.StreamWriter, value: object, status: int = 200) -> None:
        raw = json.dumps(value).encode()
        self.sent.append(raw)
        head = f"HTTP/1.1 {status} X\r\nContent-Type: application/json\r\nContent-Length: {len(raw)}\r\n\r\n"
        writer.write(head.encode() + raw)
        await writer.drain()

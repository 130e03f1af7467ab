"""Connections to an upstream: replies of every kind, however they are cut into packets, and those that break off."""

import asyncio
import shutil
import ssl
import subprocess
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

pytest.importorskip("httptools", reason="the extra web is not installed")

from fake_upstream import FakeUpstream
from haloes.serving import connection
from haloes.serving.connection import BrokenOffError, Connection, Connections, UnreachableError
from served import served

REQUEST = b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n"
KINDS = {
    "announced": b"HTTP/1.1 200 OK\r\nContent-Length: 11\r\nX-Name: a\r\n\r\nhello world",
    "in chunks": (
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n6\r\n world\r\n0\r\nX-Late: b\r\n\r\n"
    ),
    "until the end": b"HTTP/1.1 200 OK\r\n\r\nhello world",
    "after another": b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 11\r\n\r\nhello world",
}


class Fake(asyncio.Transport):
    """What a connection writes to, and which it tells to wait."""

    def __init__(self) -> None:
        super().__init__()
        self.reading, self.aborted = True, False

    def write(self, data: Any) -> None:
        pass

    def pause_reading(self) -> None:
        self.reading = False

    def resume_reading(self) -> None:
        self.reading = True

    def abort(self) -> None:
        self.aborted = True


@asynccontextmanager
async def serving(
    reply: Callable[[asyncio.StreamWriter], Awaitable[None]], *, tls: ssl.SSLContext | None = None
) -> AsyncIterator[tuple[int, list[int]]]:
    """A server that reads requests and lets `reply` answer; yield its port, and a list with an entry a connection."""
    came: list[int] = []

    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        came.append(len(came))
        try:
            while await reader.readuntil(b"\r\n\r\n"):
                await reply(writer)
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            writer.close()

    server = await asyncio.start_server(talk, "127.0.0.1", 0, ssl=tls)
    try:
        yield server.sockets[0].getsockname()[1], came
    finally:
        server.close()
        for task in asyncio.all_tasks() - {asyncio.current_task()}:
            task.cancel()
        await asyncio.sleep(0)


def always(*parts: bytes, closes: bool = False) -> Callable[[asyncio.StreamWriter], Awaitable[None]]:
    async def reply(writer: asyncio.StreamWriter) -> None:
        for part in parts:
            writer.write(part)
            await writer.drain()
        if closes:
            writer.close()

    return reply


async def body(connections: Connections) -> bytes:
    async with connections.asked(REQUEST) as reply:
        assert reply.status == 200
        return b"".join([part async for part in reply.parts()])


@given(kind=st.sampled_from(sorted(KINDS)), cuts=st.lists(st.integers(0, 120), max_size=6))
def test_a_reply_is_read_alike_wherever_it_is_cut(kind: str, cuts: list[int]):
    async def read() -> tuple[int, bytes]:
        reply, transport = Connection(), Fake()
        reply.connection_made(transport)
        asking = asyncio.ensure_future(reply.ask(REQUEST))
        await asyncio.sleep(0)
        raw = KINDS[kind]
        ends = sorted({min(cut, len(raw)) for cut in cuts} | {0, len(raw)})
        for start, end in pairwise(ends):
            reply.data_received(raw[start:end])
        if kind == "until the end":
            reply.connection_lost(None)
        await asking
        assert b"x-late" not in dict(reply.headers)
        return reply.status, b"".join([part async for part in reply.parts()])

    assert asyncio.run(read()) == (200, b"hello world")


@pytest.mark.parametrize(
    "raw",
    [
        b"HTTP/1.1 200 OK\r\nContent-Length: 12\r\n\r\nhello world",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nmore\r\nhello\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Len",
        b"",
        b"SSH-2.0-OpenSSH_9.7\r\n",
        b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: upgrade\r\n\r\n",
        b"HTTP/1.1 200 OK\r\n" + b"X-More: 1\r\n" * 10_000,
    ],
    ids=["short", "chunks without an end", "no chunk", "half a head", "nothing", "no HTTP", "upgrade", "endless head"],
)
def test_a_reply_that_breaks_off_is_an_error_and_its_connection_is_not_used_again(raw: bytes):
    async def ask() -> None:
        async with serving(always(raw, closes=True)) as (port, came):
            connections = Connections("127.0.0.1", port, tls=False)
            for number in (1, 2):
                with pytest.raises(BrokenOffError):
                    await body(connections)
                assert len(came) == number

    asyncio.run(ask())


def test_a_connection_is_kept_for_the_next_request_and_replaced_where_it_was_closed():
    async def ask() -> tuple[int, int]:
        async with serving(always(KINDS["announced"])) as (port, kept):
            connections = Connections("127.0.0.1", port, tls=False)
            assert [await body(connections) for _ in range(3)] == [b"hello world"] * 3
            together = await asyncio.gather(body(connections), body(connections))
            assert together == [b"hello world"] * 2
            connections.close()
        async with serving(always(KINDS["announced"], closes=True)) as (port, closed):
            connections = Connections("127.0.0.1", port, tls=False)
            for _ in range(3):
                assert await body(connections) == b"hello world"
                await asyncio.sleep(0.05)  # its end has come by then
        return len(kept), len(closed)

    assert asyncio.run(ask()) == (2, 3)


def test_what_comes_without_being_asked_for_is_the_reply_to_no_request():
    async def ask() -> int:
        async with serving(always(KINDS["announced"] + KINDS["announced"].replace(b"world", b"other"))) as (port, came):
            connections = Connections("127.0.0.1", port, tls=False)
            for _ in range(2):
                assert await body(connections) == b"hello world"
            return len(came)

    assert asyncio.run(ask()) == 2


def test_who_leaves_amid_a_reply_ends_the_connection():
    async def ask() -> list[int]:
        async with serving(always(KINDS["announced"][:-3])) as (port, came):
            connections = Connections("127.0.0.1", port, tls=False)
            for _ in range(2):
                async with connections.asked(REQUEST) as reply:
                    assert reply.size == 11
            return came

    assert len(asyncio.run(ask())) == 2


def test_a_slow_reader_lets_the_upstream_wait():
    async def read() -> None:
        reply, transport = Connection(), Fake()
        reply.connection_made(transport)
        asking = asyncio.ensure_future(reply.ask(REQUEST))
        await asyncio.sleep(0)
        reply.data_received(b"HTTP/1.1 200 OK\r\nContent-Length: 9999999\r\n\r\n")
        await asking
        reply.data_received(b"x" * (1 << 20))
        assert transport.reading
        reply.data_received(b"x")
        assert not transport.reading
        async for part in reply.parts():
            assert len(part) == (1 << 20) + 1
            break
        assert transport.reading

    asyncio.run(read())


def test_silence_and_servers_that_are_not_there_are_told(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(connection, "_SILENCE", 0.05)

    async def ask() -> None:
        async with serving(always(b"")) as (port, _):
            with pytest.raises(BrokenOffError, match="nothing came for"):
                await body(Connections("127.0.0.1", port, tls=False))
        with pytest.raises(UnreachableError):
            await body(Connections("127.0.0.1", port, tls=False))
        with pytest.raises(UnreachableError, match="link-local"):
            await body(Connections("169.254.169.254", 80, tls=False))

    asyncio.run(ask())


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A certificate of localhost that nobody signed, with its key in the same file."""
    if shutil.which("openssl") is None:
        pytest.skip("openssl is not installed")
    path = tmp_path_factory.mktemp("tls") / "both.pem"
    command = (
        "openssl req -x509 -newkey rsa:2048 -nodes -days 2 -subj /CN=localhost -addext subjectAltName=DNS:localhost"
    )
    subprocess.run([*command.split(), "-keyout", "both.pem", "-out", "certificate.pem"], cwd=path.parent, check=True)
    path.write_text(path.read_text() + (path.parent / "certificate.pem").read_text())
    return path


def test_an_upstream_with_https_is_asked_where_its_certificate_is_trusted(
    tmp_path: Path, certificate: Path, monkeypatch: pytest.MonkeyPatch
):
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate)
    ask = {"model": "big", "stream": True, "messages": [{"role": "user", "content": "Why?"}]}
    with FakeUpstream(tls=context) as upstream:
        with served(tmp_path / "no", upstream.url) as server:
            status, told = server.json("POST", "/v1/chat/completions", ask)
            assert (status, upstream.requests) == (502, [])
            assert "certificate verify failed" in told["error"]["message"]
        monkeypatch.setenv("SSL_CERT_FILE", str(certificate.parent / "certificate.pem"))
        with served(tmp_path / "yes", upstream.url) as server:
            for _ in range(2):
                status, _, content = server.send("POST", "/v1/chat/completions", ask)
                assert (status, content) == (200, upstream.sent[-1])

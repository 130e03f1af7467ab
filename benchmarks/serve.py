"""
Fifty chats at once through `haloes serve` beside fifty straight to the same upstream: errors, and what the way adds.

    python -m benchmarks.serve [--chats 50] [--rounds 6] [--words 40]

The upstream is a program that answers at once; rounds straight and through the server take turns, so that both meet the
same machine. Printed is the time to the first token at the median and the 95th percentile, and the difference.
"""

import argparse
import asyncio
import json
import os
import signal
import sqlite3
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import psutil

_PAUSE = 0.02
"""Seconds between an upstream's words: fifty tokens a second each."""


async def upstream(words: int) -> None:
    """Answer every request with words, until killed."""

    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while head := await reader.readuntil(b"\r\n\r\n"):
                length = int(head.lower().partition(b"content-length:")[2].split(b"\r\n")[0] or 0)
                await reader.readexactly(length)
                writer.write(
                    b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n"
                )
                for i in range(words):
                    choice = {"index": 0, "delta": {"content": f"word {i} "}, "finish_reason": None}
                    _event(writer, json.dumps({"id": "chatcmpl-1", "model": "fake", "choices": [choice]}))
                    await writer.drain()
                    await asyncio.sleep(_PAUSE)
                _event(writer, "[DONE]")
                writer.write(b"0\r\n\r\n")
                await writer.drain()
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            writer.close()

    server = await asyncio.start_server(talk, "127.0.0.1", 0, backlog=512)
    print(server.sockets[0].getsockname()[1], flush=True)
    await server.serve_forever()


def _event(writer: asyncio.StreamWriter, text: str) -> None:
    data = f"data: {text}\n\n".encode()
    writer.write(f"{len(data):x}\r\n".encode() + data + b"\r\n")


async def chat(port: int, words: int) -> float:
    """Return the seconds to the first token of one chat. Raises AssertionError where it is not answered whole."""
    body = json.dumps({"model": "fake", "stream": True, "messages": [{"role": "user", "content": "Hello?"}]}).encode()
    began = time.perf_counter()
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(
        b"POST /v1/chat/completions HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n"
        + f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n".encode()
        + body
    )
    seen, first = b"", None
    while b"\r\n0\r\n\r\n" not in seen[-16:]:
        part = await asyncio.wait_for(reader.read(65536), 60)
        assert part, f"cut off after {seen[-200:]!r}"
        seen += part
        if first is None and b"word 0" in seen:
            first = time.perf_counter() - began
    writer.close()
    assert seen.startswith(b"HTTP/1.1 200"), seen[:200]
    assert seen.count(b"word ") == words, seen.count(b"word ")
    assert first is not None
    return first


async def measure(chats: int, rounds: int, words: int, straight: int, through: int) -> dict[str, list[float]]:
    """Return the times to the first token, straight and through the server."""
    found: dict[str, list[float]] = {"straight": [], "through": []}
    await asyncio.gather(*(chat(through, words) for _ in range(chats)))  # connections and code are warm after this
    for number in range(rounds):
        for name in ("straight", "through")[:: 1 if number % 2 else -1]:
            port = {"straight": straight, "through": through}[name]
            found[name] += await asyncio.gather(*(chat(port, words) for _ in range(chats)))
    return found


def _cpu(process: int) -> float:
    """Return the seconds of processor time that a process has taken."""
    times = psutil.Process(process).cpu_times()
    return float(times.user + times.system)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--chats", type=int, default=50)
    parser.add_argument("--rounds", type=int, default=6)
    parser.add_argument("--words", type=int, default=40)
    parser.add_argument("--upstream", action="store_true", help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.upstream:
        asyncio.run(upstream(given.words))
        return
    command = [sys.executable, "-m", "benchmarks.serve", "--upstream", "--words", str(given.words)]
    with (
        tempfile.TemporaryDirectory() as folder,
        subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as fake,
    ):
        assert fake.stdout is not None
        straight = int(fake.stdout.readline())
        store = Path(folder) / "collected.db"
        command = [sys.executable, "-m", "haloes", "serve", "--upstream", f"http://127.0.0.1:{straight}/v1"]
        command += ["--port", "0", "--store", str(store)]
        environment = os.environ | {"PYTHONUNBUFFERED": "1"}
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment) as server:
            try:
                assert server.stdout is not None
                through = int(server.stdout.readline().rpartition(":")[2])
                before = _cpu(server.pid)
                found = asyncio.run(measure(given.chats, given.rounds, given.words, straight, through))
                worked = _cpu(server.pid) - before
            finally:
                server.send_signal(signal.SIGINT)
                fake.kill()
        with sqlite3.connect(store) as connection:
            (kept,) = connection.execute("SELECT count(*) FROM answers").fetchone()
        connection.close()
    middle = {name: 1000 * statistics.median(times) for name, times in found.items()}
    late = {name: 1000 * statistics.quantiles(times, n=20)[-1] for name, times in found.items()}
    print(f"{given.chats} chats at once, {given.rounds} rounds each way, {given.words} words an answer: no error")
    for name in found:
        print(f"first token {name}: median {middle[name]:.1f} ms, 95th percentile {late[name]:.1f} ms")
    print(f"the way adds {middle['through'] - middle['straight']:.1f} ms at the median")
    events = given.chats * (given.rounds + 1) * (given.words + 1)
    print(f"the server's processor time: {1e6 * worked / events:.0f} microseconds an event")
    print(f"{kept} answers are kept of {given.chats * (given.rounds + 1)}")


if __name__ == "__main__":
    main()

"""
Fifty chats through `haloes serve` beside fifty straight to the same upstream: errors, and what the way adds.

    python -m benchmarks.serve [--chats 50] [--rounds 6] [--words 40]

The chats of a round begin at one moment, and then spread over two seconds as people's do; fifty are under way either
way. The upstream is a program that answers at once; rounds straight and through the server take turns, so that both
meet the same machine. Printed is the time to the first token at the median and the 95th percentile, the difference with
its 95 % interval over rounds, and how busy the machine was with other programs: where they leave no processor idle, the
server waits for one.
"""

import argparse
import asyncio
import json
import os
import random
import signal
import sqlite3
import statistics
import subprocess
import sys
import tempfile
import time
from itertools import chain
from pathlib import Path

import psutil

_PAUSE = 0.02
"""Seconds between an upstream's words: fifty tokens a second each."""
_SPREAD = 2.0
"""Seconds over which the chats of a round begin."""


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


async def measure(given: argparse.Namespace, ports: dict[str, int], spread: float) -> dict[str, list[list[float]]]:
    """Return the seconds to the first token, straight and through the server, a list for each round."""
    found: dict[str, list[list[float]]] = {name: [] for name in ports}
    drawn = random.Random(0)

    async def begun_later(port: int, wait: float) -> float:
        await asyncio.sleep(wait)
        return await chat(port, given.words)

    for number in range(given.rounds):
        waits = [drawn.uniform(0, spread) for _ in range(given.chats)]
        for name in list(ports)[:: 1 if number % 2 else -1]:
            found[name].append(await asyncio.gather(*(begun_later(ports[name], wait) for wait in waits)))
    return found


def added(found: dict[str, list[list[float]]]) -> tuple[float, float, float]:
    """Return the difference of the medians in milliseconds, with the ends of its interval: rounds are drawn again."""
    drawn = random.Random(0)
    rounds = list(zip(found["straight"], found["through"], strict=True))

    def difference(those: list[tuple[list[float], list[float]]]) -> float:
        straight, through = (statistics.median(chain.from_iterable(side)) for side in zip(*those, strict=True))
        return 1000 * (through - straight)

    again = sorted(difference(drawn.choices(rounds, k=len(rounds))) for _ in range(1000))
    return difference(rounds), again[25], again[974]


def _others(ours: list[int]) -> float:
    """Return the processor time that other programs than these have taken, in seconds."""
    times = psutil.cpu_times()
    return float(times.user + times.system + times.nice) - sum(map(_cpu, ours))


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
                ports = {"straight": straight, "through": int(server.stdout.readline().rpartition(":")[2])}
                programs = [server.pid, fake.pid, os.getpid()]
                # Connections and code are warm after this.
                asyncio.run(measure(argparse.Namespace(**{**vars(given), "rounds": 1}), ports, 0.0))
                worked = -_cpu(server.pid)
                for title, spread in (("at one moment", 0.0), (f"spread over {_SPREAD:g} s", _SPREAD)):
                    began, others = time.perf_counter(), _others(programs)
                    found = asyncio.run(measure(given, ports, spread))
                    busy = (_others(programs) - others) / (time.perf_counter() - began)
                    report(title, found, busy)
                worked += _cpu(server.pid)
            finally:
                server.send_signal(signal.SIGINT)
                fake.kill()
        with sqlite3.connect(store) as connection:
            (kept,) = connection.execute("SELECT count(*) FROM answers").fetchone()
        connection.close()
    events = 2 * given.chats * given.rounds * (given.words + 1)
    print(f"the server's processor time: {1e6 * worked / events:.0f} microseconds an event")
    print(f"{kept} answers are kept of {given.chats * (2 * given.rounds + 1)}")


def report(title: str, found: dict[str, list[list[float]]], busy: float) -> None:
    """Print what was found of chats that began in one way."""
    num_rounds = len(found["through"])
    print(f"{len(found['through'][0])} chats that begin {title}, {num_rounds} rounds each way: no error")
    for name, rounds in found.items():
        times = [1000 * each for each in chain.from_iterable(rounds)]
        late = statistics.quantiles(times, n=20)[-1]
        print(f"    first token {name}: median {statistics.median(times):.1f} ms, 95th percentile {late:.1f} ms")
    value, low, high = added(found)
    print(f"    the way adds {value:.1f} ms at the median [{low:.1f}, {high:.1f}]")
    print(f"    other programs took {busy:.1f} of {psutil.cpu_count()} processors")


if __name__ == "__main__":
    main()

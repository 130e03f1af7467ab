"""A server that is killed while votes come in: no vote that was told as kept is lost, and the store opens again."""

import json
import random
import signal
import sqlite3
import subprocess
import sys
import threading
import time
from http.client import HTTPConnection, HTTPException
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("uvicorn", reason="the extra web is not installed")

from fake_upstream import FakeUpstream
from haloes.feedback.read import FeedbackSource

SCRIPT = Path(__file__).parents[1] / "vote_server.py"


def post(port: int, path: str, body: Any) -> tuple[int, dict[str, str]]:
    connection = HTTPConnection("127.0.0.1", port, timeout=20)
    try:
        connection.request("POST", path, json.dumps(body), {"Content-Type": "application/json"})
        reply = connection.getresponse()
        reply.read()
        return reply.status, {k.lower(): v for k, v in reply.getheaders()}
    finally:
        connection.close()


def vote_on(port: int, client: str, told: list[str], over: threading.Event) -> None:
    """Chat and vote until the server is gone; note the votes that were told as kept."""
    number = 0
    while not over.is_set():
        name = f"{client} {number}"
        number += 1
        try:
            body = {"model": "big", "messages": [{"role": "user", "content": name}], "stream": bool(number % 2)}
            status, headers = post(port, "/v1/chat/completions", body)
            assert status == 200
            vote = {"completion_id": headers["x-haloes-completion-id"], "rating": 1, "comment": name}
            status, _ = post(port, "/v1/feedback", vote)
            assert status == 200
            told.append(name)
        except (OSError, HTTPException):
            return


def kill_while_voting(store: Path, upstream: str, kill: int, chance: random.Random) -> list[str]:
    """Start a server, vote from three clients, kill it at some moment; return the votes that were told as kept."""
    command = [sys.executable, str(SCRIPT), str(store), upstream]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as server:
        assert server.stdout is not None
        port = int(server.stdout.readline())
        told: list[str] = []
        over = threading.Event()
        clients = [threading.Thread(target=vote_on, args=(port, f"{kill} {i}", told, over)) for i in range(3)]
        for client in clients:
            client.start()
        # From the first vote on, so that there is something to lose.
        until = time.monotonic() + 20
        while not told and time.monotonic() < until:
            time.sleep(0.005)
        time.sleep(chance.uniform(0, 0.3))
        server.send_signal(signal.SIGKILL)
        over.set()
        for client in clients:
            client.join()
    return told


def survive(folder: Path, kills: int) -> int:
    """Kill a server so many times, and check after each that all is there; return how many votes were told as kept."""
    store, chance, told = folder / "collected.db", random.Random(0), set[str]()
    with FakeUpstream() as upstream:
        for kill in range(kills):
            told |= set(kill_while_voting(store, upstream.url, kill, chance))
            with sqlite3.connect(store) as connection:
                assert connection.execute("PRAGMA integrity_check").fetchone() == ("ok",)
                kept = [row[0] for row in connection.execute("SELECT comment FROM votes")]
            connection.close()
            assert told <= set(kept)
            assert len(kept) == len(set(kept))
    if told:
        assert len(list(FeedbackSource(str(store)))) >= len(told)
    return len(told)


def test_no_vote_is_lost_in_a_few_kills(tmp_path: Path):
    assert survive(tmp_path, 4) >= 4


@pytest.mark.attack
def test_no_vote_is_lost_in_two_hundred_kills(tmp_path: Path):
    told = survive(tmp_path, 200)

    assert told >= 200
    print(f"{told} votes were told as kept in 200 kills, and all are there")  # noqa: T201

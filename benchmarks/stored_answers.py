"""
How long the page's requests take with 100,000 answers in the store of `haloes serve`.

    python -m benchmarks.stored_answers [--answers 100000] [--times 15]

Answers have 150 words of 20,000 that syllables make, drawn by Zipf's law as in a language; half of them are rated, and
each other one has a reward. Requests go over HTTP to a server in a process of its own, one after the other. Printed are
the median and the longest, and the server's processor time.
"""

import argparse
import json
import os
import random
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from http.client import HTTPConnection
from itertools import accumulate, islice
from pathlib import Path
from typing import Any
from urllib.parse import quote

import psutil

from haloes.serving.implied_reward import add_reward
from haloes.serving.records import Answer, Preference, Rating
from haloes.serving.store import Store
from haloes.serving.writes import NewComparison, add_answers, add_comparison, add_preference, add_rating

_SYLLABLES = [consonant + vowel for consonant in "bdfghjklmnprstvw" for vowel in "aeiou"]
_CHANCE = random.Random(0)
_WORDS = ["the", *dict.fromkeys("".join(_CHANCE.choices(_SYLLABLES, k=_CHANCE.randint(2, 4))) for _ in range(20_000))]
_WEIGHTS = list(accumulate(1 / (i + 1) for i in range(len(_WORDS))))
_RARE, _NEVER = "rarity", "absent"
_MODELS = ("after", "before")
_COMPARED = 2_000


def answers(count: int, chance: random.Random) -> Iterator[Answer]:
    """Yield answers; each thousandth holds a rare word."""
    for i in range(count):
        words = chance.choices(_WORDS, cum_weights=_WEIGHTS, k=150)
        words += [_RARE] if i % 1000 == 7 else []
        yield Answer(
            completion_id=f"haloes-{i}",
            created_at=1e9 + i,
            model=_MODELS[i % 3 == 0],
            user=f"user{i % 50}",
            messages=[{"role": "user", "content": " ".join(words[:20])}],
            message={"role": "assistant", "content": " ".join(words)},
            finish_reason="stop",
        )


def fill(path: Path, count: int) -> None:
    """Make a store with so many answers, of which half have a vote, and comparisons."""
    chance = random.Random(0)
    with Store(path) as store:
        rows = enumerate(answers(count, chance))
        while part := list(islice(rows, 500)):

            def add(connection: Any, part: Any = part) -> None:
                numbers = add_answers(connection, [answer for _, answer in part])
                for (i, answer), number in zip(part, numbers, strict=True):
                    if i % 2:
                        rating = chance.choice((1, -1))
                        add_rating(connection, Rating(completion_id=answer.completion_id, rating=rating))
                    add_reward(connection, number, chance.gauss(1, 3), "run")

            store.write(add).result()

        def compare(connection: Any) -> None:
            for i in range(1, 2 * _COMPARED, 2):
                new = NewComparison(prompt_id=f"p{i}", candidate="after", baseline="before", left=i, right=i + 1)
                name = add_comparison(connection, new)
                verdict = chance.choice(("left", "right", "tie"))
                add_preference(connection, Preference(comparison_id=name, verdict=verdict))

        store.write(compare).result()


def requests(count: int) -> dict[str, tuple[str, str, Any]]:
    """Return what is measured: the name, and the request."""
    middle = count // 2

    def found(search: str, **more: str) -> tuple[str, str, None]:
        rest = "".join(f"&{name}={value}" for name, value in more.items())
        return "GET", f"/api/answers?limit=30&search={quote(search)}{rest}", None

    vote = {"completion_id": f"haloes-{middle}", "rating": 1}
    return {
        "the page": ("GET", "/", None),
        "how much there is": ("GET", "/api/info", None),
        "the queue": ("GET", "/api/queue?limit=10", None),
        "the newest": found(""),
        "a page in the middle": found("", before=str(middle)),
        "those not rated of one model": found("", rating="none", model="before"),
        "a word of nearly all answers": found("the"),
        "the beginning of hundreds of words": found("ba"),
        "three words, the last a beginning": found(f"the {_WORDS[1]} {_WORDS[2][:3]}"),
        "a common word, disliked": found("the", rating="down"),
        "a common word, disliked, of one model, from the middle": found(
            "the", rating="down", model="before", before=str(middle)
        ),
        "a rare word": found(_RARE),
        "a rare word with a rating and a model": found(_RARE, rating="down", model="before"),
        "a rare word with a rating that none of them has": found(_RARE, rating="none", model="before"),
        "a word that no answer holds": found(_NEVER),
        "a common word of a model that never said it": found("the", model="nobody"),
        "one answer": ("GET", f"/api/answers/haloes-{middle}", None),
        "how a comparison stands": ("GET", "/api/comparisons/tally?user=ann", None),
        "a vote": ("POST", "/v1/feedback", vote),
    }


def timed(port: int, method: str, path: str, body: Any) -> float:
    """Return the milliseconds that a request takes. Raises AssertionError where it is refused."""
    connection = HTTPConnection("127.0.0.1", port, timeout=60)
    connection.connect()
    raw = None if body is None else json.dumps(body)
    began = time.perf_counter()
    connection.request(method, path, raw, {} if raw is None else {"Content-Type": "application/json"})
    reply = connection.getresponse()
    content = reply.read()
    took = 1000 * (time.perf_counter() - began)
    connection.close()
    assert reply.status == 200, (path, content[:300])
    return took


def _cpu(process: int) -> float:
    """Return the seconds of processor time that a process has taken."""
    times = psutil.Process(process).cpu_times()
    return float(times.user + times.system)


def serve(path: Path) -> None:
    """Serve a store with models that never answer, until killed."""
    import uvicorn

    from haloes.serving.app import Site, make_app
    from haloes.serving.comparing import Contest
    from haloes.serving.local import Local
    from haloes.serving.models import Models
    from haloes.serving.run import Address, bound

    models = Models({})
    with bound(Address(port=0)) as (listening, address), Store(path) as store:
        site = Site(store=store, backend=Local(models), contest=Contest(candidate="after", baseline="before"))
        print(address.port, flush=True)
        uvicorn.Server(uvicorn.Config(make_app(site), log_level="error")).run(sockets=[listening])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--answers", type=int, default=100_000)
    parser.add_argument("--times", type=int, default=15)
    parser.add_argument("--serve", type=Path, help=argparse.SUPPRESS)
    parser.add_argument(
        "--store", type=Path, help="a store that this script made before; made there where there is none"
    )
    given = parser.parse_args()
    if given.serve is not None:
        serve(given.serve)
        return
    with tempfile.TemporaryDirectory() as folder:
        path = given.store or Path(folder) / "collected.db"
        if not path.exists():
            began = time.perf_counter()
            fill(path, given.answers)
            took, size = time.perf_counter() - began, path.stat().st_size >> 20
            print(f"{given.answers} answers written in {took:.0f} s, {size} MiB")
        command = [sys.executable, "-m", "benchmarks.stored_answers", "--serve", str(path)]
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=dict(os.environ)) as server:
            try:
                assert server.stdout is not None
                port = int(server.stdout.readline())
                timed(port, "GET", "/api/info", None)  # the connections of the store are open after this
                for name, request in requests(given.answers).items():
                    before = _cpu(server.pid)
                    times = [timed(port, *request) for _ in range(given.times)]
                    worked = 1000 * (_cpu(server.pid) - before) / given.times
                    middle, longest = statistics.median(times), max(times)
                    print(f"{name}: {middle:.0f} ms, at most {longest:.0f}; {worked:.0f} of the processor")
            finally:
                server.terminate()


if __name__ == "__main__":
    main()

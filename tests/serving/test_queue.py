"""The queue: a run's answers wait for a vote in the order of how uncertain its implied reward is, others by time."""

import sqlite3
import threading
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("uvicorn", reason="the extra web is not installed")

import torch

from fake_upstream import FakeUpstream
from haloes.collected import SCHEMA, UPGRADES
from haloes.feedback.read import FeedbackSource
from haloes.runs.align import align
from haloes.runs.engines import make_transformers_engine
from haloes.serving.implied_reward import add_reward
from haloes.serving.of_run import site_of_run, weights_of
from haloes.serving.queries import waiting
from haloes.serving.store import Store
from haloes.serving.writes import add_answers
from haloes.tokens.encode import Encoded, make_encoder
from served import Served, served, served_site
from store_answers import answer
from tiny_runs import config, save_model, thumbs, write_rows

NUM_ANSWERS = 6


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("queue")
    model = save_model(folder / "model")
    align(config(model, write_rows(folder / "thumbs.jsonl", thumbs())), folder / "run")
    return folder / "run"


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    with Store(tmp_path / "collected.db") as opened:
        yield opened


def with_rewards(store: Store, rewards: list[float | None]) -> None:
    """One answer for each, called by its reward."""
    for number, reward in enumerate(rewards):
        one = answer(f"{number}: {reward}", "words")
        store.write(lambda c, one=one: add_answers(c, [one])).result(20)
        (row,) = store.read(lambda c: c.execute("SELECT max(id) FROM answers").fetchall())
        store.write(partial(add_reward, number=row[0], reward=reward, run="run")).result(20)


def order(found: dict[str, Any]) -> list[str]:
    return [each["completion_id"].partition(": ")[2] for each in found["answers"]]


def test_the_least_certain_is_nearest_to_the_median_and_the_rest_goes_by_time(store: Store):
    with_rewards(store, [9.0, None, 0.5, -1.0, 2.0, 0.9, None, 1.0])
    found = store.read(lambda c: waiting(c, 20))

    assert order(found) == ["0.9", "1.0", "0.5", "2.0", "-1.0", "9.0", "None", "None"]
    assert [each["number"] for each in found["answers"]][-2:] == [7, 2]
    assert (found["left"], found["scored"], found["middle"]) == (8, 6, 0.9)
    assert order(store.read(lambda c: waiting(c, 3))) == ["0.9", "1.0", "0.5"]


def test_before_an_upstream_the_queue_goes_by_time(tmp_path: Path):
    with FakeUpstream() as upstream, served(tmp_path, upstream.url) as server:
        names = [server.chat(f"{number}?") for number in range(3)]
        _, found = server.json("GET", "/api/queue")

        assert [each["completion_id"] for each in found["answers"]] == names[::-1]
        assert (found["scored"], found["middle"]) == (0, None)


def until_scored(server: Served, count: int) -> dict[str, Any]:
    """The queue once so many answers have a reward; the test's own time limit ends it otherwise."""
    while (found := server.json("GET", "/api/queue")[1])["scored"] < count:
        threading.Event().wait(0.05)
    return found


def expected_reward(run: Path, base: Path, question: str, words: str, finished: bool) -> float:
    """Log p of the words and their end by the run's model minus that by the model before, from their own logits."""
    totals = []
    for place in (str(run), str(base)):
        engine = make_transformers_engine(place, dtype="float32")
        encoder = make_encoder(engine.tokenizer, max_length=1000)
        (encoded,) = encoder.encode([(question, words, ())], finished=[finished])
        assert isinstance(encoded, Encoded)
        ids = torch.tensor([[*encoded.prompt, *encoded.completion]])
        with torch.no_grad():
            logps = engine.model(input_ids=ids).logits[0].log_softmax(-1)
        start = len(encoded.prompt)
        totals.append(sum(float(logps[start + i - 1, token]) for i, token in enumerate(encoded.completion.tolist())))
    return totals[0] - totals[1]


def test_answers_of_a_run_get_its_implied_reward_while_nobody_waits(trained: Path):
    with Store(trained / "collected.db") as store, served_site(site_of_run(trained, store, prompts=None)) as server:
        for number in range(NUM_ANSWERS):
            server.chat(f"Is {number} it?", model="after", max_tokens=8, temperature=1, seed=number)
        found = until_scored(server, NUM_ANSWERS)
        distances = [abs(each["reward"] - found["middle"]) for each in found["answers"]]
        assert distances == sorted(distances)
        assert distances[0] == 0
        base = trained.parent / "model"
        for each in found["answers"]:
            _, whole = server.json("GET", f"/api/answers/{each['completion_id']}")
            finished = whole["finish_reason"] == "stop"
            reward = expected_reward(trained, base, each["question"], whole["message"]["content"], finished)
            assert each["reward"] == pytest.approx(reward, abs=1e-4)

    # What is computed stays, and is computed again where the run's weights are others.
    with Store(trained / "collected.db") as store:
        kept = store.read(lambda c: c.execute("SELECT DISTINCT scored_by FROM answers").fetchall())
        assert kept == [(weights_of(trained),)]
        store.write(lambda c: c.execute("UPDATE answers SET scored_by = 'other', reward = 99")).result(20)
        with served_site(site_of_run(trained, store, prompts=None)) as server:
            while until_scored(server, NUM_ANSWERS)["middle"] == 99:
                threading.Event().wait(0.05)


def test_an_answer_that_has_no_reward_holds_nothing_up(trained: Path, tmp_path: Path):
    with Store(tmp_path / "collected.db") as store:
        picture = {"role": "user", "content": [{"type": "image_url", "image_url": {"url": "data:,"}}]}
        answers = [answer("good", "yes"), answer("no", "yes", messages=[picture])]
        store.write(lambda c: add_answers(c, answers)).result(20)
        with served_site(site_of_run(trained, store, prompts=None)) as server:
            found = until_scored(server, 1)

            assert [each["reward"] is None for each in found["answers"]] == [False, True]
            assert found["answers"][0]["completion_id"] == "good"


def test_a_store_of_the_version_before_is_upgraded_and_read_as_it_is(tmp_path: Path):
    path = tmp_path / "old.db"
    old = SCHEMA.replace("user_version = 2", "user_version = 1").replace(", scored_by TEXT, reward REAL", "")
    new = ("answers_waiting", "answers_unscored", "answers_listed")
    with sqlite3.connect(path) as connection:
        connection.executescript("\n".join(line for line in old.splitlines() if not any(name in line for name in new)))
        for name in ("answers_waiting", "answers_by_rating", "answers_by_voted", "answers_by_model"):
            connection.execute(f"CREATE INDEX {name} ON answers(voted, id)")
        add_answers(connection, [answer("one", "words")])
    connection.close()
    assert list(UPGRADES) == [1]

    assert list(FeedbackSource(str(path))) == []
    with Store(path) as store:
        assert store.read(lambda c: waiting(c, 5))["left"] == 1
    with Store(path) as store:
        assert store.read(lambda c: waiting(c, 5))["left"] == 1

"""Blind comparisons over HTTP: one pair of a prompt waits for each person, and nobody reads who wrote it before."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("uvicorn", reason="the extra web is not installed")

from fake_upstream import FakeUpstream
from served import Served, served

MODELS = ("new", "old")


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Served]:
    (tmp_path / "prompts.txt").write_text("Is it?\nWas it?\n")
    with (
        FakeUpstream(models=MODELS, says=lambda body: [f"{body['messages'][-1]['content']} Yes."]) as upstream,
        served(tmp_path, upstream.url, compare=MODELS, prompts=str(tmp_path / "prompts.txt")) as client,
    ):
        yield client


def begin(server: Served, user: str | None = "ann", **more: Any) -> dict[str, Any]:
    status, pair = server.json("POST", "/api/comparisons", {"user": user, **more})
    assert status == 200
    return pair


def vote(server: Served, pair: dict[str, Any], user: str = "ann") -> None:
    assert server.json("POST", f"/api/comparisons/{pair['id']}/vote", {"verdict": "tie", "user": user})[0] == 200


def listed(server: Served, wanted: str = "") -> list[str | None]:
    return [each["model"] for each in server.json("GET", f"/api/answers?{wanted}")[1]["answers"]]


def opened(server: Served) -> set[str | None]:
    rows = server.json("GET", "/api/answers")[1]["answers"]
    return {server.json("GET", f"/api/answers/{row['completion_id']}")[1]["model"] for row in rows}


def test_an_answer_of_a_pair_bears_no_models_name_until_the_vote(server: Served):
    pair = begin(server)

    assert listed(server) == listed(server, "search=yes") == [None, None]
    assert opened(server) == {None}
    assert listed(server, "model=new") == listed(server, "model=old&search=yes") == []

    vote(server, pair)
    assert set(listed(server)) == set(listed(server, "search=yes")) == opened(server) == set(MODELS)
    assert listed(server, "model=new") == ["new"]


def test_names_are_hidden_again_while_somebody_else_is_shown_the_same_answers(server: Served):
    vote(server, begin(server))
    server.chat("What else?", model="new")

    pair = begin(server, "bob")
    assert listed(server) == ["new", None, None]

    vote(server, pair, "bob")
    assert None not in listed(server)


def test_the_order_of_answers_in_the_list_says_nothing_of_who_wrote_them(server: Served):
    orders = set()
    while len(orders) < 2:  # a fair coin each time
        vote(server, begin(server, messages=[{"role": "user", "content": "Which is first?"}]))
        orders.add(tuple(listed(server, "limit=2")))

    assert orders == {("new", "old"), ("old", "new")}


def test_who_asks_again_is_shown_the_pair_that_waits(server: Served):
    with ThreadPoolExecutor(4) as several:
        pairs = list(several.map(lambda _: begin(server), range(4)))

    assert pairs == pairs[:1] * 4
    assert begin(server, "bob")["id"] != pairs[0]["id"]
    vote(server, pairs[0])
    assert begin(server)["prompt_id"] != pairs[0]["prompt_id"]

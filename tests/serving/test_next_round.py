"""A run is served, its answers are voted on over HTTP, and the store of these votes trains the run that goes on."""

import json
from pathlib import Path

import pytest

pytest.importorskip("uvicorn", reason="the extra web is not installed")

import haloes
from haloes.serving.of_run import site_of_run
from haloes.serving.store import Store
from served import Served, served_site
from tiny_runs import save_model, settings, thumbs, write_rows

NUM_VOTES = 16


def say(client: Served, model: str, question: str, **more: float) -> tuple[str, str]:
    """The words of an answer, and the id under which it is kept."""
    body = {"model": model, "messages": [{"role": "user", "content": question}], "max_tokens": 6, **more}
    status, headers, content = client.send("POST", "/v1/chat/completions", body)
    assert status == 200, content
    return json.loads(content)["choices"][0]["message"]["content"], headers["x-haloes-completion-id"]


def test_votes_that_were_given_over_http_train_the_run_that_goes_on_from_the_first(tmp_path: Path):
    given = settings(save_model(tmp_path / "model"), write_rows(tmp_path / "thumbs.jsonl", thumbs()))
    haloes.train(config=given, out=tmp_path / "first", progress=None)
    store = tmp_path / "first" / "collected.db"
    with Store(store) as opened, served_site(site_of_run(tmp_path / "first", opened, prompts=None)) as client:
        for number in range(NUM_VOTES):
            _, name = say(client, "after", f"Is {number} it?", temperature=1, seed=number)
            vote = {"completion_id": name, "rating": 1 if number % 2 else -1}
            assert client.json("POST", "/v1/feedback", vote)[0] == 200
        said, _ = say(client, "after", "Is 3 it?")

    second = haloes.train(
        store,
        init=tmp_path / "first",
        config={**given, "model": {"dtype": "float32"}, "feedback": {"validation_share": 0.25}},
        out=tmp_path / "second",
        progress=None,
    )

    assert second.num_steps > 0
    rows = json.loads((tmp_path / "second" / "data.json").read_text())["rows"]
    assert (rows["export"], rows["read"]) == ("store of haloes serve", NUM_VOTES)
    # A model with random weights may end at once: a vote on nothing is counted, and not trained on.
    assert set(rows["refused"]) <= {"empty completion"}
    assert rows["accepted"] + sum(rows["refused"].values()) == NUM_VOTES

    # Served next, the model before is the one that people voted on.
    store = tmp_path / "second" / "collected.db"
    with Store(store) as opened, served_site(site_of_run(tmp_path / "second", opened, prompts=None)) as client:
        assert say(client, "before", "Is 3 it?")[0] == said

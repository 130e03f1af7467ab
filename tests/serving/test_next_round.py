"""A run is served, its answers are voted on over HTTP, and the store of these votes trains the next run."""

import json
from pathlib import Path

import pytest

pytest.importorskip("uvicorn", reason="the extra web is not installed")

from haloes.runs.align import align
from haloes.serving.of_run import site_of_run
from haloes.serving.store import Store
from served import served_site
from tiny_runs import config, save_model, thumbs, write_rows

NUM_VOTES = 16


def test_votes_that_were_given_over_http_train_the_next_run_from_the_first(tmp_path: Path):
    rows_of_first = write_rows(tmp_path / "thumbs.jsonl", thumbs())
    align(config(save_model(tmp_path / "model"), rows_of_first), tmp_path / "first")
    store = tmp_path / "first" / "collected.db"
    with Store(store) as opened, served_site(site_of_run(tmp_path / "first", opened, prompts=None)) as client:
        for number in range(NUM_VOTES):
            asked = {"messages": [{"role": "user", "content": f"Is {number} it?"}], "max_tokens": 6}
            status, headers, _ = client.send(
                "POST", "/v1/chat/completions", {"model": "after", "temperature": 1, "seed": number, **asked}
            )
            assert status == 200
            vote = {"completion_id": headers["x-haloes-completion-id"], "rating": 1 if number % 2 else -1}
            assert client.json("POST", "/v1/feedback", vote)[0] == 200

    second = align(config(tmp_path / "first" / "model", store), tmp_path / "second")

    assert second.num_steps > 0
    rows = json.loads((tmp_path / "second" / "data.json").read_text())["rows"]
    assert (rows["export"], rows["read"]) == ("store of haloes serve", NUM_VOTES)
    # A model with random weights may end at once: a vote on nothing is counted, and not trained on.
    assert set(rows["refused"]) <= {"empty completion"}
    assert rows["accepted"] + sum(rows["refused"].values()) == NUM_VOTES

"""A run's models behind the server: the same answers as `haloes sample`, one at a time, stopped when nobody waits."""

import json
import socket
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("uvicorn", reason="the extra web is not installed")

import haloes
from haloes.run_files import SAMPLES
from haloes.runs.align import align
from haloes.sampling.run import read_completions
from haloes.serving.of_run import site_of_run
from haloes.serving.store import Store
from served import Served, served_site
from tiny_runs import config, save_model, thumbs, write_rows


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("served")
    model = save_model(folder / "model")
    align(config(model, write_rows(folder / "thumbs.jsonl", thumbs())), folder / "run")
    return folder / "run"


@pytest.fixture(scope="module")
def server(trained: Path) -> Any:
    with Store(trained / "collected.db") as store, served_site(site_of_run(trained, store, prompts=None)) as client:
        yield client


ASK = {"model": "after", "messages": [{"role": "user", "content": "Is 3 it?"}], "max_tokens": 12}


def events(content: bytes) -> list[Any]:
    lines = [line[6:] for line in content.decode().splitlines() if line.startswith("data: ")]
    assert lines[-1] == "[DONE]"
    return [json.loads(line) for line in lines[:-1]]


def test_streamed_and_whole_answers_are_those_of_sampling(server: Served, trained: Path, tmp_path: Path):
    (tmp_path / "p.txt").write_text("Is 3 it?\n")
    sampled = haloes.sample(trained, tmp_path / "p.txt", out=tmp_path / "a.jsonl", max_new_tokens=12, progress=None)
    (expected,) = sampled.completions()

    _, whole = server.json("POST", "/v1/chat/completions", ASK)
    _, _, content = server.send("POST", "/v1/chat/completions", {**ASK, "stream": True, "logprobs": True})
    deltas = [choice["delta"] for event in events(content) for choice in event["choices"]]

    assert whole["choices"][0]["message"]["content"] == expected.completion
    assert "".join(delta.get("content", "") for delta in deltas) == expected.completion
    assert whole["usage"]["completion_tokens"] == expected.num_tokens


def test_both_models_answer(server: Served):
    _, models = server.json("GET", "/v1/models")

    assert [model["id"] for model in models["data"]] == ["after", "before"]
    for name in ("after", "before"):
        assert server.send("POST", "/v1/chat/completions", {**ASK, "model": name})[0] == 200


def test_log_probabilities_are_kept_though_nobody_asked_for_them(server: Served):
    _, headers, _ = server.send("POST", "/v1/chat/completions", ASK)
    _, kept = server.json("GET", f"/api/answers/{headers['x-haloes-completion-id']}")

    assert kept["logprob"] < 0


@pytest.mark.parametrize(
    ("change", "status"),
    [
        ({"model": "other"}, 404),
        ({"stop": ["x"]}, 400),
        ({"n": 2}, 400),
        ({"temperature": -1}, 400),
        ({"temperature": "hot"}, 400),
        ({"top_p": 0}, 400),
        ({"max_tokens": -5}, 400),
        ({"messages": [{"role": "user", "content": 5}]}, 400),
        ({"messages": [{"role": "user", "content": [{"type": "image_url"}]}]}, 400),
        ({"messages": [{"role": "assistant", "content": "Hi."}]}, 400),
        ({"messages": [{"role": "user", "content": "long " * 2000}]}, 400),
        ({"tools": 5}, 400),
    ],
    ids=str,
)
def test_what_a_model_cannot_do_is_refused_in_openais_shape(server: Served, change: dict[str, Any], status: int):
    for stream in (False, True):
        found, body = server.json("POST", "/v1/chat/completions", {**ASK, **change, "stream": stream})

        assert found == status
        assert body["error"]["type"] == "invalid_request_error"


def test_who_hangs_up_frees_the_model(server: Served):
    raw = json.dumps({**ASK, "max_tokens": 4000, "stream": True}).encode()
    with socket.create_connection(("127.0.0.1", server.port)) as connection:
        connection.sendall(
            b"POST /v1/chat/completions HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
            b"Content-Length: %d\r\n\r\n" % len(raw) + raw
        )
        assert connection.recv(4096)
    assert server.send("POST", "/v1/chat/completions", ASK)[0] == 200


def test_comparisons_show_the_answers_that_judges_see_and_hide_who_wrote_them(server: Served, trained: Path):
    there = {(answer.prompt_id, answer.model): answer.completion for answer in read_completions(trained / SAMPLES)}
    seen = []
    while (shown := server.json("POST", "/api/comparisons", {"user": "ann"}))[0] == 200:
        pair = shown[1]
        assert "after" not in json.dumps({**pair, "left": "", "right": ""})
        assert set(pair["left"]) == {"content", "reasoning"}
        _, told = server.json("POST", f"/api/comparisons/{pair['id']}/vote", {"verdict": "left", "user": "ann"})
        for side in ("left", "right"):
            assert pair[side]["content"] == there[pair["prompt_id"], told[side]["model"]]
        seen.append(pair["prompt_id"])

    assert shown[1]["error"]["code"] == "no_prompt_left"
    assert sorted(seen) == sorted({name for name, _ in there})
    assert told["tally"]["votes"] == len(seen)
    assert server.json("POST", "/api/comparisons", {"user": "bob"})[0] == 200


def test_a_prompt_of_ones_own_is_answered_by_both(server: Served):
    status, pair = server.json("POST", "/api/comparisons", {"messages": ASK["messages"]})

    assert status == 200
    assert pair["prompt_id"] is None

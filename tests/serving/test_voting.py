"""Votes: what is taken, what is refused, and what a vote that was told as kept survives."""

from pathlib import Path

import pytest

pytest.importorskip("uvicorn", reason="the extra web is not installed")

from fake_upstream import FakeUpstream
from full_disk import disk_of
from haloes.errors import RunError
from haloes.serving.store import Store
from served import served


def test_a_vote_is_found_with_its_answer(tmp_path: Path):
    with FakeUpstream() as upstream, served(tmp_path, upstream.url) as server:
        name = server.chat(stream=True)
        vote = {"completion_id": name, "rating": -1, "comment": "Wrong.", "correction": "Because.", "user": "bob"}
        status, told = server.json("POST", "/v1/feedback", vote)
        _, kept = server.json("GET", f"/api/answers/{name}")

        assert (status, told["completion_id"], told["rating"]) == (200, name, -1)
        assert kept["rating"] == -1
        assert [{k: v[k] for k in ("rating", "comment", "correction", "user")} for v in kept["votes"]] == [
            {"rating": -1, "comment": "Wrong.", "correction": "Because.", "user": "bob"}
        ]


def test_the_id_inside_the_reply_names_its_newest_bearer(tmp_path: Path):
    with FakeUpstream(ids="chatcmpl-7") as upstream, served(tmp_path, upstream.url) as server:
        server.chat()
        second = server.chat()

        _, told = server.json("POST", "/v1/feedback", {"completion_id": "chatcmpl-7", "rating": 1})

        assert told["completion_id"] == second


@pytest.mark.parametrize(
    ("body", "status"),
    [
        ({"rating": 1}, 400),
        ({"completion_id": "x", "rating": 1}, 404),
        ({"completion_id": "x"}, 400),
        ({"completion_id": "x", "rating": 2}, 400),
        ({"completion_id": "x", "rating": "good"}, 400),
        ({"completion_id": "x", "rating": 1, "corection": "y"}, 400),
        ({"completion_id": "x", "rating": 1, "comment": 5}, 400),
        ({"completion_id": "x", "rating": 1, "choice": "first"}, 400),
        ({"completion_id": ["x"], "rating": 1}, 400),
        ({"completion_id": "x", "rating": [1]}, 400),
    ],
    ids=str,
)
def test_what_is_no_vote_is_refused(tmp_path: Path, body: dict[str, object], status: int):
    with FakeUpstream() as upstream, served(tmp_path, upstream.url) as server:
        found, told = server.json("POST", "/v1/feedback", body)

        assert found == status
        assert told["error"]["type"] == "invalid_request_error"


def test_half_a_surrogate_pair_is_kept_as_a_question_mark(tmp_path: Path):
    with FakeUpstream() as upstream, served(tmp_path, upstream.url) as server:
        name = server.chat("half \ud83d of it")
        status, _ = server.json("POST", "/v1/feedback", {"completion_id": name, "rating": 1, "comment": "\ud83d"})

        assert status == 200
        assert server.json("GET", f"/api/answers/{name}")[1]["comment"] == "?"


def test_a_full_disk_is_an_error_and_no_vote_is_lost(tmp_path: Path):
    with FakeUpstream() as upstream, served(tmp_path, upstream.url) as server:
        name = server.chat()
        vote = {"completion_id": name, "rating": 1, "comment": "x" * 60_000}
        size = max(path.stat().st_size for path in tmp_path.iterdir())
        with disk_of(size + 8192):
            status, told = server.json("POST", "/v1/feedback", vote)
            unkept = server.chat("asked while the disk is full " * 1000)

        assert (status, told["error"]["code"]) == (507, "not_kept")
        assert server.json("GET", f"/api/answers/{name}")[1]["votes"] == []

        assert server.json("POST", "/v1/feedback", vote)[0] == 200
        assert server.json("POST", "/v1/feedback", {"completion_id": unkept, "rating": -1})[0] == 200


def test_two_servers_on_one_store_are_refused(tmp_path: Path):
    with Store(tmp_path / "collected.db"), pytest.raises(RunError, match="in use"), Store(tmp_path / "collected.db"):
        pass


def test_a_file_that_is_no_store_is_refused_and_stays(tmp_path: Path):
    (tmp_path / "notes.db").write_text("my notes, " * 1000)

    with pytest.raises(RunError, match="cannot be opened"), Store(tmp_path / "notes.db"):
        pass
    assert (tmp_path / "notes.db").read_text() == "my notes, " * 1000

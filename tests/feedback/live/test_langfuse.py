"""Feedback fetched from a server that speaks both of Langfuse's APIs, and misbehaves."""

import json
import os
import signal
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

import haloes
from fake_langfuse import PUBLIC, SECRET, TOKEN, Langfuse, thumb
from fake_server import FakeServer, Reply
from haloes.errors import ConfigError, DataError, RunError, UserError
from haloes.feedback.live import langfuse
from haloes.remote.client import Endpoint

CORRECTION = thumb(
    8, id="c8", name="output", dataType="CORRECTION", value="A better answer.", source="ANNOTATION", authorUserId="ann"
)
EVAL = thumb(0, id="e0", name="judge", dataType="NUMERIC", value=0.5, source="EVAL")
THUMBS = [thumb(number) for number in range(8)]


@pytest.fixture(autouse=True)
def _keys(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LANGFUSE_PUBLIC_KEY", PUBLIC)
    monkeypatch.setenv("LANGFUSE_SECRET_KEY", SECRET)
    monkeypatch.delenv("LANGFUSE_BASE_URL", raising=False)
    # The same server, without waiting between attempts.
    made = langfuse._endpoint

    def hasty() -> Endpoint:
        kind = made()
        return Endpoint(
            base_url=kind.base_url, user_env=kind.user_env, key_env=kind.key_env, attempts=4, backoff=0.0, timeout=5.0
        )

    monkeypatch.setattr("haloes.runs.import_feedback.SOURCES", {"langfuse": _with(hasty)})


def _with(endpoint: Any) -> Any:
    from dataclasses import replace

    return replace(langfuse.LANGFUSE, endpoint=endpoint)


def fetch(server: FakeServer | None, out: Path, monkeypatch: pytest.MonkeyPatch, **said: Any) -> list[dict[str, Any]]:
    if server is not None:
        monkeypatch.setenv("LANGFUSE_HOST", f"http://127.0.0.1:{server.port}")
    haloes.import_feedback("langfuse", out, progress=None, **said)
    return [json.loads(line) for line in out.read_text().splitlines()]


def votes(rows: list[dict[str, Any]]) -> dict[str, bool]:
    return {row["id"]: row["label"] for row in rows}


WANTED = {f"s{number}": number % 2 == 0 for number in range(8)}


@pytest.mark.parametrize("newest", [True, False], ids=["newest API", "older API"])
def test_scores_come_with_their_answers_and_corrections_as_pairs(
    newest: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    with FakeServer(Langfuse([*THUMBS, EVAL, CORRECTION], newest)) as server:
        rows = fetch(server, tmp_path / "f.jsonl", monkeypatch, score="user-feedback")

    assert votes(rows) == WANTED | {"c8-chosen": True, "c8-rejected": False}
    assert rows[1] == {
        "prompt": [{"role": "user", "content": "Question t1?"}],
        "completion": [{"role": "assistant", "content": "Answer t1."}],
        "label": False, "id": "s1", "user": "u-t1", "source": "langfuse: user-feedback", "model": "qwen3",
        "rated_at": "2026-03-01T10:00:01Z",
    }  # fmt: skip
    assert [row["completion"][0]["content"] for row in rows[-2:]] == ["A better answer.", "Answer t8."]


def test_a_finished_import_needs_neither_the_server_nor_a_key(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    with FakeServer(Langfuse(THUMBS)) as server:
        before = fetch(server, tmp_path / "f.jsonl", monkeypatch)
    monkeypatch.delenv("LANGFUSE_SECRET_KEY")
    (tmp_path / "f.jsonl").unlink()

    assert fetch(None, tmp_path / "f.jsonl", monkeypatch) == before
    assert len(list(haloes.FeedbackSource(str(tmp_path / "f.langfuse")))) == 8, "the folder is an export itself"


def test_the_keys_are_in_no_file_even_where_the_server_repeats_them(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    telling = [thumb(0, comment=f"{SECRET} Basic {TOKEN}")]
    with FakeServer(Langfuse(telling)) as server:
        fetch(server, tmp_path / "f.jsonl", monkeypatch)

    written = "".join(path.read_text() for path in tmp_path.rglob("*") if path.is_file())
    assert "[key] Basic [key]" in written
    assert not any(secret in written for secret in (SECRET, TOKEN, PUBLIC))


PASSING = {
    "busy": Reply(429, headers={"Retry-After": "0"}),
    "fault": Reply(500, b"oops"),
    "cut": Reply(200, b'{"data": [{"id"', cut=True),
    "page of HTML": Reply(200, b"<html>"),
    "no rows": Reply(200, b'{"data": null}'),
    "slow header": Reply(drip="header"),
    "wrong page": Reply(200, b'{"data": [], "meta": {"page": 99}}'),
    "odd cursor": Reply(200, b'{"data": [], "meta": {"cursor": 5}}'),
}


@pytest.mark.parametrize("newest", [True, False], ids=["newest API", "older API"])
@pytest.mark.parametrize("name", PASSING)
def test_what_may_pass_is_asked_again(name: str, newest: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    if (name == "wrong page" and newest) or (name == "odd cursor" and not newest):
        pytest.skip("the other API's")
    spoilt = set[int]()

    def fault(number: int, path: str, query: dict[str, Any]) -> Reply | None:
        # The second request to the scores, once.
        if number != 2 or "scores" not in path or spoilt:
            return None
        spoilt.add(number)
        return PASSING[name]

    if name == "slow header":
        quick = langfuse.LANGFUSE.endpoint
        monkeypatch.setattr(
            "haloes.runs.import_feedback.SOURCES",
            {"langfuse": _with(lambda: _hurried(quick()))},
        )
    with FakeServer(Langfuse(THUMBS, newest, fault=fault)) as server:
        assert votes(fetch(server, tmp_path / "f.jsonl", monkeypatch)) == WANTED
    assert spoilt


def _hurried(endpoint: Endpoint) -> Endpoint:
    return Endpoint(
        base_url=endpoint.base_url, user_env=endpoint.user_env, key_env=endpoint.key_env, timeout=0.5, backoff=0.0
    )


@pytest.mark.parametrize("newest", [True, False], ids=["newest API", "older API"])
def test_an_import_that_was_stopped_goes_on_where_it_was(newest: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """Each run of the command gets one page further, whatever ends it."""
    got = 0
    out = tmp_path / "f.jsonl"
    langfuse_server = Langfuse(THUMBS, newest)
    budget = 1
    told = set[str]()

    def fault(number: int, path: str, query: dict[str, Any]) -> Reply | None:
        nonlocal got
        is_there = newest == ("v3/scores" in path or "v2/observations" in path)
        got += is_there
        return Reply(400, b"no more") if is_there and got > budget else None

    langfuse_server.fault = fault
    rows = list[dict[str, Any]]()
    with FakeServer(langfuse_server) as server:
        for _ in range(40):
            got = 0
            try:
                rows = fetch(server, out, monkeypatch)
                break
            except RunError as error:
                told.add(str(error))
        pages = [query.get("cursor") or query.get("page") for path, query in langfuse_server.asked if "scores" in path]

    assert votes(rows) == WANTED
    assert told
    assert all("the same command goes on" in text for text in told)
    assert len(pages) < 20, "no page is fetched anew each time"


@pytest.mark.parametrize("cut", [1, 40, 200])
def test_a_page_that_a_kill_cut_in_two_is_fetched_anew(cut: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    out = tmp_path / "f.jsonl"
    with FakeServer(Langfuse(THUMBS)) as server:
        fetch(server, out, monkeypatch)
        for name in ("scores", "answers"):
            path = tmp_path / "f.langfuse" / f"{name}.jsonl"
            os.truncate(path, path.stat().st_size - cut)
        assert votes(fetch(server, out, monkeypatch)) == WANTED


def test_a_kill_at_any_moment_leaves_what_the_next_run_goes_on_from(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    out = tmp_path / "f.jsonl"
    command = [sys.executable, "-m", "haloes", "import", "langfuse", "--out", str(out)]

    def slowly(*_: Any) -> None:
        time.sleep(0.05)

    with FakeServer(Langfuse([thumb(number) for number in range(60)], size=4, fault=slowly)) as server:
        monkeypatch.setenv("LANGFUSE_HOST", f"http://127.0.0.1:{server.port}")
        for count in (3, 9, 16, 24):
            running = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
            for _ in range(600):
                if len(server.requests) >= count or running.poll() is not None:
                    break
                time.sleep(0.05)
            running.send_signal(signal.SIGKILL)
            running.wait()
        rows = fetch(server, out, monkeypatch)
    assert votes(rows) == {f"s{number}": number % 2 == 0 for number in range(60)}


def test_a_server_that_goes_round_in_circles_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    def circle(number: int, path: str, query: dict[str, Any]) -> Reply:
        return Reply(body=json.dumps({"data": [thumb(number)], "meta": {"cursor": f"at-{number % 2}"}}).encode())

    with FakeServer(Langfuse(THUMBS, fault=circle)) as server, pytest.raises(RunError, match="would never end"):
        fetch(server, tmp_path / "f.jsonl", monkeypatch)


def test_a_server_that_gives_the_same_page_under_every_number_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    def same(number: int, path: str, query: dict[str, Any]) -> Reply | None:
        return Reply(body=json.dumps({"data": [thumb(1)]}).encode()) if "page" in query else None

    with FakeServer(Langfuse(THUMBS, newest=False, fault=same)) as server, pytest.raises(RunError, match="never end"):
        fetch(server, tmp_path / "f.jsonl", monkeypatch)
    assert len(server.requests) == 3


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inside: (
        st.lists(inside, max_size=3)
        | st.dictionaries(st.sampled_from(["data", "meta", "cursor", "page", "totalPages"]), inside, max_size=4)
    ),
    max_leaves=12,
)


@given(JSON)
def test_any_reply_is_a_page_or_an_error_that_is_tried_again(reply: Any):
    for read in (langfuse._cursor_page, lambda given: langfuse._page(given, 1)):
        with suppress(ValueError):
            assert isinstance(read(reply).rows, list)


def test_pages_that_are_repeated_or_move_count_each_score_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    told: list[str] = []

    class Notes(haloes.NullProgress):
        def note(self, text: str) -> None:
            told.append(text)

    server_of = Langfuse(list(THUMBS), newest=False)

    def move(number: int, path: str, query: dict[str, Any]) -> None:
        if query.get("page") == "2":  # what was on page 1 comes again, and one of page 2 is never shown
            server_of.scores.insert(0, server_of.scores.pop(5))

    server_of.fault = move
    with FakeServer(server_of) as server:
        monkeypatch.setenv("LANGFUSE_HOST", f"http://127.0.0.1:{server.port}")
        done = haloes.import_feedback("langfuse", tmp_path / "f.jsonl", progress=Notes())
    rows = [json.loads(line) for line in (tmp_path / "f.jsonl").read_text().splitlines()]

    assert votes(rows) == {name: label for name, label in WANTED.items() if name != "s5"}
    assert len(rows) == 7
    assert done.refused == {"earlier vote": 1}
    assert any("1 score(s) are counted by the server" in text for text in told)


def test_several_names_of_scores_are_listed_and_one_is_chosen_offline(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    tone = thumb(0, id="x", name="tone", dataType="CATEGORICAL", value="curt")
    with FakeServer(Langfuse([*THUMBS, tone])) as server:
        with pytest.raises(ConfigError, match=r"2 names: 'user-feedback' \(8\), 'tone' \(1\); choose one with --score"):
            fetch(server, tmp_path / "f.jsonl", monkeypatch)
        asked = len(server.requests)
        assert votes(fetch(server, tmp_path / "f.jsonl", monkeypatch, score="user-feedback")) == WANTED
        words = {"feedback": {"words": {"down": ["curt"]}}}
        assert votes(fetch(server, tmp_path / "f.jsonl", monkeypatch, score="tone", settings=words)) == {"x": False}
        with pytest.raises(ConfigError, match="no score 'stars'"):
            fetch(server, tmp_path / "f.jsonl", monkeypatch, score="stars")
        assert len(server.requests) == asked


def test_scores_of_judges_are_fetched_when_they_are_asked_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    rule = {"rule": "threshold", "tau": 0.4}
    settings = {"feedback": {"voters": ["human", "model"], "labels_from": rule}}
    with FakeServer(Langfuse([*THUMBS, EVAL])) as server:
        fetch(server, tmp_path / "f.jsonl", monkeypatch)
        assert not any(query.get("source") == "EVAL" for _, query in _asked(server))
        rows = fetch(server, tmp_path / "f.jsonl", monkeypatch, score="judge", settings=settings)
    assert votes(rows) == {"e0": True}


def _asked(server: FakeServer) -> list[tuple[str, dict[str, str]]]:
    from urllib.parse import parse_qsl, urlsplit

    return [(urlsplit(each.path).path, dict(parse_qsl(urlsplit(each.path).query))) for each in server.requests]


@pytest.mark.parametrize(
    ("environment", "since", "message"),
    [
        ({"LANGFUSE_SECRET_KEY": ""}, "30d", "LANGFUSE_SECRET_KEY must be set in the environment"),
        ({"LANGFUSE_SECRET_KEY": "wrong-key-0123"}, "30d", "answers HTTP 401"),
        ({}, "yesterday", "since: give hours, days or weeks"),
        ({"LANGFUSE_HOST": "not an address"}, "30d", "must be an address"),
    ],
)
def test_what_is_wrong_is_told_before_anything_is_written(
    environment: dict[str, str], since: str, message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    with FakeServer(Langfuse(THUMBS)) as server:
        monkeypatch.setenv("LANGFUSE_HOST", f"http://127.0.0.1:{server.port}")
        for name, value in environment.items():
            monkeypatch.setenv(name, value)
        with pytest.raises(UserError, match=message) as failed:
            haloes.import_feedback("langfuse", tmp_path / "f.jsonl", since=since, progress=None)
    assert SECRET not in str(failed.value)
    assert not list(tmp_path.rglob("*.jsonl"))


def test_no_scores_are_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    with FakeServer(Langfuse([EVAL])) as server, pytest.raises(DataError, match="no scores of human voters since 30d"):
        fetch(server, tmp_path / "f.jsonl", monkeypatch)


def test_pages_of_another_time_or_server_are_not_gone_on_with(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    with FakeServer(Langfuse(THUMBS)) as server:
        fetch(server, tmp_path / "f.jsonl", monkeypatch, since="30d")
        with pytest.raises(RunError, match="since 30d, and not since 7d"):
            fetch(server, tmp_path / "f.jsonl", monkeypatch, since="7d")
    (tmp_path / "f.langfuse" / "answers.jsonl").unlink()
    with FakeServer(Langfuse(THUMBS)) as other, pytest.raises(RunError, match="the pages that are kept are of"):
        fetch(other, tmp_path / "f.jsonl", monkeypatch, since="30d")


def test_ctrl_c_says_that_the_same_command_goes_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    command = [sys.executable, "-m", "haloes", "import", "langfuse", "--out", str(tmp_path / "f.jsonl")]

    def stuck(number: int, path: str, query: dict[str, Any]) -> Reply | None:
        return Reply(hang=True) if number == 2 else None

    with FakeServer(Langfuse(THUMBS, fault=stuck)) as server:
        monkeypatch.setenv("LANGFUSE_HOST", f"http://127.0.0.1:{server.port}")
        with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as running:
            while len(server.requests) < 3 and running.poll() is None:
                time.sleep(0.02)
            running.send_signal(signal.SIGINT)
            _, said = running.communicate()
    assert running.returncode == 130
    assert "the same command goes on with the pages that are there" in said
    assert "Traceback" not in said
    assert (tmp_path / "f.langfuse" / "scores.jsonl").read_text().count("\n") == 2

"""Chats through the server: what the client gets, and what is kept."""

import asyncio
import json
import socket
import time
from concurrent.futures import ThreadPoolExecutor
from http.client import HTTPConnection
from pathlib import Path

import pytest

pytest.importorskip("uvicorn", reason="the extra web is not installed")
openai = pytest.importorskip("openai", reason="the test extra is not installed whole")

from fake_upstream import FakeUpstream  # noqa: E402
from haloes.serving import chat  # noqa: E402
from haloes.serving.replies import ReadReply, read_reply  # noqa: E402
from served import served  # noqa: E402

ASK = {"model": "big", "messages": [{"role": "user", "content": "Why is the sky blue?"}]}


def test_the_official_client_chats_and_streams(tmp_path: Path):
    with FakeUpstream() as upstream, served(tmp_path, upstream.url) as server:
        client = openai.OpenAI(base_url=f"{server.url}/v1", api_key="sk-of-the-client", max_retries=0)
        whole = client.chat.completions.create(**ASK, temperature=0.5)
        streamed = "".join(
            chunk.choices[0].delta.content or "" for chunk in client.chat.completions.create(**ASK, stream=True)
        )
        models = [model.id for model in client.models.list()]

        assert whole.choices[0].message.content == streamed == "".join(f"word {i} of big " for i in range(5))
        assert models == ["big", "small"]
        assert upstream.requests[0][0]["authorization"] == "Bearer sk-of-the-client"
        client.close()


@pytest.mark.parametrize("stream", [False, True])
def test_bytes_pass_through_unchanged(tmp_path: Path, stream: bool):
    with FakeUpstream() as upstream, served(tmp_path, upstream.url) as server:
        raw = b'{ "stream": %s, "model":"big",  "messages": [{"role":"user","content":"\\u00e4"}], "odd": [1.0] }' % (
            b"true" if stream else b"false"
        )
        status, _, content = server.send("POST", "/v1/chat/completions", raw)

        assert status == 200
        assert content == upstream.sent[0]
        assert upstream.requests[0][1] == json.loads(raw)


def test_all_of_an_answer_is_kept_but_no_key(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("UPSTREAM_KEY", "sk-secret-of-ours")
    with FakeUpstream() as upstream, served(tmp_path, upstream.url, key_env="UPSTREAM_KEY") as server:
        headers = {"Authorization": "Bearer sk-secret-of-theirs"}
        body = {**ASK, "temperature": 0.7, "user": "ann", "metadata": {"conversation": "c1"}}
        body["messages"] = [{"role": "user", "content": "my key is sk-other"}]
        _, replied, _ = server.send("POST", "/v1/chat/completions", body, headers)
        name = replied["x-haloes-completion-id"]
        _, kept = server.json("GET", f"/api/answers/{name}")

        assert upstream.requests[0][0]["authorization"] == "Bearer sk-secret-of-ours"
        assert kept["message"]["content"] == "".join(f"word {i} of big " for i in range(5))
        assert (kept["model"], kept["user"], kept["settings"]) == ("big", "ann", {"temperature": 0.7})
        assert kept["messages"] == body["messages"]
        assert (kept["finish_reason"], kept["logprob"], kept["votes"]) == ("stop", -0.5, [])
        assert 0 < kept["first_token_ms"] <= kept["total_ms"]
    stored = b"".join(path.read_bytes() for path in tmp_path.iterdir())
    assert b"sk-secret" not in stored


def test_an_error_of_the_upstream_is_the_clients_and_is_not_kept(tmp_path: Path):
    with FakeUpstream(status=429) as upstream, served(tmp_path, upstream.url) as server:
        client = openai.OpenAI(base_url=f"{server.url}/v1", api_key="k", max_retries=0)
        with pytest.raises(openai.RateLimitError):
            client.chat.completions.create(**ASK)
        client.close()

        assert server.json("GET", "/api/answers")[1]["answers"] == []


def test_an_upstream_that_is_not_there_is_an_error_in_openais_shape(tmp_path: Path):
    with FakeUpstream() as upstream:
        url = upstream.url
    with served(tmp_path, url) as server:
        status, body = server.json("POST", "/v1/chat/completions", ASK)

        assert status == 502
        assert set(body["error"]) == {"message", "type", "param", "code"}
        assert "cannot be reached" in body["error"]["message"]


def test_who_hangs_up_ends_the_answer_and_what_came_is_kept(tmp_path: Path):
    with FakeUpstream(words=1000, pause=0.02) as upstream, served(tmp_path, upstream.url) as server:
        raw = json.dumps({**ASK, "stream": True}).encode()
        with socket.create_connection(("127.0.0.1", server.port)) as connection:
            connection.sendall(
                b"POST /v1/chat/completions HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
                b"Content-Length: %d\r\n\r\n" % len(raw) + raw
            )
            seen = b""
            while b"word 3" not in seen:
                seen += connection.recv(4096)
        until = time.monotonic() + 20
        while not (upstream.hang_ups and server.json("GET", "/api/answers")[1]["answers"]):
            assert time.monotonic() < until
            time.sleep(0.02)

        (kept,) = server.json("GET", "/api/answers")[1]["answers"]
        assert kept["answer"].startswith("word 0 of big word 1 of big word 2")
        assert server.json("GET", f"/api/answers/{kept['completion_id']}")[1]["finish_reason"] == "stopped"


def test_a_vote_on_an_answer_that_was_just_stopped_waits_until_it_is_kept(tmp_path: Path):
    with (
        FakeUpstream(words=100_000, pause=0.02) as upstream,
        served(tmp_path, upstream.url) as server,
        ThreadPoolExecutor(1) as beside,
    ):
        connection = HTTPConnection("127.0.0.1", server.port, timeout=30)
        raw = json.dumps({**ASK, "stream": True})
        connection.request("POST", "/v1/chat/completions", raw, {"Content-Type": "application/json"})
        reply = connection.getresponse()
        vote = {"completion_id": reply.headers["x-haloes-completion-id"], "rating": 1}
        assert reply.read(10)
        voted = beside.submit(server.json, "POST", "/v1/feedback", vote)
        reply.close()
        connection.close()

        assert voted.result()[0] == 200


def test_a_reply_is_read_in_a_thread_where_no_other_chat_waits_for_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    loops = []

    def read(raw: bytes) -> ReadReply:
        loops.append(asyncio._get_running_loop())
        return read_reply(raw)

    monkeypatch.setattr(chat, "read_reply", read)
    (tmp_path / "prompts.txt").write_text("Is it?\n")
    with (
        FakeUpstream() as upstream,
        served(tmp_path, upstream.url, compare=("big", "small"), prompts=str(tmp_path / "prompts.txt")) as server,
    ):
        server.chat()
        server.chat(stream=True)
        assert server.json("POST", "/api/comparisons", {})[0] == 200

        assert server.json("GET", "/api/info")[1]["answers"] == 4
    assert loops == [None] * 4


@pytest.mark.parametrize(
    ("raw", "status"),
    [
        (b"{", 400),
        (b"[]", 400),
        (b'{"messages": NaN}', 400),
        (b"{}", 400),
        (b'{"messages": []}', 400),
        (b'{"messages": [1]}', 400),
        (b"[" * 100_000, 400),
        (b" " * ((8 << 20) + 1), 413),
    ],
    ids=["cut off", "a list", "NaN", "nothing", "no turns", "no turn", "nested", "too long"],
)
def test_a_body_that_is_none_is_refused_and_not_passed_on(tmp_path: Path, raw: bytes, status: int):
    with FakeUpstream() as upstream, served(tmp_path, upstream.url) as server:
        found, body = server.json("POST", "/v1/chat/completions", raw)

        assert found == status
        assert body["error"]["message"]
        assert upstream.requests == []

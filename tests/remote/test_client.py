"""Requests to a real server on this machine that misbehaves."""

import base64
import gzip
import json
import logging
from email.utils import formatdate
from typing import Any

import pytest

from fake_server import FakeServer, Reply, Request, says
from haloes.errors import ConfigError, RunError
from haloes.remote.client import Client, Endpoint, NoReplyError, NotFoundError

KEY = "sk-secret-0123456789"


@pytest.fixture(autouse=True)
def _key(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("JUDGE_KEY", KEY)


def replies(*script: Reply):
    """These replies one after the other, the last one for ever."""
    return lambda number, _: script[min(number, len(script) - 1)]


def text_of(content: Any) -> str:
    return str(content["choices"][0]["message"]["content"])


def post(server: FakeServer, **settings: Any) -> str:
    endpoint = Endpoint(**{"base_url": server.url, "backoff": 0.0, "timeout": 20.0, **settings})
    with Client(endpoint) as client:
        return client.post("/chat/completions", {"model": "m"}, text_of)


def test_a_request_is_json_with_the_key_in_its_header():
    with FakeServer(replies(says("hello"))) as server:
        assert post(server, key_env="JUDGE_KEY") == "hello"
        (request,) = server.requests

    assert request.path == "/v1/chat/completions"
    assert request.body == {"model": "m"}
    assert request.headers["authorization"] == f"Bearer {KEY}"
    assert request.headers["host"] == f"127.0.0.1:{server.port}"


def test_without_a_key_no_authorization_is_sent(monkeypatch: pytest.MonkeyPatch, tmp_path: Any):
    (tmp_path / ".netrc").write_text("machine 127.0.0.1 login a password b\n")
    monkeypatch.setenv("NETRC", str(tmp_path / ".netrc"))
    with FakeServer(replies(says("hello"))) as server:
        post(server)
        assert "authorization" not in server.requests[0].headers


def test_proxies_of_the_environment_are_not_used(monkeypatch: pytest.MonkeyPatch):
    for name in ("HTTP_PROXY", "ALL_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    with FakeServer(replies(says("hello"))) as server:
        assert post(server, attempts=1) == "hello"


def test_a_name_is_connected_to_under_its_own_name():
    with FakeServer(replies(says("hello"))) as server:
        assert post(server, base_url=f"http://localhost:{server.port}/v1/") == "hello"
        assert server.requests[0].headers["host"] == f"localhost:{server.port}"
        assert server.requests[0].path == "/v1/chat/completions"


@pytest.mark.parametrize(
    "fault",
    [
        Reply(429, headers={"Retry-After": "0"}),
        Reply(500, b"oops"),
        Reply(503, headers={"Retry-After": formatdate(0, usegmt=True)}),
        Reply(408),
        Reply(200, b'{"choices": [{"message": {"con'),
        Reply(200, b"<html>hello</html>"),
        Reply(200, b'{"choices": []}'),
        Reply(200, b'{"error": "busy"}'),
        Reply(200, b"[]"),
        Reply(200, b"\xff\xfe"),
        Reply(200, b"[" * 100_000),
        Reply(200, b'{"choices":', cut=True),
    ],
    ids=lambda fault: f"{fault.status} {fault.body[:12]!r}",
)
def test_what_may_pass_is_asked_again(fault: Reply):
    with FakeServer(replies(fault, fault, says("at last"))) as server:
        assert post(server, attempts=3) == "at last"
        assert len(server.requests) == 3


def test_a_hanging_server_is_given_up_after_the_timeout():
    with FakeServer(replies(Reply(hang=True), says("at last"))) as server:
        assert post(server, timeout=0.3) == "at last"
    told = pytest.raises(NoReplyError, match=r"no reply within 0\.3 seconds, 2 times")
    with FakeServer(replies(Reply(hang=True))) as server, told:
        post(server, timeout=0.3, attempts=2)


@pytest.mark.parametrize("part", ["header", "body"])
def test_a_server_that_drips_is_given_up_after_the_timeout(part: str):
    with FakeServer(replies(Reply(drip=part), says("at last"))) as server:
        assert post(server, timeout=0.5) == "at last"
    told = pytest.raises(NoReplyError, match=r"no reply within 0\.3 seconds, 2 times")
    with FakeServer(replies(Reply(drip=part))) as server, told:
        post(server, timeout=0.3, attempts=2)


def test_a_connection_is_kept_for_the_next_request():
    server = FakeServer(replies(says("hello")), keep_alive=True)
    with server, Client(Endpoint(base_url=server.url)) as client:
        for _ in range(3):
            assert client.post("/chat/completions", {}, text_of) == "hello"
        assert server.connections == 1


def test_a_compressed_reply_that_was_not_asked_for_is_refused():
    packed = gzip.compress(says("hello").body)
    for encoding in ("gzip", "br"):
        with FakeServer(replies(Reply(200, packed, headers={"Content-Encoding": encoding}))) as server:
            with pytest.raises(NoReplyError, match=rf"compressed \({encoding}\), which was not asked for"):
                post(server)
            assert len(server.requests) == 1
            assert server.requests[0].headers["accept-encoding"] == "identity"
    refused = Reply(401, packed, headers={"Content-Encoding": "gzip"})
    with FakeServer(replies(refused)) as server, pytest.raises(RunError, match="HTTP 401: a text that is compressed"):
        post(server)
    with FakeServer(replies(Reply(200, says("hello").body, headers={"Content-Encoding": "identity"}))) as server:
        assert post(server) == "hello"


def test_an_address_that_nobody_answers_at_leaves_time_for_the_next(monkeypatch: pytest.MonkeyPatch):
    with FakeServer(replies(says("hello"))) as server:
        found = [(2, 1, 6, "", (address, server.port)) for address in ("127.0.0.9", "127.0.0.1")]
        monkeypatch.setattr("socket.getaddrinfo", lambda *_, **__: found)
        # The server listens at the second one alone.
        assert post(server, base_url=f"http://localhost:{server.port}/v1", attempts=1) == "hello"


def test_attempts_are_counted_and_the_last_fault_is_told():
    with FakeServer(replies(Reply(500, b"first"), Reply(502, b"the second"))) as server:
        with pytest.raises(NoReplyError, match="HTTP 502: the second, 2 times"):
            post(server, attempts=2)
        assert len(server.requests) == 2


def test_nobody_there_is_no_reply():
    with FakeServer(replies()) as server:
        port = server.port
    endpoint = Endpoint(base_url=f"http://127.0.0.1:{port}", attempts=2, backoff=0)
    with Client(endpoint) as client, pytest.raises(NoReplyError, match="no connection"):
        client.post("/x", {}, text_of)


def test_a_name_that_leads_nowhere_is_no_reply(monkeypatch: pytest.MonkeyPatch):
    def nowhere(*_: object, **__: object) -> None:
        raise OSError("Name or service not known")

    monkeypatch.setattr("socket.getaddrinfo", nowhere)
    endpoint = Endpoint(base_url="http://nowhere.test", attempts=2, backoff=0)
    with Client(endpoint) as client, pytest.raises(NoReplyError, match=r"no connection .*not known"):
        client.post("/x", {}, text_of)


class Waits:
    """An event that notes how long it is waited for, and returns at once."""

    def __init__(self) -> None:
        self.waits: list[float] = []

    def wait(self, seconds: float) -> bool:
        self.waits.append(seconds)
        return False

    def is_set(self) -> bool:
        return False

    def set(self) -> None:
        pass


def waits_of(script: list[Reply], monkeypatch: pytest.MonkeyPatch, **settings: Any) -> list[float]:
    waits = Waits()
    with FakeServer(replies(*script)) as server, Client(Endpoint(base_url=server.url, **settings)) as client:
        monkeypatch.setattr(client, "_stopped", waits)
        client.post("/chat/completions", {}, text_of)
    return [wait for wait in waits.waits if wait > 0]


def test_the_wait_doubles_and_is_never_longer_than_the_longest(monkeypatch: pytest.MonkeyPatch):
    found = waits_of([Reply(500)] * 5 + [says("x")], monkeypatch, attempts=6, backoff=1.0, longest_wait=6.0)

    assert len(found) == 5
    for wait, most in zip(found, [1, 2, 4, 6, 6], strict=True):
        assert most / 2 <= wait <= most


def test_retry_after_is_obeyed_in_seconds(monkeypatch: pytest.MonkeyPatch):
    (wait,) = waits_of([Reply(429, headers={"Retry-After": "40"}), says("x")], monkeypatch, backoff=0.0)

    assert 35 < wait <= 40


def test_retry_after_is_obeyed_as_a_date(monkeypatch: pytest.MonkeyPatch):
    import time

    date = formatdate(time.time() + 60, usegmt=True)
    (wait,) = waits_of([Reply(503, headers={"Retry-After": date}), says("x")], monkeypatch, backoff=0.0)

    assert 50 < wait <= 60


@pytest.mark.parametrize("value", ["soon", "nan", "inf", "-5", ""])
def test_a_retry_after_that_says_nothing_is_left_aside(value: str):
    with FakeServer(replies(Reply(429, headers={"Retry-After": value}), says("x"))) as server:
        assert post(server) == "x"


def test_a_server_that_asks_to_wait_too_long_is_given_up_at_once():
    with FakeServer(replies(Reply(429, headers={"Retry-After": "3600"}))) as server:
        with pytest.raises(NoReplyError, match="asks to wait 3600 seconds"):
            post(server, longest_wait=60.0)
        assert len(server.requests) == 1


def test_the_rate_limit_spaces_requests(monkeypatch: pytest.MonkeyPatch):
    waits = Waits()
    server = FakeServer(replies(says("x")))
    with server, Client(Endpoint(base_url=server.url, requests_per_minute=1)) as client:
        monkeypatch.setattr(client, "_stopped", waits)
        for _ in range(3):
            client.post("/chat/completions", {}, text_of)

    assert waits.waits[0] == 0
    assert 50 < waits.waits[1] <= 60
    assert 100 < waits.waits[2] <= 120


def test_what_cannot_pass_is_not_asked_again():
    for status in (401, 402, 403, 404, 405):
        with FakeServer(replies(Reply(status, b"no such thing"))) as server:
            with pytest.raises(RunError, match=f"HTTP {status}: no such thing"):
                post(server)
            assert len(server.requests) == 1


def test_a_request_that_the_server_refuses_is_no_reply_to_it_alone():
    with FakeServer(replies(Reply(400, b"context too long"))) as server:
        with pytest.raises(NoReplyError, match="HTTP 400: context too long"):
            post(server)
        assert len(server.requests) == 1


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_redirects_are_not_followed(status: int):
    with FakeServer(replies(says("from the other host"))) as other:
        place = {"Location": f"http://user:{KEY}@127.0.0.1:{other.port}/v1/chat/completions?k={KEY}"}
        told = pytest.raises(RunError, match=rf"redirects to 127\.0\.0\.1:{other.port} .*not followed")
        with FakeServer(replies(Reply(status, headers=place))) as server, told as caught:
            post(server, key_env="JUDGE_KEY")
        assert other.requests == []
    assert KEY not in str(caught.value)


def test_a_reply_without_end_is_given_up(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("haloes.remote.client._MOST_BYTES", 1000)
    with FakeServer(replies(Reply(200, b" " * 5000))) as server, pytest.raises(NoReplyError, match="longer than"):
        post(server)


def test_the_address_is_checked_at_each_request(monkeypatch: pytest.MonkeyPatch):
    """A name may lead to a harmless address first and to another later."""
    with FakeServer(replies(says("hello"))) as server:
        with Client(Endpoint(base_url=f"http://localhost:{server.port}/v1")) as client:
            assert client.post("/chat/completions", {}, text_of) == "hello"
            found = [(2, 1, 6, "", ("169.254.169.254", server.port))]
            monkeypatch.setattr("socket.getaddrinfo", lambda *_, **__: found)
            with pytest.raises(ConfigError, match=r"localhost leads to 169\.254\.169\.254"):
                client.post("/chat/completions", {}, text_of)
        assert len(server.requests) == 1


def test_a_link_local_address_is_refused_before_anything_is_sent():
    with pytest.raises(ConfigError, match="never asked"):
        Client(Endpoint(base_url="http://169.254.169.254/latest"))


def test_a_key_does_not_go_over_an_open_network_in_the_clear():
    with pytest.raises(ConfigError, match="plain http on the open network"):
        Client(Endpoint(base_url="http://93.184.216.34/v1", key_env="JUDGE_KEY"))
    Client(Endpoint(base_url="http://93.184.216.34/v1")).__exit__()
    Client(Endpoint(base_url="https://93.184.216.34/v1", key_env="JUDGE_KEY")).__exit__()
    Client(Endpoint(base_url="http://10.0.0.1/v1", key_env="JUDGE_KEY")).__exit__()


def test_the_key_is_in_no_message_no_log_and_no_reply(caplog: pytest.LogCaptureFixture):
    caplog.set_level(logging.DEBUG)

    def echo(number: int, request: Request) -> Reply:
        told = request.headers["authorization"]
        if number == 0:
            return says(told, note=[told, {told: told}])
        return Reply([500, 400, 401][number - 1], f"{' ' * 10}wrong key {told} {'x' * 290}{told}".encode())

    messages = []
    with FakeServer(echo) as server:
        assert post(server, key_env="JUDGE_KEY") == "Bearer [key]"
        for _ in range(3):
            with pytest.raises((NoReplyError, RunError)) as caught:
                post(server, key_env="JUDGE_KEY", attempts=1)
            messages.append(str(caught.value))

    assert "wrong key Bearer [key]" in messages[0]
    assert KEY not in "".join(messages) + caplog.text
    assert KEY[:12] not in "".join(messages)


def test_a_key_that_is_no_secret_does_not_ruin_replies(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("JUDGE_KEY", "e")
    with FakeServer(replies(says("hello"))) as server:
        assert post(server, key_env="JUDGE_KEY") == "hello"


def test_a_key_that_is_not_set_is_missed():
    with pytest.raises(ConfigError, match="variable NOT_SET_AT_ALL is not set"):
        Client(Endpoint(base_url="http://127.0.0.1/v1", key_env="NOT_SET_AT_ALL"))


@pytest.mark.parametrize("key", ["käse-0123456789", "two\nlines-0123456789"])
def test_a_key_that_no_header_can_hold_is_refused_unseen(key: str, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("JUDGE_KEY", key)
    with pytest.raises(ConfigError, match="JUDGE_KEY holds characters") as caught:
        Client(Endpoint(base_url="http://127.0.0.1/v1", key_env="JUDGE_KEY"))
    assert key not in str(caught.value)


@pytest.mark.parametrize("key", [KEY, "hf_abcdefghijklmnop", "gsk_0123456789"])
def test_a_key_in_place_of_its_variable_is_refused_unseen(key: str):
    with pytest.raises(ConfigError, match="give the NAME") as caught:
        Endpoint(base_url="http://127.0.0.1/v1", key_env=key)
    assert key not in str(caught.value)


@pytest.mark.parametrize(
    "url",
    [
        f"https://me:{KEY}@host/v1",
        f"https://host/v1?key={KEY}",
        f"https://host/#{KEY}",
        f"ftp://{KEY}/",
        KEY,
        f"https:///{KEY}",
        f"http://[{KEY}/",
        f"http://host:{KEY}/",
    ],
)
def test_an_address_that_holds_secrets_or_is_none_is_refused_unseen(url: str):
    with pytest.raises(ConfigError, match="base_url") as caught:
        Endpoint(base_url=url)
    assert KEY not in str(caught.value)


@pytest.mark.parametrize(
    "wrong",
    [{"timeout": 0.0}, {"attempts": 0}, {"backoff": -1.0}, {"longest_wait": -1.0}, {"requests_per_minute": 0.0}],
)
def test_settings_out_of_range_are_refused(wrong: dict[str, Any]):
    with pytest.raises(ConfigError, match=f"{next(iter(wrong))} must be"):
        Endpoint(base_url="http://127.0.0.1", **wrong)


# --- asking without a body


def get(server: FakeServer, path: str = "/scores", query: dict[str, str] | None = None, **settings: Any) -> Any:
    with Client(Endpoint(**{"base_url": server.url, "backoff": 0.0, "timeout": 20.0, **settings})) as client:
        return client.get(path, query or {}, lambda reply: reply)


def test_a_query_stands_quoted_behind_the_path_and_nothing_is_sent():
    with FakeServer(replies(Reply(200, b"[1]"))) as server:
        assert get(server, query={"a b": "x&y=[1]", "c": "\u00e9"}, key_env="JUDGE_KEY") == [1]
        (request,) = server.requests

    assert request.path == "/v1/scores?a+b=x%26y%3D%5B1%5D&c=%C3%A9"
    assert request.headers["authorization"] == f"Bearer {KEY}"
    assert not {"content-length", "content-type", "transfer-encoding"} & request.headers.keys()


def test_a_user_and_a_key_are_sent_together_and_blotted_out_together(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("JUDGE_USER", "someone")
    token = base64.b64encode(f"someone:{KEY}".encode()).decode()
    with FakeServer(
        lambda _, request: Reply(200, json.dumps([request.headers["authorization"], KEY]).encode())
    ) as server:
        assert get(server, key_env="JUDGE_KEY", user_env="JUDGE_USER") == ["Basic [key]", "[key]"]
    with FakeServer(lambda *_: Reply(403, f"no {token}".encode())) as server, pytest.raises(RunError) as refused:
        get(server, key_env="JUDGE_KEY", user_env="JUDGE_USER")
    assert "no [key]" in str(refused.value)


def test_a_user_must_be_the_name_of_a_variable_that_is_set():
    with pytest.raises(ConfigError, match="user_env: give the NAME"):
        Endpoint(base_url="http://localhost", user_env="someone")
    with pytest.raises(ConfigError, match="user_env: the environment variable NOBODY is not set"):
        Client(Endpoint(base_url="http://localhost", user_env="NOBODY"))


@pytest.mark.parametrize("status", [404, 410])
def test_what_is_not_there_is_an_error_of_its_own(status: int):
    with FakeServer(replies(Reply(status, b"gone"))) as server:
        with pytest.raises(NotFoundError, match=f"HTTP {status}: gone"):
            get(server)
        assert len(server.requests) == 1

"""Who may ask: nobody whose page or name is another's, and nobody without the token where there is one."""

from pathlib import Path

import pytest

pytest.importorskip("uvicorn", reason="the extra web is not installed")

from fake_upstream import FakeUpstream
from haloes.errors import ConfigError
from haloes.serving.run import Address
from served import served

TOKEN = "a-token-of-16-or-more"


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({}, 200),
        ({"Host": "localhost:1"}, 200),
        ({"Host": "[::1]:8321"}, 200),
        ({"Host": "haloes.lan"}, 200),
        ({"Host": "evil.example"}, 403),
        ({"Host": "evil.example:8321"}, 403),
        ({"Host": "127.0.0.1.evil.example"}, 403),
        ({"Host": "localhost.evil.example"}, 403),
        ({"Host": "localhost@evil.example"}, 403),
        ({"Host": "localhost", "Origin": "http://localhost"}, 200),
        ({"Host": "localhost", "Origin": "http://localhost:3000"}, 403),
        ({"Host": "localhost", "Origin": "http://evil.example"}, 403),
        ({"Host": "localhost", "Origin": "null"}, 403),
        ({"Host": "localhost", "Sec-Fetch-Site": "cross-site"}, 403),
    ],
    ids=str,
)
def test_pages_of_other_sites_are_refused(tmp_path: Path, headers: dict[str, str], status: int):
    with FakeUpstream() as upstream, served(tmp_path, upstream.url, names=("haloes.lan",)) as server:
        found, given, _ = server.send("GET", "/api/info", None, headers)

        assert found == status
        assert not [name for name in given if name.startswith("access-control")]


def test_a_form_of_another_site_can_send_no_vote(tmp_path: Path):
    with FakeUpstream() as upstream, served(tmp_path, upstream.url) as server:
        headers = {"Content-Type": "text/plain"}

        assert server.send("POST", "/v1/feedback", b'{"completion_id": "x", "rating": 1}', headers)[0] == 415
        assert server.send("OPTIONS", "/v1/feedback", None, {"Origin": "http://evil.example"})[0] == 403


@pytest.mark.parametrize("path", ["/v1/models", "/api/info", "/api/answers", "/v1/chat/completions"])
@pytest.mark.parametrize(
    "given", [None, "Bearer", "Bearer wrong", f"Bearer {TOKEN}x", f"Bearer {TOKEN[:-1]}", "Bearer ä"]
)
def test_without_the_token_nothing_is_told(tmp_path: Path, path: str, given: str | None):
    with FakeUpstream() as upstream, served(tmp_path, upstream.url, token=TOKEN) as server:
        headers = {} if given is None else {"Authorization": given.encode("latin-1").decode("latin-1")}
        status, body = server.json("POST" if "chat" in path else "GET", path, headers=headers)

        assert (status, body["error"]["code"]) == (401, "invalid_api_key")
        assert upstream.requests == []


def test_our_token_is_not_passed_on(tmp_path: Path):
    with FakeUpstream() as upstream, served(tmp_path, upstream.url, token=TOKEN) as server:
        ask = {"model": "big", "messages": [{"role": "user", "content": "?"}]}
        headers = {"Authorization": f"Bearer {TOKEN}"}

        assert server.send("POST", "/v1/chat/completions", ask, headers)[0] == 200
        assert "authorization" not in upstream.requests[0][0]


@pytest.mark.parametrize("path", ["/", "/page.js", "/page.css", "/nowhere", "/api/info"])
def test_every_reply_forbids_foreign_scripts_and_frames(tmp_path: Path, path: str):
    with FakeUpstream() as upstream, served(tmp_path, upstream.url) as server:
        _, headers, _ = server.send("GET", path)

        assert "script-src 'self'" in headers["content-security-policy"]
        assert "unsafe" not in headers["content-security-policy"]
        assert headers["x-content-type-options"] == "nosniff"
        assert headers["x-frame-options"] == "DENY"


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.168.0.7", "example.com"])
def test_an_open_address_takes_a_token(host: str, monkeypatch: pytest.MonkeyPatch):
    with pytest.raises(ConfigError, match="no token is set"):
        Address(host=host).token()
    monkeypatch.setenv("HALOES_TOKEN", "short")
    with pytest.raises(ConfigError, match="16 printable"):
        Address(host=host, token_env="HALOES_TOKEN").token()
    monkeypatch.setenv("HALOES_TOKEN", TOKEN)
    assert Address(host=host, token_env="HALOES_TOKEN").token() == TOKEN

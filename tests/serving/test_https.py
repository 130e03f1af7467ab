"""An upstream that is spoken to with HTTPS: where its certificate is trusted, and not otherwise."""

import shutil
import ssl
import subprocess
from pathlib import Path

import pytest

pytest.importorskip("uvicorn", reason="the extra web is not installed")

from fake_upstream import FakeUpstream
from served import served


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A certificate of localhost that nobody signed, with its key in the same file."""
    if shutil.which("openssl") is None:
        pytest.skip("openssl is not installed")
    path = tmp_path_factory.mktemp("tls") / "both.pem"
    command = (
        "openssl req -x509 -newkey rsa:2048 -nodes -days 2 -subj /CN=localhost -addext subjectAltName=DNS:localhost"
    )
    written = ["-keyout", "both.pem", "-out", "certificate.pem"]
    subprocess.run([*command.split(), *written], cwd=path.parent, check=True, capture_output=True)
    path.write_text(path.read_text() + (path.parent / "certificate.pem").read_text())
    return path


def test_an_upstream_with_https_is_asked_where_its_certificate_is_trusted(
    tmp_path: Path, certificate: Path, monkeypatch: pytest.MonkeyPatch
):
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate)
    ask = {"model": "big", "stream": True, "messages": [{"role": "user", "content": "Why?"}]}
    with FakeUpstream(tls=context) as upstream:
        with served(tmp_path / "no", upstream.url) as server:
            status, told = server.json("POST", "/v1/chat/completions", ask)
            assert (status, upstream.requests) == (502, [])
            assert "certificate verify failed" in told["error"]["message"]
        monkeypatch.setenv("SSL_CERT_FILE", str(certificate.parent / "certificate.pem"))
        with served(tmp_path / "yes", upstream.url) as server:
            for _ in range(2):
                status, _, content = server.send("POST", "/v1/chat/completions", ask)
                assert (status, content) == (200, upstream.sent[-1])

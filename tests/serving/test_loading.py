"""Models that are loaded while the server is there: the page says how far it is, chats wait, and a failure ends it."""

import shutil
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

pytest.importorskip("uvicorn", reason="the extra web is not installed")

import haloes
from haloes.errors import ModelError
from haloes.run_files import MODEL
from haloes.runs.align import align
from haloes.runs.engines import make_transformers_engine
from haloes.sampling.transformers_engine import TransformersEngine
from haloes.serving.app import Site
from haloes.serving.local import Local
from haloes.serving.models import Models
from haloes.serving.store import Store
from served import Served, served_site
from tiny_runs import config, thumbs, write_rows

ASK = {"model": "first", "messages": [{"role": "user", "content": "Is 3 it?"}], "max_tokens": 4}


class Gate:
    """Loads one model, each time after it was opened."""

    def __init__(self, model: Path) -> None:
        self._engine = make_transformers_engine(str(model))
        self._opened = threading.Semaphore(0)

    def open(self) -> None:
        self._opened.release()

    def __call__(self) -> TransformersEngine:
        assert self._opened.acquire(timeout=60)
        return self._engine


@contextmanager
def loading(folder: Path, load: Callable[[], TransformersEngine]) -> Iterator[Served]:
    with Store(folder / "collected.db") as store:
        models = Models({"first": load, "second": load})
        with served_site(Site(store=store, backend=Local(models)), while_loading=True) as client:
            yield client


def until(client: Served, wanted: object) -> None:
    """Wait until the server says so of its loading; the test's own time limit ends it otherwise."""
    while client.json("GET", "/api/info")[1]["loading"] != wanted:
        threading.Event().wait(0.01)


def test_the_server_says_how_far_it_is_and_a_chat_waits_until_all_models_are_there(tmp_path: Path, model: Path):
    gate, answered = Gate(model), threading.Event()

    def chat(client: Served) -> None:
        assert client.send("POST", "/v1/chat/completions", ASK)[0] == 200
        answered.set()

    with loading(tmp_path, gate) as client:
        assert [each["id"] for each in client.json("GET", "/v1/models")[1]["data"]] == ["first", "second"]
        until(client, {"model": "first", "done": 0, "of": 2})
        waits = threading.Thread(target=chat, args=(client,))
        waits.start()
        gate.open()
        until(client, {"model": "second", "done": 1, "of": 2})
        assert not answered.is_set()
        gate.open()
        waits.join(60)
        assert answered.is_set()
        until(client, None)


def test_a_request_that_is_wrong_is_refused_before_its_model_is_there(tmp_path: Path, model: Path):
    gate = Gate(model)
    with loading(tmp_path, gate) as client:
        assert client.send("POST", "/v1/chat/completions", {**ASK, "n": 2})[0] == 400
        assert client.send("POST", "/v1/chat/completions", {**ASK, "model": "third"})[0] == 404
        gate.open()
        gate.open()


def test_who_waits_is_told_of_a_model_that_cannot_be_loaded(tmp_path: Path):
    def fail() -> TransformersEngine:
        raise ModelError("no such folder")

    with loading(tmp_path, fail) as client:
        status, body = client.json("POST", "/v1/chat/completions", ASK)

        assert (status, body["error"]["code"]) == (503, "not_loaded")


def test_a_model_that_cannot_be_loaded_ends_the_server_with_its_error(tmp_path: Path, model: Path):
    align(config(model, write_rows(tmp_path / "thumbs.jsonl", thumbs())), tmp_path / "run")
    for path in (tmp_path / "run" / MODEL).glob("*.safetensors"):
        path.write_bytes(b"broken")

    with pytest.raises(ModelError):
        haloes.serve(tmp_path / "run", port=0, progress=None)
    shutil.rmtree(tmp_path / "run")

"""Uploads to the hub, of which a stub stands here: private, of a new repository only, and gone on with."""

from pathlib import Path
from typing import Any

import huggingface_hub
import pytest

from haloes.errors import RunError
from haloes.exports.export import export_run
from haloes.exports.request import Exported, Request
from haloes.models.cache import cache_dir
from haloes.progress.contract import NullProgress
from haloes.runs import export as export_module
from haloes.runs.align import align
from tiny_runs import config

pytestmark = pytest.mark.usefixtures("own_cache")


class Hub:
    """Repositories in memory, with the names and arguments of the hub's library."""

    def __init__(self) -> None:
        self.repositories: dict[str, dict[str, bytes]] = {}
        self.private: dict[str, bool] = {}
        self.fault: Exception | None = None

    def create_repo(self, repo_id: str, *, private: bool, exist_ok: bool) -> str:
        assert exist_ok
        if repo_id not in self.repositories:
            self.repositories[repo_id], self.private[repo_id] = {".gitattributes": b""}, private
        return f"https://hub/{repo_id}"

    def list_repo_files(self, repo_id: str) -> list[str]:
        return list(self.repositories[repo_id])

    def upload_folder(self, *, repo_id: str, folder_path: Path, commit_message: str) -> None:
        for number, path in enumerate(sorted(folder_path.iterdir())):
            if number == 2 and self.fault is not None:
                raise self.fault
            self.repositories[repo_id][path.name] = path.read_bytes()


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch) -> Hub:
    made = Hub()
    monkeypatch.setattr(huggingface_hub, "HfApi", lambda: made)
    monkeypatch.setenv("HF_TOKEN", "hf_secret")
    return made


@pytest.fixture
def run_dir(model: Path, thumbs_file: Path, tmp_path: Path) -> Path:
    return align(config(model, thumbs_file, samples={"prompts": 0}), tmp_path / "run").run_dir


def upload(run_dir: Path, **fields: Any) -> Exported:
    return export_run(Request(run_dir=run_dir, target="me/aligned", kind="hub", **fields), NullProgress())


def test_the_merged_model_and_its_card_are_uploaded_privately(run_dir: Path, hub: Hub):
    exported = upload(run_dir)

    assert {"README.md", "model.safetensors", "config.json", "tokenizer.json"} <= set(hub.repositories["me/aligned"])
    assert hub.private == {"me/aligned": True}
    assert exported.place == "https://hub/me/aligned"
    assert "private" in exported.usage[0]
    assert not list((cache_dir() / "uploads").iterdir())


def test_it_is_public_only_where_asked(run_dir: Path, hub: Hub):
    assert "everybody" in upload(run_dir, public=True).usage[0]
    assert hub.private == {"me/aligned": False}


def test_a_repository_with_files_is_refused_before_the_work(run_dir: Path, hub: Hub, monkeypatch: pytest.MonkeyPatch):
    hub.repositories["me/aligned"] = {"model.safetensors": b"theirs"}
    monkeypatch.setattr(export_module, "load_model", None)

    with pytest.raises(RunError, match=r"me/aligned is on the hub already and holds 1 files \(model\.safetensors\)"):
        upload(run_dir)
    assert hub.repositories["me/aligned"] == {"model.safetensors": b"theirs"}


def test_an_upload_that_stopped_is_gone_on_with_and_nothing_is_merged_again(
    run_dir: Path, hub: Hub, monkeypatch: pytest.MonkeyPatch
):
    hub.fault = OSError("503 Server Error\nfor url")
    with pytest.raises(RunError, match=r"cannot be uploaded \(503 Server Error\); the same command goes on"):
        upload(run_dir)

    hub.fault = None
    monkeypatch.setattr(export_module, "load_model", None)
    upload(run_dir)

    assert "tokenizer_config.json" in hub.repositories["me/aligned"]


def test_nobody_uploads_without_a_token(run_dir: Path, hub: Hub, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(huggingface_hub, "get_token", lambda: None)

    with pytest.raises(RunError, match="set HF_TOKEN"):
        upload(run_dir)
    assert hub.repositories == {}

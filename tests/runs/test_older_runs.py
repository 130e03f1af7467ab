"""A run that an older haloes began is resumed, or refused in words that say why."""

import json
import shutil
from pathlib import Path

import pytest
import yaml
from safetensors.torch import load_file, save_file

from haloes.errors import RunError
from haloes.runs import setup
from haloes.runs.align import align
from haloes.runs.config import RunConfig
from haloes.runs.run_folder import read_config
from tiny_runs import config, crash, same_result


@pytest.fixture
def older(model: Path, thumbs_file: Path, tmp_path: Path) -> Path:
    """A run of before there were two of the settings, which counts fewer facts of its rows."""
    crash(config(model, thumbs_file), tmp_path / "run", step=2)
    written = yaml.safe_load((tmp_path / "run" / "config.yaml").read_text())
    del written["train"]["kl_budget"], written["feedback"]["sessions"]
    (tmp_path / "run" / "config.yaml").write_text(yaml.safe_dump(written))
    environment = json.loads((tmp_path / "run" / "environment.json").read_text())
    environment["fingerprints"]["configuration"] = "another"
    (tmp_path / "run" / "environment.json").write_text(json.dumps(environment))
    (tmp_path / "run" / "manifest.json").unlink()
    return tmp_path / "run"


def test_a_run_of_before_a_setting_is_refused_with_its_name(older: Path):
    with pytest.raises(RunError) as told:
        align(read_config(older), older, resume=True)

    assert "was begun by an older haloes, which did not know feedback.sessions, train.kl_budget" in str(told.value)
    assert "--allow-changes" in str(told.value)


def test_it_goes_on_where_that_is_wanted(older: Path):
    assert align(read_config(older), older, resume=True, allow_changes=True).num_steps == 3


def test_a_run_that_knew_all_settings_is_told_what_changed(model: Path, thumbs_file: Path, tmp_path: Path):
    crash(config(model, thumbs_file), tmp_path / "run", step=2)

    with pytest.raises(RunError, match="was started with another configuration"):
        align(read_config(tmp_path / "run", {"train": {"seed": 5}}), tmp_path / "run", resume=True)


@pytest.fixture
def own(model: Path, thumbs_file: Path, tmp_path: Path) -> RunConfig:
    """A run of a model that no other test reads."""
    return config(shutil.copytree(model, tmp_path / "own"), thumbs_file)


@pytest.fixture
def hashed_as_before(own: RunConfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """That run, begun before the fingerprint of weights was one by tensor."""
    with monkeypatch.context() as older:
        older.setattr(setup, "recorded_weights", lambda *_: "0" * 64)
        crash(own, tmp_path / "run", step=2)
    return tmp_path / "run"


def hash_of(run_dir: Path) -> str:
    found: str = json.loads((run_dir / "environment.json").read_text())["fingerprints"]["reference model"]
    return found


def test_a_run_whose_weights_were_hashed_at_once_goes_on_to_the_same_bits(
    hashed_as_before: Path, own: RunConfig, tmp_path: Path
):
    known = hash_of(hashed_as_before)
    whole = align(own, tmp_path / "whole")
    assert (known.endswith(" by tensor"), hash_of(whole.run_dir).endswith(" by tensor")) == (False, True)

    resumed = align(own, hashed_as_before, resume=True)

    assert same_result(resumed, whole, files=["data.json"])
    assert hash_of(hashed_as_before) == known


def test_its_model_is_still_known_to_be_another_one(hashed_as_before: Path, own: RunConfig):
    file = Path(own.model.name) / "model.safetensors"
    weights = load_file(file)
    weights["model.norm.weight"][0] += 1e-3
    save_file(weights, file, metadata={"format": "pt"})

    with pytest.raises(RunError, match="was started with another reference model"):
        align(own, hashed_as_before, resume=True)


def test_one_that_goes_on_from_it_knows_its_model(
    hashed_as_before: Path, own: RunConfig, thumbs_file: Path, tmp_path: Path
):
    align(own, hashed_as_before, resume=True)
    on = config(Path(own.model.name), thumbs_file, model={"init": str(hashed_as_before)})

    assert align(on, tmp_path / "second").num_steps == 3

"""A run that an older haloes began is resumed, or refused in words that say why."""

import json
from pathlib import Path

import pytest
import yaml

from haloes.errors import RunError
from haloes.runs.align import align
from haloes.runs.run_folder import read_config
from tiny_runs import config, crash


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

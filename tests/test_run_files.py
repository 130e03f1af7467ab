"""Whether a folder is a run's, and what is said where it is not."""

from pathlib import Path

import pytest

from haloes.errors import RunError
from haloes.run_files import CONFIG, HELD_OUT, MODEL, check_is_run, is_run, is_trained_run


def test_a_run_is_told_by_its_configuration(tmp_path: Path) -> None:
    assert not is_run(tmp_path)
    assert not is_run(tmp_path / "nothing")

    (tmp_path / CONFIG).touch()

    assert is_run(tmp_path)


def test_a_trained_run_has_a_model_in_it(tmp_path: Path) -> None:
    (tmp_path / MODEL).mkdir()
    assert not is_trained_run(tmp_path)

    (tmp_path / CONFIG).touch()

    assert is_trained_run(tmp_path)


def test_a_run_that_lost_its_configuration_passes_the_check(tmp_path: Path) -> None:
    with pytest.raises(RunError, match=r"holds no run \(no config.yaml\); give the folder that `haloes train` wrote"):
        check_is_run(tmp_path)

    (tmp_path / HELD_OUT).touch()

    check_is_run(tmp_path)


def test_a_folder_that_does_not_exist_is_told_by_whoever_reads_it(tmp_path: Path) -> None:
    check_is_run(tmp_path / "nothing")

"""`train.threads`."""

from pathlib import Path

import pytest
import torch

from haloes.errors import ConfigError
from haloes.runs.align import align
from haloes.runs.threads import computing_with
from haloes.store import read_json
from haloes.training.settings import TrainSettings
from tiny_runs import config


def test_a_run_computes_with_the_threads_that_it_is_given_and_leaves_torch_s_as_they_were(
    model: Path, thumbs_file: Path, tmp_path: Path
):
    before = torch.get_num_threads()
    align(config(model, thumbs_file, train={"threads": before + 1}, samples={"prompts": 0}), tmp_path / "run")

    assert read_json(tmp_path / "run" / "environment.json")["threads"] == before + 1
    assert torch.get_num_threads() == before


def test_left_out_they_are_torch_s():
    before = torch.get_num_threads()
    with computing_with(None):
        assert torch.get_num_threads() == before


def test_there_is_at_least_one():
    with pytest.raises(ConfigError, match=r"train\.threads must be at least 1"):
        TrainSettings(threads=0)

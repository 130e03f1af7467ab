"""Weights in a file without a name come back as they were, whatever becomes of those in memory."""

from pathlib import Path

import torch

from haloes.models.weights_file import WeightsFile


def test_weights_come_back_as_they_were_of_every_dtype_and_also_those_of_no_rows(tmp_path: Path):
    weights = {
        "matrix": torch.randn(3, 5).to(torch.bfloat16),
        "turned": torch.randn(4, 3).T,
        "number": torch.tensor(2.5),
        "none": torch.empty(0, 7),
    }
    as_they_were = {name: weight.clone() for name, weight in weights.items()}
    file = WeightsFile(weights, tmp_path / "new")
    for weight in weights.values():
        weight.zero_()

    found = file.read()
    assert list(found) == list(weights)
    for name, weight in as_they_were.items():
        assert found[name].dtype == weight.dtype
        assert torch.equal(found[name], weight)
    assert list((tmp_path / "new").iterdir()) == []


def test_what_is_written_to_weights_that_were_read_is_not_read_again(tmp_path: Path):
    file = WeightsFile({"a": torch.ones(4)}, tmp_path)
    file.read()["a"].zero_()

    assert file.read()["a"].tolist() == [1.0] * 4


def test_no_weights_at_all_are_none(tmp_path: Path):
    assert WeightsFile({"none": torch.empty(0)}, tmp_path).read()["none"].shape == (0,)

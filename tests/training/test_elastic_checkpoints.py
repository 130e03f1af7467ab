"""A checkpoint that any number of processes wrote is read by any other number of them, bit for bit."""

import shutil
from pathlib import Path

import numpy as np
import pytest
from safetensors import safe_open

import elastic_script
from haloes.errors import RunError
from haloes.training import checkpoint, shard_files
from started_scripts import carry_out

ways = pytest.mark.parametrize("way", list(elastic_script.WAYS))


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where all were written and read."""
    return carry_out(elastic_script, tmp_path_factory.mktemp("elastic"), "-W", "error", seconds=600)


@ways
@pytest.mark.parametrize("writers", elastic_script.WRITERS)
@pytest.mark.parametrize("readers", elastic_script.READERS)
def test_what_is_read_is_what_was_written_with_the_moments(way: str, writers: str, readers: str, folder: Path):
    written = np.load(folder / f"{way} {writers}.npz")
    read = np.load(folder / f"{way} {readers} reads {writers}.npz")

    assert sorted(read.files) == sorted(written.files)
    assert any(name.startswith("exp_avg_sq") for name in read.files)
    for name in set(read.files) - {"next norm"}:
        assert np.array_equal(read[name], written[name]), name
    assert read["next norm"] == pytest.approx(written["next norm"], rel=1e-5)


@ways
def test_each_process_writes_its_own_rows_in_a_file_of_its_own(way: str, folder: Path):
    path = folder / way / "2" / f"step-{elastic_script.STEPS:08d}"
    names = {file.name for file in path.iterdir()}

    assert {f"{kind}-{i}-of-2.safetensors" for kind in ("weights", "optimizer", "memory") for i in (1, 2)} <= names
    assert not any(name.endswith((".pt", ".pth", ".bin", ".metadata", ".pkl")) for name in names)
    with safe_open(path / "weights-2-of-2.safetensors", framework="np") as second:
        assert len(list(second.keys())) > 2
        assert not any("value_head" in name for name in second.keys())  # noqa: SIM118


@ways
def test_of_two_copies_in_two_parts_each_one_copy_is_written(way: str, folder: Path):
    path = folder / way / elastic_script.COPIES / f"step-{elastic_script.STEPS:08d}"

    for kind in ("weights", "optimizer", "memory"):
        held = []
        for i in range(4):
            with safe_open(path / f"{kind}-{i + 1}-of-4.safetensors", framework="np") as file:
                held.append(len(list(file.keys())))
        assert min(held[:2]) > 2
        assert held[2:] == [0, 0]


@pytest.mark.parametrize("file", ["weights-2-of-2.safetensors", "optimizer-1-of-2.safetensors"])
@pytest.mark.parametrize("damage", ["changed", "gone"])
def test_a_damaged_shard_is_named_and_its_checkpoint_passed_over(file: str, damage: str, folder: Path, tmp_path: Path):
    shutil.copytree(folder / "all weights" / "2" / "step-00000002", tmp_path / "step-00000002")
    shutil.copytree(folder / "all weights" / "4" / "step-00000002", tmp_path / "step-00000001")
    path = tmp_path / "step-00000002" / file
    if damage == "gone":
        path.unlink()
    else:
        content = bytearray(path.read_bytes())
        content[-1] ^= 1
        path.write_bytes(content)

    found, damaged = checkpoint.newest(tmp_path)

    assert found is not None
    assert found.path.name == "step-00000001"
    assert [file in sentence and "passed over" in sentence for sentence in damaged] == [True]


def test_files_that_do_not_hold_all_rows_are_refused(folder: Path, tmp_path: Path):
    shutil.copytree(folder / "all weights" / "2" / "step-00000002", tmp_path / "part")
    (tmp_path / "part" / "weights-1-of-2.safetensors").unlink()

    with pytest.raises(RunError, match="does not hold all rows of"), shard_files.opened(tmp_path / "part", "weights"):
        pass

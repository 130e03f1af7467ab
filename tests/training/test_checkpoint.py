"""Checkpoints are whole or not there; damaged ones are named and passed over."""

import json
import os
import resource
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from haloes.errors import RunError
from haloes.training import checkpoint, save_checkpoint, shard_files
from haloes.training.optimizer import Masters
from tiny_checkpoints import IDENTITY, make, names, take_steps, taken, weights

FILES = (
    "manifest.json",
    "memory.safetensors",
    "metrics.jsonl",
    "optimizer.safetensors",
    "state.json",
    "weights.safetensors",
)


def save(folder: Path, step: int, *, keep: int | None = 2, steps: int = 2, **fields: Any) -> Path:
    masters, optimizer = make(steps=steps, **fields)
    return save_checkpoint.save(folder, taken(step, masters, optimizer), keep=keep)


def found_step(folder: Path) -> int | None:
    found, _ = checkpoint.newest(folder)
    return None if found is None else found.step


@pytest.mark.parametrize("optimizer", ["adamw", "rmsprop"])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16], ids=str)
def test_what_was_saved_goes_on_bit_for_bit(tmp_path: Path, optimizer: str, dtype: torch.dtype):
    masters, made = make(steps=2, optimizer=optimizer, dtype=dtype)
    save_checkpoint.save(tmp_path, taken(2, masters, made), keep=1)
    resumed, again = make(optimizer=optimizer, dtype=dtype)
    found, damaged = checkpoint.newest(tmp_path)
    assert found is not None
    assert (found.step, found.identity, damaged) == (2, IDENTITY, [])

    checkpoint.restore(found, resumed, again)

    assert weights(resumed) == weights(masters)
    take_steps(masters, made, 3)
    take_steps(resumed, again, 3)
    assert weights(resumed) == weights(masters)


def test_a_checkpoint_before_the_first_update_is_fine(tmp_path: Path):
    masters, optimizer = make(steps=0)
    save_checkpoint.save(tmp_path, taken(0, masters, optimizer), keep=1)
    found, _ = checkpoint.newest(tmp_path)
    assert found is not None

    checkpoint.restore(found, *make(steps=0))


def test_it_is_safetensors_and_json_and_nothing_else(tmp_path: Path):
    path = save(tmp_path, 7)

    assert tuple(names(path)) == FILES
    assert names(tmp_path) == ["step-00000007"]
    assert set(json.loads((path / "manifest.json").read_text())) == set(FILES) - {"manifest.json"}
    assert json.loads((path / "state.json").read_text()) == {"step": 7, "identity": IDENTITY}


def test_no_checkpoint_is_none(tmp_path: Path):
    assert checkpoint.newest(tmp_path / "none") == (None, [])


@pytest.mark.parametrize("keep", [1, 2, 3])
def test_the_newest_are_kept(tmp_path: Path, keep: int):
    for step in (5, 10, 95, 100, 1000):
        save(tmp_path, step, keep=keep)

    assert names(tmp_path) == [f"step-{step:08d}" for step in (95, 100, 1000)][-keep:]
    assert found_step(tmp_path) == 1000


def test_a_damaged_later_checkpoint_takes_no_good_ones_place(tmp_path: Path):
    save(tmp_path, 40, keep=1)
    (save(tmp_path, 50, keep=2) / "weights.safetensors").unlink()

    # Resumed from 40, the run comes to 45 and keeps one.
    save(tmp_path, 45, keep=1)

    assert found_step(tmp_path) == 45


def test_a_checkpoint_is_replaced_by_one_of_the_same_step(tmp_path: Path):
    (save(tmp_path, 5, steps=1) / "state.json").write_text("{")
    save(tmp_path, 5, steps=2)
    found, damaged = checkpoint.newest(tmp_path)
    resumed, optimizer = make()
    assert found is not None
    assert damaged == []

    checkpoint.restore(found, resumed, optimizer)

    assert weights(resumed) == weights(make(steps=2)[0])


def truncate(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-1])


def flip(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(bytes(data))


def empty(path: Path) -> None:
    path.write_bytes(b"")


@pytest.mark.parametrize("file", FILES)
@pytest.mark.parametrize("damage", [truncate, flip, empty, Path.unlink])
def test_a_damaged_checkpoint_is_named_and_the_one_before_it_is_found(
    tmp_path: Path, file: str, damage: Callable[[Path], None]
):
    save(tmp_path, 10)
    path = save(tmp_path, 20)
    damage(path / file)

    found, damaged = checkpoint.newest(tmp_path)

    assert found is not None
    assert found.step == 10
    (sentence,) = damaged
    assert sentence.startswith(f"checkpoint {path} is damaged and is passed over: ")
    assert "manifest" in sentence if file == "manifest.json" and damage is not flip else True


@given(st.sampled_from(FILES), st.integers(0), st.integers(1, 255))
@settings(max_examples=60)
def test_no_flipped_byte_goes_unnoticed(tmp_path_factory: pytest.TempPathFactory, file: str, place: int, change: int):
    folder = tmp_path_factory.mktemp("checkpoints")
    path = save(folder, 3) / file
    before = path.read_bytes()
    after = bytearray(before)
    after[place % len(before)] ^= change
    path.write_bytes(bytes(after))

    # One blank of the manifest for another is no damage; everything else is.
    assert (found_step(folder) == 3) == (file == "manifest.json" and same_json(before, bytes(after)))


def same_json(one: bytes, other: bytes) -> bool:
    try:
        return bool(json.loads(one) == json.loads(other))
    except ValueError:
        return False


@pytest.mark.parametrize("manifest", ["{}", "[]", "null", '"x"', '{"weights.safetensors": 1}'])
def test_a_manifest_that_lists_nothing_vouches_for_nothing(tmp_path: Path, manifest: str):
    path = save(tmp_path, 20)
    (path / "manifest.json").write_text(manifest)

    found, damaged = checkpoint.newest(tmp_path)

    assert found is None
    assert len(damaged) == 1


def test_every_damaged_checkpoint_is_named(tmp_path: Path):
    for step in (1, 2, 3):
        (save(tmp_path, step, keep=3) / "state.json").unlink()

    found, damaged = checkpoint.newest(tmp_path)

    assert found is None
    assert [sentence.split(" is damaged")[0][-1] for sentence in damaged] == ["3", "2", "1"]


class Killed(BaseException):
    """The process ends here."""


WRITES = [
    "mkdir",
    "save_file weights",
    "save_file optimizer",
    "_write_json state",
    "_write_json manifest",
    "_sync",
    "rename",
]


def kill_at(moment: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the process die in the middle of one of the things that `save` does to the disk."""
    call, _, what = moment.partition(" ")

    def dying(path: Path, *_: object, **__: object) -> None:
        raise Killed

    if call in {"mkdir", "rename"}:
        monkeypatch.setattr(Path, call, dying)
    elif call == "_sync":
        monkeypatch.setattr(save_checkpoint, "_sync", dying)
    else:
        module = shard_files if call == "save_file" else save_checkpoint
        original = getattr(module, call)

        def write(*args: Any, **more: Any) -> None:
            path = next(arg for arg in args if isinstance(arg, Path))
            if path.name.startswith(what):
                path.write_bytes(b"half of it")
                raise Killed
            original(*args, **more)

        monkeypatch.setattr(module, call, write)


@pytest.mark.parametrize("moment", WRITES)
def test_a_kill_while_saving_leaves_the_last_checkpoint_and_a_later_save_succeeds(tmp_path: Path, moment: str):
    save(tmp_path, 10)
    with pytest.MonkeyPatch.context() as monkeypatch:
        kill_at(moment, monkeypatch)
        with pytest.raises(Killed):
            save(tmp_path, 20)

    found, damaged = checkpoint.newest(tmp_path)
    assert found is not None
    assert (found.step, damaged) == (10, [])

    save(tmp_path, 20)
    assert names(tmp_path) == ["step-00000010", "step-00000020"]
    assert found_step(tmp_path) == 20


def test_a_full_disk_leaves_earlier_checkpoints_and_says_what_to_do(tmp_path: Path):
    save(tmp_path, 10)
    largest = max((tmp_path / "step-00000010" / name).stat().st_size for name in FILES)
    # Each limit stops another file: the weights, the moments (which are the largest), the small ones.
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    for size in (1, 120, 250, largest - 1):
        resource.setrlimit(resource.RLIMIT_FSIZE, (size, limits[1]))
        try:
            with pytest.raises(
                RunError, match=r"checkpoint of step 20 cannot be written to .*File too large.*free some"
            ):
                save(tmp_path, 20)
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, limits)
        assert names(tmp_path) == ["step-00000010"]

    assert found_step(tmp_path) == 10


def test_a_folder_that_cannot_be_made_is_an_error_with_its_reason(tmp_path: Path):
    (tmp_path / "checkpoints").write_text("in the way")

    with pytest.raises(RunError, match=r"cannot be written to .*Not a directory"):
        save(tmp_path / "checkpoints", 1)


def test_files_are_on_disk_before_the_folder_has_its_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    synced, renamed_after = [], []
    fsync, rename = os.fsync, Path.rename
    monkeypatch.setattr(os, "fsync", lambda handle: synced.append(handle) or fsync(handle))
    monkeypatch.setattr(Path, "rename", lambda a, b: renamed_after.append(len(synced)) or rename(a, b))

    save(tmp_path, 1)

    assert renamed_after == [len(FILES)]


def test_other_weights_are_refused(tmp_path: Path):
    save(tmp_path, 10, size=3)
    found, _ = checkpoint.newest(tmp_path)
    assert found is not None

    with pytest.raises(RunError, match="holds other weights than this run trains"):
        checkpoint.restore(found, *make(size=4))


def test_checkpoints_can_move_with_their_folder(tmp_path: Path):
    save(tmp_path / "here", 10)
    shutil.move(tmp_path / "here", tmp_path / "there")

    assert found_step(tmp_path / "there") == 10


class EightBit(torch.optim.Optimizer):
    """Keeps what bitsandbytes' AdamW keeps, in the same form: a whole number, bytes, and tables that weights share."""

    def __init__(self, weights: list[torch.Tensor], table: torch.Tensor) -> None:
        super().__init__(weights, {"lr": 0.1})
        self.table = table

    def step(self, closure: Any = None) -> None:
        del closure
        for group in self.param_groups:
            for weight in group["params"]:
                state = self.state[weight]
                if not state:
                    state.update(step=0, state1=torch.zeros_like(weight, dtype=torch.uint8), qmap1=self.table)
                state["step"] += 1
                state["state1"] += state["step"]
                weight.sub_(state["qmap1"][state["state1"].long()] * group["lr"] * weight.grad)


def eight_bit(*, steps: int) -> tuple[Masters, torch.optim.Optimizer]:
    masters, _ = make()
    optimizer = EightBit(list(masters.weights.values()), torch.linspace(0, 1, 256))
    with torch.no_grad():
        take(masters, optimizer, steps)
    return masters, optimizer


def take(masters: Masters, optimizer: torch.optim.Optimizer, steps: int) -> None:
    for _ in range(steps):
        for weight in masters.weights.values():
            weight.grad = torch.ones_like(weight)
        optimizer.step()


def test_whole_numbers_bytes_and_shared_tables_of_an_optimizer_come_back(tmp_path: Path):
    masters, optimizer = eight_bit(steps=2)
    save_checkpoint.save(tmp_path, taken(2, masters, optimizer), keep=1)
    again, restored = eight_bit(steps=0)
    found, _ = checkpoint.newest(tmp_path)
    assert found is not None

    checkpoint.restore(found, again, restored)

    for state in restored.state.values():
        assert (state["step"], type(state["step"])) == (2, int)
        assert state["state1"].dtype == torch.uint8
    with torch.no_grad():
        take(masters, optimizer, 1)
        take(again, restored, 1)
    for name, weight in masters.weights.items():
        assert torch.equal(again.weights[name], weight)


def test_a_run_with_moments_in_8_bits_goes_on_as_if_never_stopped(tmp_path: Path):
    pytest.importorskip("bitsandbytes", reason="bitsandbytes is not installed")
    # 90 x 90 numbers: smaller weights have their moments in float32.
    masters, optimizer = make(optimizer="adamw8bit", size=4096, steps=2)
    save_checkpoint.save(tmp_path, taken(2, masters, optimizer), keep=1)
    again, restored = make(optimizer="adamw8bit", size=4096)
    found, _ = checkpoint.newest(tmp_path)
    assert found is not None

    checkpoint.restore(found, again, restored)

    assert {state["state1"].dtype for state in restored.state.values()} == {torch.uint8, torch.float32}
    take_steps(masters, optimizer, 2)
    take_steps(again, restored, 2)
    for name, weight in masters.weights.items():
        assert torch.equal(again.weights[name], weight)


def test_a_checkpoint_is_taken_for_that_of_its_own_step_alone(tmp_path: Path):
    for step in (2, 3, 5):
        save(tmp_path, step, keep=None)
    checkpoint.keep_steps(tmp_path, {2, 5, 9})
    (tmp_path / "step-00000005").rename(tmp_path / "step-00000004")

    assert names(tmp_path) == ["step-00000002", "step-00000004"]
    found, damaged = checkpoint.of_step(tmp_path, 2)
    assert found is not None
    assert (found.step, damaged) == (2, [])
    assert checkpoint.of_step(tmp_path, 3) == (None, [])
    found, damaged = checkpoint.of_step(tmp_path, 4)
    assert found is None
    assert damaged == [f"checkpoint {tmp_path / 'step-00000004'} is damaged and is passed over: it is that of step 5"]


def test_what_a_kill_left_of_a_checkpoint_is_removed(tmp_path: Path):
    save(tmp_path, 2)
    (tmp_path / ".partial-00000004").mkdir()

    checkpoint.remove_unfinished(tmp_path)

    assert names(tmp_path) == ["step-00000002"]

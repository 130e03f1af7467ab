"""A run whose processes share the weights is that of one process, to the saved model; it stops, and goes on anyhow."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor

import sharded_runs_script
from haloes.errors import ConfigError
from haloes.models.adapters import LoRA
from haloes.models.load import load_model
from haloes.run_files import MODEL
from haloes.runs.config import ModelSettings, RunConfig
from haloes.runs.sharding import bytes_of_a_copy, check_sharding, processes_a_copy, turn_of
from haloes.training.distributed import Ranks
from haloes.training.metrics_log import read_metrics
from haloes.training.settings import TrainSettings
from haloes.training.shard_files import opened
from started_scripts import carry_out
from tiny_runs import TIMING, save_model

ALONE, CPU = Ranks(0, 1), torch.device("cpu")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where the runs are."""
    return carry_out(sharded_runs_script, tmp_path_factory.mktemp("sharded runs"), seconds=900)


def lines(run_dir: Path) -> list[dict[str, Any]]:
    """The numbers of a run's metrics, without times."""
    return [{k: v for k, v in line.items() if k not in TIMING} for line in read_metrics(run_dir / "metrics.jsonl")]


def saved(run_dir: Path) -> Mapping[str, Tensor]:
    """The weights of the saved model, or of its adapter."""
    path = next((run_dir / MODEL).glob("*.safetensors"))
    return dict(load_file(path))


def last_weights(run_dir: Path) -> dict[str, Tensor]:
    """The weights of the newest checkpoint."""
    with opened(max((run_dir / "checkpoints").iterdir()), "weights") as files:
        return {name: files.whole(name) for name in files.parts}


@pytest.mark.parametrize("name", [name for name in sharded_runs_script.RUNS if name != "in bfloat16"])
def test_a_run_whose_processes_share_the_weights_is_that_of_one(name: str, folder: Path):
    one, two = (lines(folder / f"{name} of {count}") for count in ("one", "two"))

    assert len(one) == len(two) >= 3
    for a, b in zip(one, two, strict=True):
        assert a.pop("split") == b.pop("split")
        assert b == pytest.approx(a, rel=1e-3, abs=1e-3)


def test_a_run_in_bfloat16_is_that_of_one_process_up_to_its_rounding(folder: Path):
    one, two = (lines(folder / f"in bfloat16 of {count}") for count in ("one", "two"))

    assert [line["loss"] for line in two] == pytest.approx([line["loss"] for line in one], rel=0.1, abs=0.1)


@pytest.mark.parametrize("name", list(sharded_runs_script.RUNS))
def test_the_saved_model_is_whole_and_has_the_dtype_and_name_of_one_process(name: str, folder: Path):
    one, two = (saved(folder / f"{name} of {count}") for count in ("one", "two"))

    assert {key: (w.shape, w.dtype) for key, w in two.items()} == {key: (w.shape, w.dtype) for key, w in one.items()}
    apart = 0.1 if name == "in bfloat16" else 1e-3
    assert all(float((two[key].float() - one[key].float()).abs().max()) < apart for key in one)
    texts = [(folder / f"{name} of {count}" / MODEL) for count in ("one", "two")]
    files = [{path.name for path in text.iterdir()} for text in texts]
    assert files[0] == files[1]
    for config in sorted(files[0] & {"config.json", "adapter_config.json"}):
        first, second = (json.loads((text / config).read_text()) for text in texts)
        assert second == first


def test_the_answers_are_those_of_one_process(folder: Path):
    one, two = ((folder / f"all weights of {count}" / "samples.jsonl").read_text() for count in ("one", "two"))

    assert '"after"' in two
    assert two == one


def test_what_answers_cost_is_said(folder: Path):
    said = " ".join((folder / "all weights of two.txt").read_text().split())

    assert "each of 2 processes holds a part of every weight (train.shard)" in said
    assert "every token gathers all weights" in said
    assert "a part of every weight" not in (folder / "all weights of one.txt").read_text()


def test_a_model_that_was_trained_in_shards_loads_as_any_other(folder: Path):
    model = load_model(str(folder / "all weights of two" / MODEL), dtype=torch.float32, device="cpu").model

    assert type(model).__name__ == "LlamaForCausalLM"
    assert model.lm_head.weight is model.model.embed_tokens.weight


@pytest.mark.parametrize("name", ["stopped", "cut"])
def test_a_run_that_stopped_goes_on_to_the_same_bits(name: str, folder: Path):
    whole, resumed = last_weights(folder / "whole"), last_weights(folder / name)

    assert 0 < int((folder / name / "stopped").read_text()) < 8
    assert all(torch.equal(resumed[key], weight) for key, weight in whole.items())
    assert lines(folder / name) == lines(folder / "whole")


@pytest.mark.parametrize("name", ["on one", "on three", "without shards"])
def test_a_run_that_stopped_goes_on_with_others_or_without_shards(name: str, folder: Path):
    whole, resumed = last_weights(folder / "whole"), last_weights(folder / name)

    assert int((folder / name / "stopped").read_text()) == 5
    for key, weight in whole.items():
        np.testing.assert_allclose(resumed[key], weight, atol=1e-4, err_msg=key)


def test_processes_that_share_all_weights_take_back_what_one_does(folder: Path):
    one, two = (load_file(folder / f"part of it by {count}" / "result.safetensors") for count in ("one", "two"))
    all_of_it = last_weights(folder / "part of it by one")

    assert one.keys() == two.keys() == all_of_it.keys()
    assert not all(torch.equal(weight, all_of_it[key]) for key, weight in one.items())
    for key, weight in one.items():
        np.testing.assert_allclose(two[key], weight, atol=1e-4, err_msg=key)


@pytest.mark.parametrize(
    ("model", "train", "named"),
    [
        (ModelSettings(quantize="4bit", lora=LoRA(rank=4)), TrainSettings(shard="full"), "model.quantize"),
        (ModelSettings(), TrainSettings(shard="full", optimizer="adamw8bit"), "train.optimizer=adamw8bit"),
        (ModelSettings(), TrainSettings(shard="full", activation_offload=True), "train.activation_offload"),
    ],
)
def test_settings_that_shards_do_not_go_with_are_refused_by_name(model: Any, train: TrainSettings, named: str):
    with pytest.raises(ConfigError, match=named):
        check_sharding(model, train)


def test_no_such_way_to_share_is_refused():
    with pytest.raises(ConfigError, match=r"train\.shard must be auto or off or full"):
        TrainSettings(shard="zero3")  # type: ignore[arg-type]


@pytest.mark.parametrize(("shard", "over"), [("off", 1), ("full", 2), ("auto", 1)])
def test_a_small_model_is_shared_only_on_request(shard: Any, over: int, tmp_path: Path):
    model = ModelSettings(name=str(save_model(tmp_path / "model")), lora=None)
    config = RunConfig(model=model, train=TrainSettings(shard=shard))

    assert processes_a_copy(config, Ranks(0, 2), CPU, torch.float32) == over
    assert processes_a_copy(config, ALONE, CPU, torch.float32) == 1


def test_a_model_of_which_one_process_has_no_room_for_a_copy_is_shared(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    model = ModelSettings(name=str(save_model(tmp_path / "model")), lora=None)
    config = RunConfig(model=model, train=TrainSettings())
    room = 2 * bytes_of_a_copy(model, config.train, torch.float32)
    monkeypatch.setattr("haloes.runs.sharding.free_memory", lambda _: room)

    assert processes_a_copy(config, Ranks(0, 2), CPU, torch.float32) == 2


@pytest.mark.parametrize(
    ("here", "room", "over"),
    [
        ("2", 1.0, 2),  # a machine's two processes have room for a copy together
        ("2", 0.4, 4),  # they have not
        ("4", 0.4, 4),  # one machine
        ("3", 1.0, 4),  # machines with other numbers of processes
    ],
)
def test_a_copy_lies_within_a_machine_that_has_room_for_it(
    here: str, room: float, over: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    model = ModelSettings(name=str(save_model(tmp_path / "model")), lora=None)
    config = RunConfig(model=model, train=TrainSettings(shard="full"))
    free = int(room * bytes_of_a_copy(model, config.train, torch.float32))
    monkeypatch.setenv("LOCAL_WORLD_SIZE", here)
    # On a CPU the processes divide what is free.
    monkeypatch.setattr("haloes.runs.sharding.free_memory", lambda _: 4 * free)

    assert processes_a_copy(config, Ranks(0, 4), CPU, torch.float32) == over


def test_a_copy_lies_over_as_many_processes_as_are_asked_for_or_is_refused(tmp_path: Path):
    model = ModelSettings(name=str(save_model(tmp_path / "model")), lora=None)
    config = RunConfig(model=model, train=TrainSettings(shard="full", shard_over=2))

    assert processes_a_copy(config, Ranks(0, 4), CPU, torch.float32) == 2
    with pytest.raises(ConfigError, match=r"train\.shard_over=2 does not divide the run's 3 processes"):
        processes_a_copy(config, Ranks(0, 3), CPU, torch.float32)


@pytest.mark.parametrize(
    ("free", "turns"),
    [(100, [0, 0, 0, 0]), (50, [0, 0, 0, 0]), (49, [0, 0, 0, 1]), (25, [0, 0, 1, 1]), (5, [0, 1, 2, 3])],
)
def test_as_many_processes_load_at_a_time_as_the_machine_has_room_for(free: int, turns: list[int]):
    assert [turn_of(place, free=free, needed=10) for place in range(4)] == turns


def test_a_copy_takes_what_its_weights_their_reference_moments_and_gradients_do(tmp_path: Path):
    name = str(save_model(tmp_path / "model"))
    numbers = sum(p.numel() for p in load_model(name, dtype=torch.float32, device="cpu").model.parameters())
    full, adapters = ModelSettings(name=name, lora=None), ModelSettings(name=name, lora=LoRA(rank=4))

    assert bytes_of_a_copy(full, TrainSettings(), torch.bfloat16) == numbers * (2 + 2 + 4 + 4 + 8)
    assert bytes_of_a_copy(full, TrainSettings(), torch.float32) == numbers * (4 + 4 + 4 + 8)
    assert bytes_of_a_copy(adapters, TrainSettings(), torch.bfloat16) == numbers * 2

"""Steps of two and four processes that hold a part of every weight each are those of one process with all weights."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import shards_script
from fakes import tiny_model
from haloes.errors import ConfigError
from haloes.models.adapters import LoRA
from haloes.models.packing_check import make_scorer
from haloes.models.policy import make_policy
from haloes.models.sharded import check_shardable
from haloes.planning.several import plan_shared
from haloes.runs.config_layers import make_config
from started_scripts import carry_out
from tiny_architectures import tiny_architecture
from training_jobs import EVERY

Found = Mapping[str, Mapping[str, Any]]
several = pytest.mark.parametrize("process", ["2-0", "2-1", "4-0", "4-3"])


@pytest.fixture(scope="module")
def found(tmp_path_factory: pytest.TempPathFactory) -> Found:
    """What everything came to in process R of N, by "N-R"."""
    folder = carry_out(shards_script, tmp_path_factory.mktemp("shards"), "-W", "error", seconds=600)
    return {path.stem: dict(np.load(path)) for path in folder.glob("*.npz")}


def same(found: Found, process: str, prefix: str, *, atol: float = 1e-5, rtol: float = 1e-5) -> int:
    """Compare what begins so with the one process; return how many numbers or tables there were."""
    names = [name for name in found["1-0"] if name.startswith(f"{prefix}: ")]
    for name in names:
        np.testing.assert_allclose(found[process][name], found["1-0"][name], rtol=rtol, atol=atol, err_msg=name)
    return len(names)


@several
@pytest.mark.parametrize("case", [name for name in shards_script.CASES if shards_script.BFLOAT16 not in name])
def test_three_clipped_steps_are_those_of_one_process(case: str, process: str, found: Found):
    assert same(found, process, case) > 20
    gradients = [name for name in found["1-0"] if name.startswith(f"{case}: gradient")]
    assert any(np.abs(found["1-0"][name]).max() > 0.01 for name in gradients)


@several
@pytest.mark.parametrize("case", [name for name in shards_script.CASES if shards_script.BFLOAT16 in name])
def test_three_steps_in_bfloat16_are_those_of_one_process_up_to_its_rounding(case: str, process: str, found: Found):
    assert same(found, process, f"{case}", atol=0.5, rtol=0.05) > 20


@pytest.mark.parametrize("process", ["2x2-0", "2x2-3"])
@pytest.mark.parametrize("case", shards_script.COPIES)
def test_three_clipped_steps_of_two_copies_in_two_parts_each_are_those_of_one_process(
    case: str, process: str, found: Found
):
    assert same(found, process, case) > 20
    assert found[process]["own rows"] == -(-found[process]["rows"] // 2)


@pytest.mark.parametrize("process", ["2x2-1", "2x2-2", "2x2-3"])
def test_copies_have_the_same_numbers_to_the_bit(process: str, found: Found):
    for name, value in found["2x2-0"].items():
        assert np.array_equal(value, found[process][name]), name


@pytest.mark.parametrize("process", ["2x2-0", "2x2-3"])
def test_a_synced_reference_in_copies_is_the_policy_of_its_last_sync(process: str, found: Found):
    assert np.array_equal(found[process]["synced: start"], found[process]["synced: old"])
    assert np.array_equal(found[process]["synced: policy"], found[process]["synced: new"])
    assert found[process]["gradients in float32"]


@pytest.mark.parametrize("process", ["2-0", "2-1"])
@pytest.mark.parametrize("name", sorted(EVERY))
def test_a_step_of_every_loss_is_that_of_one_process(name: str, process: str, found: Found):
    assert same(found, process, name, rtol=1e-4) == 2


@several
def test_a_step_with_a_synced_reference_that_is_not_the_policy_is_that_of_one_process(process: str, found: Found):
    assert same(found, process, "humanline", rtol=1e-4) == 2
    assert np.abs(found[process]["humanline: loss"] - 0.5).max() > 0.01  # what it is where both are equal


@several
@pytest.mark.parametrize("way", ["all weights", "adapters"])
def test_the_reference_stays_what_it_was_to_the_bit_while_the_policy_moves(way: str, process: str, found: Found):
    before, after = (found[process][f"{way}: reference {when}"] for when in ("before", "after"))

    assert np.array_equal(before, after)
    assert np.abs(found[process][f"{way}: policy after"] - after).max() > 0.1
    np.testing.assert_allclose(before, found["1-0"][f"{way}: reference before"], atol=1e-5)


@several
def test_a_synced_reference_is_the_policy_of_its_last_sync(process: str, found: Found):
    start, old, policy, new = (found[process][f"synced: {name}"] for name in ("start", "old", "policy", "new"))

    assert np.array_equal(start, old)
    assert np.array_equal(policy, new)
    assert np.abs(new - old).max() > 0.1


@several
def test_a_process_with_a_full_cache_goes_along_with_those_whose_cache_is_empty(process: str, found: Found):
    np.testing.assert_allclose(found[process]["cache: loss"], found["1-0"]["cache: loss"], atol=1e-5)
    np.testing.assert_allclose(found[process]["cache: loss again"], found["1-0"]["cache: loss"], atol=1e-5)


@several
def test_gradients_are_float32_though_the_reference_was_looked_at_first(process: str, found: Found):
    assert found[process]["gradients in float32"]
    assert found[process]["shards of all"]


def test_the_processes_have_the_same_numbers_to_the_bit(found: Found):
    for name, value in found["2-0"].items():
        assert np.array_equal(value, found["2-1"][name]), name


@pytest.mark.parametrize("count", shards_script.COUNTS)
@pytest.mark.parametrize("name", shards_script.HELD)
def test_the_processes_hold_what_the_plan_says(name: str, count: int, found: Found, tmp_path: Path):
    case = shards_script.CASES[name]
    tiny_model("llama", tied=case.tied).config.save_pretrained(tmp_path)
    lora = None if case.lora is None else {"rank": case.lora.rank}
    dtype = str(case.dtype).removeprefix("torch.")
    config = make_config({"loss": {"name": "kto"}, "model": {"name": str(tmp_path), "lora": lora, "dtype": dtype}})
    plan = plan_shared(config, processes=count, gpu_memory=10**9, shard=False)
    parts = plan.whole if count == 1 else plan.shards
    assert parts is not None
    held = {name: parts.get(name, 0) for name in ("gradients", "optimizer", "reference")}
    held["weights and trained copy"] = parts["weights"] + parts["trained copy (float32)"]
    processes = [found[f"{count}-{index}"] for index in range(count)]
    for part, planned in held.items():
        counted = [int(process[f"held, {name}: {part}"]) for process in processes]
        # In all it is exact. A weight whose rows do not come out even leaves some processes up to one row more.
        assert sum(counted) == pytest.approx(count * planned, abs=2 * count), part
        assert counted == pytest.approx([planned] * count, rel=0.1, abs=64), part


@pytest.mark.parametrize(
    ("kind", "why"),
    [("zamba", "several of its layers share weights"), ("phi3", "long sequences go through it one by one")],
)
def test_what_cannot_be_cut_is_refused_by_name(kind: str, why: str):
    scorer, _ = make_scorer(tiny_architecture(kind))

    with pytest.raises(ConfigError, match=f"{why}.*set train.shard=off"):
        check_shardable(scorer)


def test_weights_of_two_dtypes_are_refused():
    policy = make_policy(tiny_model("llama", dtype=torch.bfloat16), lora=LoRA(rank=4), reference=True, seed=0)
    policy.scorer.model.model.norm.weight.data = policy.scorer.model.model.norm.weight.data.float()

    with pytest.raises(ConfigError, match="another dtype"):
        check_shardable(policy.scorer)

"""A part of what training changed is taken back where the policy falls apart with all of it."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor

from haloes.errors import RunError
from haloes.models.adapters import LoRA
from haloes.models.policy import Policy
from haloes.training.job import TrainResult
from haloes.training.optimizer import make_masters
from haloes.training.settings import TrainSettings
from haloes.training.take_back import Change
from haloes.training.trainer import train
from training_jobs import LOSSES, make_job, make_store, policy_for

LOSS = LOSSES["kto"]
SETTINGS = TrainSettings(lr=1e-2, batch_size=4, epochs=1, checkpoint_every=1)


def weights_of(policy: Policy) -> dict[str, Tensor]:
    return {name: weight.detach().clone() for name, weight in policy.trainable().items()}


def answering(*answers: bool) -> Callable[[], bool]:
    """Return what says whether the policy falls apart, with these answers one after the other."""
    left = iter(answers)
    return lambda: next(left)


ALL = None
"""No adapters: all weights are trained."""


@pytest.mark.parametrize("lora", [LoRA(rank=2), ALL], ids=["adapters", "all weights"])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_weights_lie_on_the_line_between_those_before_and_those_after(
    dtype: torch.dtype, lora: LoRA | None, tmp_path: Path
):
    policy = policy_for(LOSS, lora=lora, dtype=dtype)
    masters = make_masters(policy.trainable())
    before = {name: weight.detach().clone() for name, weight in masters.weights.items()}
    change = Change(masters, tmp_path)
    with torch.no_grad():
        for weight in masters.weights.values():
            weight.add_(4.0)
    masters.publish()
    whole = weights_of(policy)

    for share in (0.75, 0.25):
        change.keep(share)
        for name, weight in policy.trainable().items():
            torch.testing.assert_close(masters.weights[name].detach(), before[name] + 4 * share)
            torch.testing.assert_close(weight.detach(), (before[name] + 4 * share).to(dtype))
    change.keep(1.0)
    assert all(torch.equal(weight, whole[name]) for name, weight in policy.trainable().items())
    masters.release()


def test_between_bfloat16_weights_the_line_is_in_float32(tmp_path: Path):
    # A change too small for bfloat16 to show: the model's weights before and after are the same, and those between.
    policy = policy_for(LOSS, dtype=torch.bfloat16)
    masters = make_masters(policy.trainable())
    name, weight = next(iter(masters.weights.items()))
    before = weight.clone()
    change = Change(masters, tmp_path)
    weight.mul_(1 + 2.0**-12)
    masters.publish()

    change.keep(0.5)
    torch.testing.assert_close(weight, before * (1 + 2.0**-13), rtol=1e-7, atol=0)
    assert torch.equal(policy.trainable()[name], before.to(torch.bfloat16))
    masters.release()


def test_tied_weights_stay_one(tmp_path: Path):
    policy = policy_for(LOSS)
    model = policy.scorer.model
    assert model.config.tie_word_embeddings
    masters = make_masters(policy.trainable())
    change = Change(masters, tmp_path)
    before = model.lm_head.weight.detach().clone()
    with torch.no_grad():
        model.lm_head.weight.add_(1.0)

    change.keep(0.5)
    assert model.lm_head.weight is model.get_input_embeddings().weight
    torch.testing.assert_close(model.lm_head.weight.detach(), before + 0.5)
    masters.release()


def test_a_disk_without_room_for_the_weights_is_told_before_the_first_step(tmp_path: Path):
    in_the_way = tmp_path / "file"
    in_the_way.write_text("")
    masters = make_masters(policy_for(LOSS).trainable())

    with pytest.raises(RunError, match=r"a copy of the weights \(.* GiB\) cannot be written to .*repeats_budget=null"):
        Change(masters, in_the_way)
    masters.release()


def trained(
    folder: Path,
    falls_apart: Callable[[], bool] | None,
    *,
    lora: LoRA | None,
    dtype: torch.dtype = torch.float32,
    resumed: bool = False,
) -> tuple[TrainResult, Policy]:
    policy = policy_for(LOSS, lora=lora, dtype=dtype)
    names = ("again", "again-held") if resumed else ("train", "held")
    store, held_out = make_store(folder / names[0], LOSS, 16), make_store(folder / names[1], LOSS, 8, seed=1)
    job = make_job(
        folder / "run",
        LOSS,
        train=store,
        policy=policy,
        validation=held_out,
        settings=SETTINGS,
        falls_apart=falls_apart,
    )
    return train(job), policy


HOW = pytest.mark.parametrize(
    "how",
    [{"lora": LoRA(rank=2)}, {"lora": ALL}, {"lora": ALL, "dtype": torch.bfloat16}],
    ids=["adapters", "all weights", "all weights in bfloat16"],
)


@HOW
def test_as_little_is_taken_back_as_helps_and_the_result_is_validated_with_what_is_left(
    how: dict[str, Any], tmp_path: Path
):
    whole, end = trained(tmp_path / "whole", None, **how)
    result, policy = trained(tmp_path / "part", answering(True, True, False), **how)

    before, after = weights_of(policy_for(LOSS, **how)), weights_of(end)
    assert (whole.kept_share, result.kept_share) == (1.0, 0.75)
    for name, weight in policy.trainable().items():
        torch.testing.assert_close(weight.detach(), torch.lerp(before[name], after[name], 0.75))
    assert whole.validation is not None
    assert result.validation is not None
    log_ratios = [v.log_ratio for v in (whole.validation, result.validation)]
    assert log_ratios[0] is not None
    assert log_ratios[1] is not None
    assert 0 < abs(log_ratios[1]).sum() < abs(log_ratios[0]).sum()


@HOW
@pytest.mark.parametrize("answers", [(False,), (True,) * 8], ids=["sound", "no part of it is sound"])
def test_else_all_of_the_change_stays_to_the_bit(answers: tuple[bool, ...], how: dict[str, Any], tmp_path: Path):
    _, end = trained(tmp_path / "whole", None, **how)
    result, policy = trained(tmp_path / "part", answering(*answers), **how)

    after = weights_of(end)
    assert result.kept_share == 1.0
    assert all(torch.equal(weight, after[name]) for name, weight in policy.trainable().items())


@HOW
def test_the_checkpoint_has_all_of_the_change_from_which_a_resumed_run_takes_back_the_same(
    how: dict[str, Any], tmp_path: Path
):
    _, first = trained(tmp_path, answering(True, False), **how)
    _, end = trained(tmp_path / "whole", None, **how)
    saved = load_file(max((tmp_path / "run" / "checkpoints").iterdir()) / "weights.safetensors")

    again, policy = trained(tmp_path, answering(True, False), resumed=True, **how)

    assert again.kept_share == 0.875
    for name, weight in policy.trainable().items():
        assert torch.equal(saved[name].to(weight.dtype), weights_of(end)[name])
        assert torch.equal(weight, first.trainable()[name])

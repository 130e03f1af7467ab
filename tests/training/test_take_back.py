"""A part of what training changed is taken back where the policy falls apart with all of it."""

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor

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


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_weights_lie_on_the_line_between_those_before_and_those_after(dtype: torch.dtype):
    policy = policy_for(LOSS, lora=LoRA(rank=2), dtype=dtype)
    masters = make_masters(policy.trainable())
    before = {name: weight.detach().clone() for name, weight in masters.weights.items()}
    change = Change(masters)
    with torch.no_grad():
        for weight in masters.weights.values():
            weight.add_(4.0)
    masters.publish()
    whole = weights_of(policy)
    change.end()

    change.keep(0.25)
    for name, weight in policy.trainable().items():
        torch.testing.assert_close(weight.detach(), (before[name] + 1).to(dtype))
    change.keep(1.0)
    assert all(torch.equal(weight, whole[name]) for name, weight in policy.trainable().items())
    masters.release()


def trained(
    folder: Path, falls_apart: Callable[[], bool] | None, *, resumed: bool = False
) -> tuple[TrainResult, Policy]:
    policy = policy_for(LOSS, lora=LoRA(rank=2))
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


def test_as_little_is_taken_back_as_helps_and_the_result_is_validated_with_what_is_left(tmp_path: Path):
    whole, end = trained(tmp_path / "whole", None)
    result, policy = trained(tmp_path / "part", answering(True, True, False))

    before, after = weights_of(policy_for(LOSS, lora=LoRA(rank=2))), weights_of(end)
    assert (whole.kept_share, result.kept_share) == (1.0, 0.75)
    for name, weight in policy.trainable().items():
        torch.testing.assert_close(weight.detach(), torch.lerp(before[name], after[name], 0.75))
    assert whole.validation is not None
    assert result.validation is not None
    log_ratios = [v.log_ratio for v in (whole.validation, result.validation)]
    assert log_ratios[0] is not None
    assert log_ratios[1] is not None
    assert 0 < abs(log_ratios[1]).sum() < abs(log_ratios[0]).sum()


@pytest.mark.parametrize("answers", [(False,), (True,) * 8], ids=["sound", "no part of it is sound"])
def test_else_all_of_the_change_stays_to_the_bit(answers: tuple[bool, ...], tmp_path: Path):
    _, end = trained(tmp_path / "whole", None)
    result, policy = trained(tmp_path / "part", answering(*answers))

    after = weights_of(end)
    assert result.kept_share == 1.0
    assert all(torch.equal(weight, after[name]) for name, weight in policy.trainable().items())


def test_the_checkpoint_has_all_of_the_change_from_which_a_resumed_run_takes_back_the_same(tmp_path: Path):
    _, first = trained(tmp_path, answering(True, False))
    _, end = trained(tmp_path / "whole", None)
    saved = load_file(max((tmp_path / "run" / "checkpoints").iterdir()) / "weights.safetensors")

    again, policy = trained(tmp_path, answering(True, False), resumed=True)

    assert again.kept_share == 0.875
    for name, weight in policy.trainable().items():
        assert torch.equal(saved[name], weights_of(end)[name])
        assert torch.equal(weight, first.trainable()[name])

"""What a run remembers between steps: the mean reward, and a reference that follows the policy."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from haloes.batches.schedule import Step
from haloes.errors import ConfigError, RunError
from haloes.losses._contract import Needs
from haloes.losses.bco import BCO
from haloes.losses.humanline import Humanline
from haloes.losses.kto import KTO
from haloes.models.adapters import LoRA
from haloes.models.policy import Policy
from haloes.models.references import SyncedReference
from haloes.training.loss_state import LossState
from haloes.training.step_table import Table
from training_jobs import disturb, policy_for

NEEDS = Needs(reference=True, running_reward=True)


def table(log_ratio: list[float] | None) -> Table:
    n = 1 if log_ratio is None else len(log_ratio)
    return Table(
        step=Step(0, 0, np.arange(n), np.empty(0, np.int64)),
        sequences=np.arange(n),
        weight=np.full(n, 1 / n),
        loss=np.zeros(n),
        metrics={},
        logp=np.zeros(n),
        log_ratio=None if log_ratio is None else np.array(log_ratio),
        mismatched=None,
    )


@pytest.fixture(scope="module")
def policy() -> Policy:
    return policy_for(BCO())


def synced(policy: Policy) -> dict[str, Tensor]:
    assert isinstance(policy.reference, SyncedReference)
    return {name: weight.clone() for name, weight in policy.reference.state().items()}


def weights(policy: Policy) -> dict[str, Tensor]:
    return {name: weight.detach().clone() for name, weight in policy.trainable().items()}


def same(one: dict[str, Tensor], other: dict[str, Tensor]) -> bool:
    return one.keys() == other.keys() and all(torch.equal(one[name], other[name]) for name in one)


# -- the mean reward -------------------------------------------------------------------------------------------------


def test_before_the_first_step_the_mean_reward_is_zero(policy: Policy):
    assert LossState(NEEDS, policy).running_reward == 0.0


def test_it_is_the_mean_over_all_sequences_of_all_steps(policy: Policy):
    memory = LossState(NEEDS, policy)

    memory.update(table([1.0, 3.0]), step=1)
    assert memory.running_reward == 2.0
    memory.update(table([8.0]), step=2)
    assert memory.running_reward == 4.0  # (1 + 3 + 8) / 3, and not the mean of 2 and 8
    memory.update(table([-20.0]), step=3)
    assert memory.running_reward == -2.0


def test_a_loss_without_a_reference_has_no_reward_to_remember(policy: Policy):
    memory = LossState(Needs(), policy)

    memory.update(table(None), step=1)

    assert memory.running_reward == 0.0


def test_it_goes_on_from_what_was_saved_to_the_bit(policy: Policy, tmp_path: Path):
    rng = np.random.default_rng(0)
    steps = [table(rng.normal(size=5).tolist()) for _ in range(6)]
    whole, first, second = (LossState(NEEDS, policy) for _ in range(3))
    for step, found in enumerate(steps, start=1):
        whole.update(found, step=step)
    for step, found in enumerate(steps[:3], start=1):
        first.update(found, step=step)
    save_file(first.state(), tmp_path / "memory.safetensors")
    second.restore(load_file(tmp_path / "memory.safetensors"))
    assert second.running_reward == first.running_reward
    for step, found in enumerate(steps[3:], start=4):
        second.update(found, step=step)

    assert second.running_reward == whole.running_reward


def test_a_reference_that_does_not_move_is_not_saved(policy: Policy):
    assert set(LossState(NEEDS, policy).state()) == {"running_reward"}


# -- the reference that follows --------------------------------------------------------------------------------------


def humanline(every: int) -> Any:
    return Humanline(loss=KTO(), every=every)


@pytest.mark.parametrize("lora", [LoRA(rank=4), None], ids=["lora", "full"])
@pytest.mark.parametrize("every", [1, 2, 3])
def test_the_reference_becomes_the_policy_after_every_so_many_steps(every: int, lora: LoRA | None):
    loss = humanline(every)
    policy = policy_for(loss, lora=lora)
    memory = LossState(loss.needs, policy)
    expected = weights(policy)

    for step in range(1, 7):
        disturb(policy, seed=step)
        memory.update(table([0.0]), step=step)
        if step % every == 0:
            expected = weights(policy)
        assert same(synced(policy), expected), step


def test_it_goes_on_with_the_reference_that_was_saved(tmp_path: Path):
    loss = humanline(2)
    policy = policy_for(loss)
    memory = LossState(loss.needs, policy)
    for step in (1, 2, 3):
        disturb(policy, seed=step)
        memory.update(table([1.0]), step=step)
    save_file(memory.state(), tmp_path / "memory.safetensors")

    other = policy_for(loss)
    resumed = LossState(loss.needs, other)
    resumed.restore(load_file(tmp_path / "memory.safetensors"))

    assert resumed.running_reward == 1.0
    assert same(synced(other), synced(policy))
    assert not same(synced(other), weights(policy))  # that of step 2, and the policy is that of step 3
    assert same(weights(other), weights(policy_for(loss)))


def test_a_policy_whose_reference_cannot_move_is_refused(policy: Policy):
    with pytest.raises(ConfigError, match="this loss syncs its reference with the policy; make the policy with synced"):
        LossState(humanline(2).needs, policy)


def test_a_memory_without_the_reference_of_this_run_is_refused(policy: Policy):
    loss = humanline(2)
    moving = LossState(loss.needs, policy_for(loss))

    with pytest.raises(RunError, match="the checkpoint holds another reference than this run's; start a new run"):
        moving.restore(LossState(NEEDS, policy).state())
    with pytest.raises(RunError, match="holds another reference"):
        moving.restore(LossState(loss.needs, policy_for(loss, lora=LoRA(rank=4))).state())


def test_a_reference_that_is_synced_before_the_update_stays_one_step_behind():
    needs = Humanline(loss=KTO(), every=1, before_update=True).needs
    policy = policy_for(Humanline(loss=KTO()))
    state = LossState(needs, policy)
    disturb(policy, seed=1)
    first = {name: weight.clone() for name, weight in policy.trainable().items()}

    state.before_update(step=1)
    disturb(policy, seed=2)
    state.update(table([0.5]), step=1)

    assert all(torch.equal(synced(policy)[name], weight) for name, weight in first.items())
    assert not all(torch.equal(first[name], weight) for name, weight in policy.trainable().items())

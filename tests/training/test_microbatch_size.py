"""How many tokens go through the model together follows from the memory that is there."""

from pathlib import Path

import pytest
import torch

from fakes import tiny_model
from haloes.models.activation_memory import activation_bytes
from haloes.models.adapters import LoRA
from haloes.models.lm_head import CHUNK_BYTES
from haloes.models.policy import Policy, make_policy
from haloes.training.microbatch_size import MAX_TOKENS, MIN_TOKENS, bytes_in_use, choose_budget, free_memory
from haloes.training.settings import TrainSettings

CPU = torch.device("cpu")
PLENTY = 2**40
CHUNKS = 2 * CHUNK_BYTES


def policy_of(*, lora: LoRA | None = None, dtype: torch.dtype = torch.float32) -> Policy:
    return make_policy(tiny_model(dtype=dtype), lora=lora, reference=True, seed=0)


def trained(policy: Policy) -> int:
    return sum(weight.numel() for weight in policy.trainable().values())


def test_what_the_settings_say_holds_whatever_there_is():
    assert choose_budget(policy_of(), TrainSettings(microbatch_tokens=77), free=0) == 77


def test_with_plenty_it_is_what_pays():
    assert choose_budget(policy_of(), TrainSettings(), free=PLENTY) == MAX_TOKENS["cpu"] == 1024


def test_with_next_to_nothing_it_is_the_least():
    assert choose_budget(policy_of(), TrainSettings(), free=0) == MIN_TOKENS


@pytest.mark.parametrize(
    ("settings", "dtype", "later"),
    [
        (TrainSettings(), torch.float32, 4 + 8),
        (TrainSettings(optimizer="rmsprop"), torch.float32, 4 + 4),
        (TrainSettings(), torch.bfloat16, 4 + 4 + 8),
    ],
    ids=["AdamW", "RMSprop", "bfloat16"],
)
def test_it_is_what_gradients_moments_and_float32_weights_leave_over(
    settings: TrainSettings, dtype: torch.dtype, later: int
):
    policy = policy_of(dtype=dtype)
    room = 2.0 * activation_bytes(policy) * 512

    free = (CHUNKS + later * trained(policy) + room) / 0.9
    assert choose_budget(policy, settings, free=int(free) + 10) == 512
    assert choose_budget(policy, settings, free=int(free * 0.99)) < 512


def test_adapters_leave_more_room_than_all_weights(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("haloes.training.microbatch_size.activation_bytes", lambda _: 100.0)
    full, adapters = policy_of(), policy_of(lora=LoRA(rank=2))
    free = int((CHUNKS + 12 * trained(full) + 2 * 100 * 256) / 0.9) + 10

    assert choose_budget(full, TrainSettings(), free=free) == 256
    assert choose_budget(adapters, TrainSettings(), free=free) == 1024


def test_with_checkpointing_more_tokens_fit():
    policy = policy_of()
    free = int((CHUNKS + 12 * trained(policy) + 2 * activation_bytes(policy) * 256) / 0.9) + 10

    plain = choose_budget(policy, TrainSettings(), free=free)
    assert plain == 256
    assert choose_budget(policy, TrainSettings(gradient_checkpointing=True), free=free) > plain


def test_what_is_held_counts_as_free_for_the_run():
    assert free_memory(CPU) > bytes_in_use(CPU)


def test_a_containers_limit_counts(monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    limit = tmp_path / "memory.max"
    limit.write_text("12345\n")
    monkeypatch.setattr("haloes.training.microbatch_size._CGROUP", limit)
    assert free_memory(CPU) == 12345

    limit.write_text("max\n")
    assert free_memory(CPU) > 12345

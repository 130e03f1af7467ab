"""A row past the length at which positions change leaves the rows beside it what they are."""

from pathlib import Path
from typing import Any

import pytest
import torch

from fakes import tiny_model
from haloes.losses.kto import KTO
from haloes.models.adapters import LoRA
from haloes.models.layout import make_packed
from haloes.models.own_logits import own_distributions
from haloes.models.policy import make_policy
from haloes.training.settings import TrainSettings
from haloes.training.trainer import train
from length_dependent import DYNAMIC, LONGROPE
from tiny_runs import rows_of
from training_jobs import Row, make_job, write_store

KINDS: dict[str, dict[str, Any]] = {
    "phi3": {
        "rope_parameters": LONGROPE,
        "max_position_embeddings": 256,
        "original_max_position_embeddings": 64,
        "pad_token_id": 1,
    },
    "llama longrope": {"rope_parameters": LONGROPE, "max_position_embeddings": 256},
    "llama dynamic": {"rope_parameters": DYNAMIC, "max_position_embeddings": 40},
}


def model_of(kind: str) -> Any:
    fields = KINDS[kind]
    if kind == "phi3":
        from tiny_architectures import tiny_architecture

        return tiny_architecture("phi3", **fields)
    return tiny_model("llama", **fields)


@pytest.mark.parametrize("kind", KINDS)
def test_each_sequence_is_scored_as_the_model_scores_it_alone(kind: str):
    model = model_of(kind)
    policy = make_policy(model, lora=LoRA(rank=2), reference=True, seed=0)
    generator = torch.Generator().manual_seed(0)
    rows = [torch.randint(2, 250, (n,), generator=generator, dtype=torch.int32).numpy() for n in (12, 90, 70, 41, 7)]
    packed = make_packed([(ids[:3], ids[3:], ids[3:] >= 0) for ids in rows], model.device)

    with torch.no_grad():
        found = torch.split(policy.token_logps(packed), packed.trained)

    for ids, logp in zip(rows, found, strict=True):
        whole = torch.from_numpy(ids).long()
        own = own_distributions(model, whole[:-1])
        expected = own.gather(1, whole[1:, None]).squeeze(1)[2:]
        torch.testing.assert_close(logp, expected, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("budget", [64, 4096])
@pytest.mark.parametrize("lora", [LoRA(rank=4), None], ids=["lora", "full"])
def test_the_first_loss_is_a_half_whatever_the_micro_batches(kind: str, budget: int, lora: LoRA | None, tmp_path: Path):
    # The long completions stand under short prompts too, as the mismatched ones of their neighbours.
    rows = [
        Row(f"prompt {i}: ", "a short one" if i % 2 else "a long one, past where positions change " * 3, i % 3 > 0, i)
        for i in range(8)
    ]
    store = write_store(tmp_path / "rows", rows, max_length=256)
    policy = make_policy(model_of(kind), lora=lora, reference=True, seed=0)
    settings = TrainSettings(lr=1e-2, batch_size=8, epochs=1, microbatch_tokens=budget)

    train(make_job(tmp_path / "run", KTO(), train=store, policy=policy, settings=settings), [])

    assert rows_of(tmp_path / "run" / "metrics.jsonl")[0]["loss"] == pytest.approx(0.5, abs=1e-6)

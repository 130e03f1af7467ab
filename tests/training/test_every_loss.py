"""Every loss of the table trains: twenty steps on a tiny model, with LoRA and with full tuning."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.torch import load_file

from fakes import IM_START_ID, tiny_model
from haloes.losses._contract import Loss
from haloes.losses.bradley_terry import BradleyTerry
from haloes.losses.dpo import DPO
from haloes.losses.humanline import Humanline
from haloes.losses.kto import KTO
from haloes.losses.mixture import Mixture
from haloes.losses.sft import SFT
from haloes.losses.table import LOSSES
from haloes.models.adapters import LoRA
from haloes.models.policy import make_policy
from haloes.training.metrics_log import read_metrics
from haloes.training.settings import TrainSettings
from haloes.training.trainer import train
from training_jobs import make_job, make_store

ROWS, STEPS = 6, 20

EVERY: dict[str, Loss[Any]] = {name: make() for name, make in LOSSES.items()} | {
    "mixture of kto and sft": Mixture(losses=(KTO(), SFT()), weights=(1.0, 0.01)),
    "bradley-terry with margins": BradleyTerry(margin=0.5, center=0.01),
    "humanline of dpo": Humanline(loss=DPO(), log_low=-0.5, log_high=0.5, every=3),
}


@pytest.mark.parametrize("lora", [LoRA(rank=4, targets=["q_proj", "down_proj"]), None], ids=["lora", "full"])
@pytest.mark.parametrize("name", list(EVERY))
def test_it_trains(name: str, lora: LoRA | None, tmp_path: Path):
    loss = EVERY[name]
    needs = loss.needs
    policy = make_policy(
        # Random models have zeros for the embedding of padding; the end of a turn shall have something to say.
        tiny_model(num_hidden_layers=1, pad_token_id=IM_START_ID),
        lora=lora,
        reference=needs.any_reference,
        seed=0,
        synced=needs.sync_every is not None,
        values=needs.values,
        rewards=needs.rewards,
    )
    before = {name: weight.detach().clone() for name, weight in policy.trainable().items()}
    # A step holds all rows, so that the loss of one can be compared with that of another.
    settings = TrainSettings(lr=2e-3, batch_size=ROWS, epochs=STEPS, schedule="constant", checkpoint_every=STEPS)
    job = make_job(
        tmp_path / "run", loss, train=make_store(tmp_path / "data", loss, ROWS), policy=policy, settings=settings
    )

    train(job)

    lines = read_metrics(job.run_dir / "metrics.jsonl")
    losses = [line["loss"] for line in lines]
    assert len(lines) == STEPS
    assert all(np.isfinite(number) for line in lines for number in line.values() if not isinstance(number, str))
    assert all(line["grad_norm"] > 0 for line in lines[:3])  # later a loss may be done, such as a hinge
    assert losses[-1] < losses[0]
    moved = [name for name, weight in policy.trainable().items() if bool((weight != before[name]).any())]
    assert moved == list(before)
    saved = load_file(next((job.run_dir / "checkpoints").iterdir()) / "weights.safetensors")
    assert saved.keys() == before.keys()

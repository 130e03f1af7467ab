"""What the tests of checkpoints share: two weights after some steps, and what a checkpoint keeps of them."""

from pathlib import Path
from typing import Any

import torch

from haloes.training.optimizer import Masters, make_masters, make_optimizer
from haloes.training.save_checkpoint import Snapshot, snapshot
from haloes.training.settings import TrainSettings

STATE = {"running_reward": torch.tensor([1.5, 3.0], dtype=torch.float64)}
IDENTITY = {"data": "d", "configuration": "c"}


def make(
    *, steps: int = 0, dtype: torch.dtype = torch.bfloat16, optimizer: Any = "adamw", size: int = 3
) -> tuple[Masters, torch.optim.Optimizer]:
    """Two weights after some steps of an optimizer."""
    generator = torch.Generator().manual_seed(0)
    shapes = {"a.lora_A": (size, 2), "b": (5,)}
    parameters = {
        name: torch.nn.Parameter(torch.randn(shape, generator=generator).to(dtype)) for name, shape in shapes.items()
    }
    masters = make_masters(parameters)
    made = make_optimizer(masters, TrainSettings(optimizer=optimizer, lr=0.01))
    take_steps(masters, made, steps)
    return masters, made


def take_steps(masters: Masters, optimizer: torch.optim.Optimizer, steps: int) -> None:
    for step in range(steps):
        for i, weight in enumerate(masters.parameters.values()):
            (weight * (i + step + 1.5)).sum().backward()
        optimizer.step()
        masters.publish()
        masters.zero_grad()


def taken(step: int, masters: Masters, optimizer: torch.optim.Optimizer) -> Snapshot:
    return snapshot(
        step=step,
        masters=masters,
        optimizer=optimizer,
        loss_state=STATE,
        identity=IDENTITY,
        metrics=b'{"step": 1, "split": "train"}\n',
    )


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def weights(masters: Masters) -> list[list[float]]:
    tensors = [*masters.weights.values(), *masters.parameters.values()]
    return [tensor.detach().flatten().tolist() for tensor in tensors]

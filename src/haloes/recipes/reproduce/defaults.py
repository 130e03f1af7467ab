"""Settings of the small experiments: what two cores without an accelerator do within an hour."""

from collections.abc import Mapping
from typing import Any

from haloes.runs.config import RunConfig, make_config


def experiment_config(source: str, *overrides: Mapping[str, Any]) -> RunConfig:
    """
    Feedback, model and training settings that all runs of an experiment share.

    The adapters are on the upper third of the embedded model's blocks, where the backward pass ends. The constant
    learning rate after a short warm-up leaves the comparison one dial less.
    """
    return make_config(
        {
            "feedback": {"source": source},
            "tokens": {"max_length": 512},
            "model": {"name": "embedded", "lora": {"rank": 16, "alpha": 32.0, "layers": list(range(20, 30))}},
            "train": {"batch_size": 16, "epochs": 1.0, "checkpoint_every": 1_000_000},
        },
        *overrides,
    )

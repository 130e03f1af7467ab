"""The demo: a small model learns not to open its answers as an encyclopedia does, from someone who dislikes that."""

from collections.abc import Mapping
from importlib.resources import files
from typing import Any

from haloes.runs.config import RunConfig
from haloes.runs.config_layers import make_config
from haloes.runs.go_on import refuse_init


def demo_config(*overrides: Mapping[str, Any]) -> RunConfig:
    """Return KTO on the shipped feedback, with 100 held-out prompts answered and rated before and after."""
    place = files("haloes.recipes.demo")
    config = make_config(
        {
            "feedback": {
                "source": str(place / "feedback.jsonl"),
                "validation": str(place / "validation.jsonl"),
                "validation_rows": 48,
            },
            "tokens": {"max_length": 512},
            # The upper third of the blocks: the backward pass ends there, and two slow cores have three minutes.
            "model": {"name": "embedded", "lora": {"rank": 16, "alpha": 32.0, "layers": list(range(20, 30))}},
            # The embedded model is aligned already, for which the paper has beta from 0.1 to 0.5: at 0.5 an answer that
            # has moved a few nats is left alone. 179 answers are liked and 121 are not: equal weights are within the
            # paper's range (eq. 9: 1 to 1.5 times as much for the liked).
            "loss": {"name": "kto", "beta": 0.5, "desirable_weight": 1.0, "undesirable_weight": 1.0},
            # Ten steps, the fewest that no run calls few: two slow cores without bfloat16 have two minutes for them.
            # One or two of a hundred answers of so small a model go in circles by chance: no reason to take much back.
            "train": {"lr": 1e-3, "batch_size": 16, "epochs": 0.5, "repeats_budget": 0.03, "checkpoint_every": 10},
            "samples": {
                "prompts": 100,
                "max_new_tokens": 48,
                "batch_size": 50,
                "rater": "haloes.recipes.demo.rule:rate",
            },
        },
        *overrides,
    )
    refuse_init(config.model, where="haloes demo")
    return config

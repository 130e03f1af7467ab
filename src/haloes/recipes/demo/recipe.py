"""The demo: a small model learns to answer directly, completely and briefly, from someone who likes that."""

from collections.abc import Mapping
from importlib.resources import files
from typing import Any

from haloes.runs.config import RunConfig, make_config


def demo_config(*overrides: Mapping[str, Any]) -> RunConfig:
    """Return KTO on the shipped feedback, with 100 held-out prompts answered and rated before and after."""
    place = files("haloes.recipes.demo")
    return make_config(
        {
            "feedback": {
                "source": str(place / "feedback.jsonl"),
                "validation": str(place / "validation.jsonl"),
                "validation_rows": 32,
            },
            "tokens": {"max_length": 512},
            # The upper third of the blocks: the backward pass ends there, and two slow cores have four minutes.
            "model": {"name": "embedded", "lora": {"rank": 16, "alpha": 32.0, "layers": list(range(20, 30))}},
            "train": {"lr": 7e-4, "batch_size": 16, "epochs": 0.7, "checkpoint_every": 10},
            "samples": {
                "prompts": 100,
                "max_new_tokens": 64,
                "batch_size": 50,
                "rater": "haloes.recipes.demo.rule:rate",
            },
        },
        *overrides,
    )

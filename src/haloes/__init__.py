"""
haloes: align language models with human feedback, and measure whether it helped.

    import haloes

    run = haloes.train(feedback="thumbs.jsonl", model="embedded", loss=haloes.KTO(beta=0.1), out="runs/first")

The names below are imported when they are first used, so that `import haloes` takes no time.
"""

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from haloes.errors import ConfigError, DataError, MissingInputError, ModelError, RunError, UserError
    from haloes.feedback.read import FeedbackSource
    from haloes.losses._contract import Loss, LossOutput, Needs, Paired, Unpaired
    from haloes.losses.dpo import DPO
    from haloes.losses.kto import KTO
    from haloes.losses.sft import SFT
    from haloes.recipes.align import Run
    from haloes.recipes.api import train
    from haloes.recipes.export import export_model
    from haloes.records import Completion, Feedback, Message, Pair, Score
    from haloes.training.trainer import Interrupted

__all__ = [
    "DPO",
    "KTO",
    "SFT",
    "Completion",
    "ConfigError",
    "DataError",
    "Feedback",
    "FeedbackSource",
    "Interrupted",
    "Loss",
    "LossOutput",
    "Message",
    "MissingInputError",
    "ModelError",
    "Needs",
    "Pair",
    "Paired",
    "Run",
    "RunError",
    "Score",
    "Unpaired",
    "UserError",
    "export_model",
    "train",
]

_HOMES = {
    "haloes.errors": ("ConfigError", "DataError", "MissingInputError", "ModelError", "RunError", "UserError"),
    "haloes.feedback.read": ("FeedbackSource",),
    "haloes.losses._contract": ("Loss", "LossOutput", "Needs", "Paired", "Unpaired"),
    "haloes.losses.dpo": ("DPO",),
    "haloes.losses.kto": ("KTO",),
    "haloes.losses.sft": ("SFT",),
    "haloes.recipes.align": ("Run",),
    "haloes.recipes.api": ("train",),
    "haloes.recipes.export": ("export_model",),
    "haloes.records": ("Completion", "Feedback", "Message", "Pair", "Score"),
    "haloes.training.trainer": ("Interrupted",),
}


def __getattr__(name: str) -> Any:
    for module, names in _HOMES.items():
        if name in names:
            return getattr(importlib.import_module(module), name)
    raise AttributeError(f"module 'haloes' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted(__all__)

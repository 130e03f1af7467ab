"""One dropout for the whole model: every dropout layer and every attention module, none left on unseen."""

from typing import Any

import torch

from haloes.errors import ConfigError

_ATTENTION_NAMES = ("attention_dropout", "dropout_p")


def set_dropout(model: Any, probability: float) -> None:
    """
    Set every dropout in the model to this probability.

    Peers switch some of it off and leave the rest on (TRAPS 17); here the one setting is what holds everywhere.
    Raises ConfigError when it is not in [0, 1).
    """
    if not 0 <= probability < 1:
        raise ConfigError(f"train.dropout must be at least 0 and below 1, got {probability}")
    for module in model.modules():
        if isinstance(module, torch.nn.Dropout):
            module.p = probability
        for name in _ATTENTION_NAMES:
            if isinstance(getattr(module, name, None), float):
                setattr(module, name, probability)

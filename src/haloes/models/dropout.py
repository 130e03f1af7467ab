"""One dropout for the whole model: dropout layers, numbers that modules hand on, adapters; none left on unseen."""

from typing import Any

import torch

from haloes.errors import ConfigError


def set_dropout(model: Any, probability: float) -> None:
    """
    Set every dropout in the model to this probability, that on the way into its adapters included.

    Peers switch some of it off and leave the rest on; here the one setting is what holds everywhere. Attention modules
    and some others keep a probability as a number (`attention_dropout`, `hidden_dropout` ...) and no layer. Raises
    ConfigError when it is not in [0, 1).
    """
    if not 0 <= probability < 1:
        raise ConfigError(f"train.dropout must be at least 0 and below 1, got {probability}")
    for module in list(model.modules()):
        if isinstance(module, torch.nn.Dropout):
            module.p = probability
        for name, value in list(vars(module).items()):
            if type(value) not in {int, float}:
                continue
            if "dropout" in name or "pdrop" in name:
                setattr(module, name, probability)
            elif "layerdrop" in name or "jitter" in name:
                # Layers left out and noise on what a router reads: chance of another kind, under which the policy
                # would not be its reference.
                setattr(module, name, 0.0)
        adapters = getattr(module, "lora_dropout", None)
        if isinstance(adapters, torch.nn.ModuleDict):
            # peft puts an identity there when it is made without dropout.
            adapters.update({name: torch.nn.Dropout(probability) for name in adapters})

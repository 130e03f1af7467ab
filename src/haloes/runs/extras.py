"""Settings that need a further package, or a GPU: refused before any time is spent where they cannot take effect."""

import torch

from haloes.models.liger import check_liger
from haloes.models.offload import check_offload
from haloes.models.quantize import check_quantization
from haloes.runs.config import RunConfig
from haloes.training.optimizer import check_optimizer


def check_extras(config: RunConfig, device: torch.device) -> None:
    """Raise ConfigError for the first setting that this machine cannot carry out, with what to install or change."""
    if config.model.quantize is not None:
        check_quantization(device)
    if config.model.liger:
        check_liger(device)
    if config.train.activation_offload:
        check_offload(device)
    check_optimizer(config.train, device)

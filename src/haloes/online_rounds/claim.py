"""Whose the folder of an experiment is: a new one, or one that is gone on with."""

import dataclasses
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from haloes.models.device import choose_device, choose_dtype
from haloes.online_rounds.critics import Critic
from haloes.online_rounds.settings import OnlineSettings
from haloes.records import Text, text_to_json
from haloes.runs import run_folder as folder
from haloes.runs.config import RunConfig
from haloes.runs.experiment import claim_experiment, known_experiment
from haloes.runs.inputs import digest

EXPERIMENT = "online.json"
_FREE = {"rounds", "batch_size"}
"""Settings that may be others when the rounds are gone on with."""


def claim(
    out: Path,
    *,
    config: RunConfig,
    settings: OnlineSettings,
    critic: Critic,
    prompts: Mapping[str, Mapping[str, Text]],
    loss: str,
) -> RunConfig:
    """
    Make the folder, or know it again; the configuration comes back with the dtype that was found out at the beginning.

    Raises RunError where the folder holds something else, and says what is not the same.
    """
    path = out / EXPERIMENT
    known = known_experiment(path)
    dtype = known["dtype"] if known is not None and config.model.dtype == "auto" else None
    dtype = dtype or str(choose_dtype(config.model.dtype, choose_device(config.model.device))).removeprefix("torch.")
    config = _named(config, config.model.name, dtype)
    claim_experiment(
        path,
        {
            "model": config.model.name,
            "dtype": dtype,
            **{name: digest([f"{key} {text_to_json(p)}" for key, p in some.items()]) for name, some in prompts.items()},
            "critic": critic.identity,
            "configuration": digest([folder.configuration_hash(_named(config, "", "auto")), loss]),
            **{name: value for name, value in dataclasses.asdict(settings).items() if name not in _FREE},
        },
    )
    return config


def release(out: Path) -> None:
    """Remove the folder where nothing came of it: it holds no file but the claim's own."""
    if all(path.is_dir() or path == out / EXPERIMENT for path in out.rglob("*")):
        shutil.rmtree(out, ignore_errors=True)


def _named(config: RunConfig, name: str, dtype: Any) -> RunConfig:
    return dataclasses.replace(config, model=dataclasses.replace(config.model, name=name, dtype=dtype))

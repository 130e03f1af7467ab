"""Settings of online rounds, the prompts of each round, and the claim on the folder that takes them."""

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch

from haloes.errors import ConfigError, DataError
from haloes.feedback.keys import number_of, seeded_hash
from haloes.locks import LOCK, empty_held_folder
from haloes.online_rounds.labelers import Labeler
from haloes.records import Asked
from haloes.records_json import asked_to_json
from haloes.runs.auto_settings import compute_dtype, dtype_name
from haloes.runs.config import RunConfig
from haloes.runs.run_folder import claim_experiment, configuration_hash, digest, known_experiment
from haloes.sampling._contract import Decoding

Reference = Literal["previous", "fixed"]


@dataclass(frozen=True, slots=True, kw_only=True)
class OnlineSettings:
    """Settings of all rounds."""

    rounds: int = 3
    """Number of rounds, in each of which the policy answers and learns from the verdicts; it can grow later."""
    per_prompt: int = 4
    """Answers to each prompt of a round."""
    prompts_per_round: int = 64
    """Prompts of a round. The next round takes the next ones, and begins again where they are used up."""
    reference: Reference = "previous"
    """The loss's reference in each round: the model that the round began with, or the very first model (fixed), which
    takes memory for a second model."""
    decoding: Decoding = field(default_factory=lambda: Decoding(max_new_tokens=128, temperature=1.0))
    """Decoding of answers, in the rounds and on the held-out prompts."""
    seed: int = 0
    """Seed of the order of the prompts, of the draws, and of the judge."""
    batch_size: int = 32
    """Answers that are sampled at once."""

    def __post_init__(self) -> None:
        for name, least in (("rounds", 1), ("per_prompt", 1), ("prompts_per_round", 2), ("batch_size", 1)):
            if getattr(self, name) < least:
                raise ConfigError(f"online.{name} must be at least {least}, got {getattr(self, name)}")
        # All answers to a prompt would be the same one, and no verdict could tell a good from a bad one.
        if self.decoding.temperature == 0:
            raise ConfigError("online.temperature must be positive: the policy learns from answers that differ")

    def seeds(self, number: int) -> range:
        """Return the seeds of the answers in a round; every round has its own."""
        return range(self.seed + number * self.per_prompt, self.seed + (number + 1) * self.per_prompt)


def hold_out(prompts: Mapping[str, Asked], count: int, *, seed: int) -> tuple[dict[str, Asked], dict[str, Asked]]:
    """
    Divide the prompts: in the order in which the rounds take them, and `count` others to measure on, drawn by id.

    Raises:
        ConfigError: fewer than two are to be held out: there is no interval then.
        DataError: fewer than two are left.
    """
    if count < 2:  # noqa: PLR2004 - one prompt has no spread
        raise ConfigError(f"online.held_out must be at least 2, got {count}")
    names = in_order(prompts, seed=seed)
    if len(names) - count < 2:  # noqa: PLR2004 - what a reference point takes
        raise DataError(f"there are {len(names)} prompts, and {count} are to be held out; give more prompts, or fewer")
    held_out, rest = names[:count], names[count:]
    return {name: prompts[name] for name in rest}, {name: prompts[name] for name in held_out}


def in_order(prompts: Mapping[str, Asked], *, seed: int) -> list[str]:
    """Return the prompts' ids in an order that depends on them and the seed alone."""
    names = list(prompts)
    order = np.argsort(
        seeded_hash(np.array([number_of(name) for name in names], np.int64), seed=seed, purpose="online")
    )
    return [names[i] for i in order]


def of_round(names: Sequence[str], number: int, size: int) -> list[str]:
    """Return the prompts of a round, counted from 1; all of them where there are fewer than its size."""
    size = min(size, len(names))
    return [names[i % len(names)] for i in range((number - 1) * size, number * size)]


EXPERIMENT = "online.json"
_FREE = {"rounds", "batch_size"}
"""Settings that may change when the rounds are resumed: neither decides what a round's answers or training are."""


def claim(
    out: Path,
    *,
    config: RunConfig,
    device: torch.device,
    settings: OnlineSettings,
    labeler: Labeler,
    prompts: Mapping[str, Mapping[str, Asked]],
    loss: str,
) -> RunConfig:
    """
    Claim the folder for these rounds; return the configuration with the dtype in which they began.

    Raises RunError where the folder holds something else, and says what is not the same.
    """
    path = out / EXPERIMENT
    # "auto" may be another dtype on another day or machine; rounds are only comparable in one.
    known = known_experiment(path)
    earlier = None if known is None else known["dtype"]
    dtype = dtype_name(compute_dtype(config.model, device, earlier=earlier))
    config = _named(config, config.model.name, dtype)
    claim_experiment(
        path,
        {
            "model": config.model.name,
            "dtype": dtype,
            **{name: digest([f"{key} {_spelled(p)}" for key, p in asked.items()]) for name, asked in prompts.items()},
            # The name that the file has had from the start: what is resumed must be read as it was written.
            "critic": labeler.identity,
            "configuration": digest([configuration_hash(_named(config, "", "auto")), loss]),
            **{name: value for name, value in dataclasses.asdict(settings).items() if name not in _FREE},
        },
    )
    return config


def release(out: Path) -> None:
    """Empty the folder, which is held, where nothing came of it: it holds no file but the claim's own."""
    if all(path.is_dir() or path in {out / EXPERIMENT, out / LOCK} for path in out.rglob("*")):
        empty_held_folder(out)


def _named(config: RunConfig, name: str, dtype: Any) -> RunConfig:
    return dataclasses.replace(config, model=dataclasses.replace(config.model, name=name, dtype=dtype))


def _spelled(prompt: Asked) -> object:
    """Return what decides the answers to a prompt, for its digest: its words alone where nothing else belongs to it."""
    spelled = asked_to_json(prompt)
    return spelled if len(spelled) > 1 else spelled["prompt"]

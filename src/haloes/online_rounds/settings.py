"""Settings of online rounds, and which prompts belong to which round."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

import numpy as np

from haloes.errors import ConfigError, DataError
from haloes.feedback.keys import mix, number_of
from haloes.records import Text
from haloes.sampling._contract import Decoding

Reference = Literal["previous", "fixed"]


@dataclass(frozen=True, slots=True, kw_only=True)
class OnlineSettings:
    """How the rounds go."""

    rounds: int = 3
    """How often the policy answers and learns from the verdicts; a finished experiment can be given more."""
    per_prompt: int = 4
    """Answers to each prompt of a round."""
    prompts_per_round: int = 64
    """Prompts of a round. The next round takes the next ones, and begins again where they are used up."""
    reference: Reference = "previous"
    """The loss's reference in each round: the model that the round began with, or the very first model (fixed), which
    takes memory for a second model."""
    decoding: Decoding = field(default_factory=lambda: Decoding(max_new_tokens=128, temperature=1.0))
    """How answers are drawn, in the rounds and on the held-out prompts."""
    seed: int = 0
    """Of the order of the prompts, of the draws, and of the judge."""
    batch_size: int = 32
    """Answers that are made at once."""

    def __post_init__(self) -> None:
        for name, least in (("rounds", 1), ("per_prompt", 1), ("prompts_per_round", 2), ("batch_size", 1)):
            if getattr(self, name) < least:
                raise ConfigError(f"online.{name} must be at least {least}, got {getattr(self, name)}")
        if self.decoding.temperature == 0:
            raise ConfigError("online.temperature must be positive: the policy learns from answers that differ")

    def seeds(self, number: int) -> range:
        """Of the answers in a round; every round has its own."""
        return range(self.seed + number * self.per_prompt, self.seed + (number + 1) * self.per_prompt)


def hold_out(prompts: Mapping[str, Text], count: int, *, seed: int) -> tuple[dict[str, Text], dict[str, Text]]:
    """
    The prompts in the order in which the rounds take them, and `count` others to measure on; drawn by their ids.

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


def in_order(prompts: Mapping[str, Text], *, seed: int) -> list[str]:
    """The prompts' ids in an order that depends on them and the seed alone."""
    names = list(prompts)
    order = np.argsort(mix(np.array([number_of(name) for name in names], np.int64), seed=seed, purpose="online"))
    return [names[i] for i in order]


def of_round(names: Sequence[str], number: int, size: int) -> list[str]:
    """The prompts of a round, counted from 1; all of them where there are fewer than its size."""
    size = min(size, len(names))
    return [names[i % len(names)] for i in range((number - 1) * size, number * size)]

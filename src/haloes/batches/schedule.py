"""
What every optimizer step holds: a pure function of (data, seed, step); not of workers, ranks, micro-batches or resume.

An epoch of N examples is cut into ceil(N / batch_size) steps whose sizes differ by at most one, so that there is no
short last step; each label is spread over the steps as evenly as its number allows.
"""

import hashlib
import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from haloes.batches.mismatch import mismatched
from haloes.errors import ConfigError, DataError


@dataclass(frozen=True, slots=True)
class Step:
    """The examples of one optimizer step."""

    index: int
    """From 0 over the whole run."""
    epoch: int
    examples: NDArray[np.int64]
    """In random order, (n,)."""
    mismatched: NDArray[np.int64]
    """For each example the one whose completion y' is scored under its prompt; empty when the loss needs none."""


class Schedule:
    """All steps of a run."""

    def __init__(
        self,
        *,
        fingerprint: str,
        desirable: NDArray[np.bool_],
        group: NDArray[np.int64],
        batch_size: int,
        epochs: float,
        seed: int,
        mismatched: bool,
        prompts_together: bool = False,
    ) -> None:
        """
        Plan a run.

        Args:
            fingerprint: hash of the data; with the seed it decides everything.
            desirable: the label of every example, (N,); all True for pairs.
            group: the prompt of every example, (N,); equal numbers answer the same prompt.
            batch_size: examples in a step, at most.
            epochs: how often every example is seen; a fraction is rounded up to a whole step.
            seed: decides the order and the mismatched partners.
            mismatched: whether the loss needs mismatched completions.
            prompts_together: shuffle prompts instead of examples, so that the answers to one prompt come in the same
                step as far as the labels, which are spread evenly in any case, allow.

        Raises:
            DataError: there are no examples, or all answer one prompt and the loss needs mismatched completions.
            ConfigError: a setting is out of range.
        """
        if len(desirable) == 0:
            raise DataError("there are no examples to train on")
        if batch_size < 1:
            raise ConfigError(f"train.batch_size must be at least 1, got {batch_size}")
        if not epochs > 0:
            raise ConfigError(f"train.epochs must be positive, got {epochs}")
        if mismatched and bool((group == group[0]).all()):
            raise DataError(
                "all rows answer the same prompt, so there is no mismatched completion for a reference point; "
                "add feedback on other prompts, or use a loss without a reference point"
            )
        self._fingerprint, self._seed = fingerprint, seed
        self._desirable, self._group, self._mismatched = desirable, group, mismatched
        self._everything = np.arange(len(group))
        self._prompt = np.unique(group, return_inverse=True)[1] if prompts_together else None
        self.steps_per_epoch = -(-len(desirable) // batch_size)
        self.num_steps = count_steps(len(desirable), batch_size=batch_size, epochs=epochs)
        self._epoch = _Epoch(-1, (), ())

    def step(self, index: int) -> Step:
        """Return the step with this index, from 0."""
        epoch, within = divmod(index, self.steps_per_epoch)
        # One epoch is kept: steps come in order, and any other is drawn anew from its own generator.
        if self._epoch.index != epoch:
            self._epoch = _epoch(self._desirable, self._prompt, self.steps_per_epoch, epoch, self._rng("epoch", epoch))
        rng = self._rng("step", index)
        examples = rng.permutation(np.concatenate([self._epoch.desirable[within], self._epoch.undesirable[within]]))
        partner = np.empty(0, np.int64)
        if self._mismatched:
            partner = mismatched(examples, self._group, rng, self._everything)
        return Step(index, epoch, examples, partner)

    def _rng(self, *names: object) -> np.random.Generator:
        """Return the generator of this name, which depends on data and seed and on no other generator's use."""
        key = "\0".join(str(name) for name in (self._fingerprint, self._seed, *names))
        # A hash, and not a sum of seeds: neighbouring steps and seeds share no stream.
        digest = hashlib.sha256(key.encode()).digest()
        return np.random.Generator(np.random.Philox(key=int.from_bytes(digest[:16], "little")))


def count_steps(num_examples: int, *, batch_size: int, epochs: float) -> int:
    """Return how many steps a run has: whole steps of every pass, the last pass rounded up."""
    # 1e-9 against rounding: 100 steps times 0.07 epochs are 7 steps, not 8.
    return max(1, math.ceil(-(-num_examples // batch_size) * epochs - 1e-9))


@dataclass(frozen=True, slots=True)
class _Epoch:
    """Each label's examples, shuffled and cut into the epoch's steps."""

    index: int
    desirable: tuple[NDArray[np.int64], ...]
    undesirable: tuple[NDArray[np.int64], ...]


def _epoch(
    desirable: NDArray[np.bool_], prompt: NDArray[np.int64] | None, steps: int, index: int, rng: np.random.Generator
) -> _Epoch:
    """
    Shuffle and cut an epoch.

    Args:
        desirable: the label of every example, (N,).
        prompt: the number of each example's prompt if examples follow the order of shuffled prompts; else None.
        steps: how many steps the epoch has.
        index: the number of the epoch, from 0.
        rng: decides everything that is random.
    """
    good = rng.permutation(np.flatnonzero(desirable))
    bad = rng.permutation(np.flatnonzero(~desirable))
    if prompt is not None:
        # One order of prompts for both labels, so that a prompt's good and bad answers meet in a step or in the next.
        order = rng.permutation(int(prompt.max()) + 1)[prompt]
        good, bad = (rows[np.argsort(order[rows], kind="stable")] for rows in (good, bad))
    # The steps that take one more than the floor lie side by side on a random circle of steps, first those of the
    # desirable, then those of the undesirable: as few steps as possible take one more of both.
    turn = np.argsort(rng.permutation(steps))
    num_good = len(good) // steps + (turn < len(good) % steps)
    num_bad = len(bad) // steps + ((turn - len(good) % steps) % steps < len(bad) % steps)
    return _Epoch(index, _cut(good, num_good), _cut(bad, num_bad))


def _cut(rows: NDArray[np.int64], sizes: NDArray[np.int64]) -> tuple[NDArray[np.int64], ...]:
    """Cut rows into parts of these sizes."""
    return tuple(np.split(rows, np.cumsum(sizes)[:-1]))

"""The loss and the implied rewards on held-out feedback."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from haloes.batches.schedule import Schedule
from haloes.errors import MissingInputError
from haloes.stats.bootstrap import Floats
from haloes.tokens.store import TokenStore
from haloes.training.metrics import class_rewards, reference_point_numbers
from haloes.training.step import Stepper
from haloes.training.step_table import Table


@dataclass(frozen=True, slots=True)
class Validation:
    """The numbers of a whole validation set, a row a sequence (for pairs two a pair)."""

    loss: float
    """Weighted mean over the examples."""
    sequences: NDArray[np.int64]
    """The sequence of the store that each row is about."""
    log_ratio: Floats | None
    """The implied reward of each: log p_policy - log p of the model before training, in nats. None for a loss that
    reads no log-probabilities."""
    logp: Floats | None
    """log p_policy(y|x) of each; None likewise."""
    mismatched: Floats | None
    desirable: NDArray[np.bool_]
    group: NDArray[np.int64]
    """The prompt of each."""
    tokens: NDArray[np.int32]
    """Trained tokens of each."""
    weight: Floats
    """Weight of each one's row in the loss."""
    reward: Floats | None = None
    """The reward head's number for each; None for a loss without one."""
    paired: bool = False
    """True where the sequences are pairs: 2i the chosen and 2i + 1 the rejected one."""

    def pairs(self) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Return the rows of the chosen and of the rejected sequences, pair by pair; none where they are no pairs."""
        order = np.argsort(self.sequences, kind="stable") if self.paired else np.empty(0, np.int64)
        return order[::2], order[1::2]

    def metrics(self, *, rounding: float = 0.0) -> dict[str, float]:
        """Return the numbers that need no statistics beyond a mean, by name; `rounding` as of `step_metrics`."""
        found = {"loss": self.loss}
        found |= class_rewards("reward", self.log_ratio, self.desirable, self.weight, rounding=rounding)
        found |= class_rewards("model_reward", self.reward, self.desirable, self.weight)
        if self.mismatched is not None:
            found |= reference_point_numbers(self.mismatched, rounding=rounding)
        return found


def validate(
    stepper: Stepper,
    *,
    batch_size: int,
    seed: int,
    logp_before: Floats | None = None,
    running_reward: float = 0.0,
) -> Validation:
    """
    Score the stepper's whole data set once, in steps of the training's size, without gradient.

    Args:
        stepper: the stepper of the held-out data.
        batch_size: examples in a step of the training.
        seed: the training's seed, from which mismatched partners are drawn.
        logp_before: log p of each sequence before training, (n,); None where the loss's reference is that model.
        running_reward: the mean log-ratio over the training's steps so far.
    """
    store = stepper.store
    schedule = make_schedule(stepper, batch_size=batch_size, epochs=1, seed=seed)
    stepper.work.progress.stage("validation", schedule.num_steps)
    # In steps as large as the training's: the reference point of a loss depends on how many examples make it.
    with stepper.policy.scoring():
        tables = [
            stepper.run(schedule.step(i), backward=False, running_reward=running_reward)
            for i in range(schedule.num_steps)
        ]
    sequences = np.concatenate([table.sequences for table in tables])
    weights = [_example_weight(table, store) for table in tables]
    loss = sum(float(w @ table.loss) for w, table in zip(weights, tables, strict=True)) / sum(w.sum() for w in weights)
    logp = _joined([table.logp for table in tables])
    log_ratio = _joined([table.log_ratio for table in tables])
    # Rewards are against the model before training, whatever the loss compares with: runs can then be compared.
    if logp is not None and logp_before is not None:
        log_ratio = logp - logp_before[sequences]
    if log_ratio is None and logp is not None:
        raise MissingInputError("a loss without a reference is validated against `logp_before`, and there is none")
    return Validation(
        loss=float(loss),
        sequences=sequences,
        log_ratio=log_ratio,
        logp=logp,
        mismatched=_joined([table.mismatched for table in tables]),
        desirable=store.desirable[sequences],
        group=store.group[sequences],
        tokens=store.trained_length[sequences],
        weight=store.weight[sequences].astype(np.float64),
        reward=_joined([table.reward for table in tables]),
        paired=store.paired,
    )


def make_schedule(
    stepper: Stepper, *, batch_size: int, epochs: float, seed: int, prompts_together: bool = False
) -> Schedule:
    """Return the steps of a stepper's data set."""
    store, each = stepper.store, stepper.store.sequences_per_example
    return Schedule(
        fingerprint=store.fingerprint,
        desirable=store.desirable[::each],
        group=store.group[::each],
        batch_size=batch_size,
        epochs=epochs,
        seed=seed,
        mismatched=stepper.loss.needs.mismatched,
        prompts_together=prompts_together,
    )


def _example_weight(table: Table, store: TokenStore) -> Floats:
    """Return the weight of each example of a step, (E,), as the store has it and not scaled to a step's sum."""
    return store.weight[table.sequences[: len(table.step.examples)]].astype(np.float64)


def _joined(parts: list[Floats | None]) -> Floats | None:
    """Concatenate the steps' parts; None where the loss has none."""
    present = [part for part in parts if part is not None]
    return np.concatenate(present) if present else None

"""The size of a step and the passes over the data where the settings leave them open: small sets get enough steps."""

from dataclasses import dataclass

from haloes.batches.schedule import count_steps
from haloes.training.settings import Auto

ENOUGH_STEPS = 50
"""Steps that a run has at least, where the data give them: in fewer a model hardly changes at a rate that is safe."""
MOST_PASSES = 5
"""Passes over the data that are chosen, at most; more of them teach the rows by heart and little else."""
LARGEST_STEP, SMALLEST_STEP = 32, 8
"""Examples of a step: the KTO paper's experiments use 32, and it recommends 8 to 128 (section 4.2)."""
_FEW_STEPS = 10
"""Fewer are warned of: 15 still changed the answers of a 135M model (LOG.md)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ChosenSteps:
    """How many steps a run has, and of how many examples."""

    batch_size: int
    epochs: float
    num_steps: int


def choose_steps(num_examples: int, *, batch_size: int | Auto, epochs: float | Auto) -> ChosenSteps:
    """
    Return the examples of a step and the passes over the data; what is a number stays as it is.

    With 1,600 examples or more these are the paper's 32 and 1. With fewer, steps are smaller, down to 8 examples, so
    that there are about 50 of them; where that is not enough, there are whole passes more, up to 5.

    Args:
        num_examples: rows to train on; of paired feedback, pairs.
        batch_size: `train.batch_size`.
        epochs: `train.epochs`.
    """
    smallest = SMALLEST_STEP if batch_size == "auto" else batch_size
    if epochs == "auto":
        epochs = float(min(MOST_PASSES, max(1, -(-ENOUGH_STEPS * smallest // num_examples))))
    fitting = min(LARGEST_STEP, max(SMALLEST_STEP, int(num_examples * epochs) // ENOUGH_STEPS))
    size = fitting if batch_size == "auto" else batch_size
    return ChosenSteps(
        batch_size=size, epochs=epochs, num_steps=count_steps(num_examples, batch_size=size, epochs=epochs)
    )


def describe_steps(num_examples: int, steps: ChosenSteps) -> str:
    """Return the number of steps with what they are made of, such as "54 steps: 3 passes over 180 examples"."""
    passes = "1 pass" if steps.epochs == 1 else f"{steps.epochs:g} passes"
    return (
        f"{_counted(steps.num_steps, 'step')} of up to {_counted(steps.batch_size, 'example')}: {passes} over "
        f"{_counted(num_examples, 'example')}"
    )


def too_few_steps(num_examples: int, steps: ChosenSteps) -> str | None:
    """Return a warning where a model may hardly change in so few steps, with what to do; else None."""
    if steps.num_steps >= _FEW_STEPS:
        return None
    best = choose_steps(num_examples, batch_size="auto", epochs="auto")
    if best.num_steps > steps.num_steps:
        return (
            f"the run has only {_counted(steps.num_steps, 'step')}, in which a model may hardly change: with "
            f"train.batch_size=auto and train.epochs=auto there are {best.num_steps}"
        )
    return (
        f"the run has only {_counted(steps.num_steps, 'step')}, in which a model may hardly change: "
        f"{_counted(num_examples, 'example')} give no more in {MOST_PASSES} passes; collect more feedback, or set a "
        "higher train.epochs and see whether the held-out numbers follow"
    )


def _counted(count: int, noun: str) -> str:
    return f"{count:,} {noun}{'' if count == 1 else 's'}"

"""What a run tells as its steps begin: what they are computed with, how many there are, and the learning rate."""

import dataclasses
from collections.abc import Iterator, Mapping
from typing import Any

import torch

from haloes.progress.contract import Progress
from haloes.report.numbers import rounding_sentence
from haloes.runs.prepared_run import PreparedRun
from haloes.training.choose_steps import describe_steps


class StartLine:
    """Tells the user what the steps are computed with, how many there are, and the learning rate, as they begin."""

    def __init__(self, prepared: PreparedRun, progress: Progress) -> None:
        self._prepared, self._progress = prepared, progress

    def on_start(self, *, step: int, num_steps: int) -> None:
        """Tell it, where steps are left."""
        if step < num_steps:
            for line in _describe_start(self._prepared, step=step, num_steps=num_steps):
                self._progress.note(line)

    def on_metrics(self, numbers: Mapping[str, Any]) -> None:
        """Do nothing."""


def _describe_start(prepared: PreparedRun, *, step: int, num_steps: int) -> Iterator[str]:
    """Yield lines on dtype, device and threads, on steps, and on the rate; `step` of `num_steps` steps are done."""
    train, processes, num_examples = prepared.config.train, prepared.ranks.count, prepared.inputs.train.num_examples
    machine = f"{prepared.config.model.dtype} on {prepared.device}, {_counted(torch.get_num_threads(), 'thread')}"
    if processes > 1:
        machine += f" in each of {processes} processes"
    left = f"{num_steps - step:,} left of " if step else ""
    steps = f"{left}{describe_steps(num_examples, prepared.steps)}"
    yield f"{machine}; {steps}; micro-batches of up to {train.microbatch_tokens:,} tokens"
    why = "" if prepared.rate is None else f": {prepared.rate.why}"
    yield f"learning rate {train.lr:g}{why}"
    if prepared.rounding is not None:
        yield f"rounding: {rounding_sentence(**dataclasses.asdict(prepared.rounding))}"


def _counted(count: int, noun: str) -> str:
    return f"{count:,} {noun}{'' if count == 1 else 's'}"

"""Progress on the terminal: a bar with the numbers that matter, or a line now and then where there is no terminal."""

import sys
import time
from collections.abc import Mapping
from types import TracebackType
from typing import Any, Self

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskID, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from rich.table import Column

from haloes.words import words_in

_LINE_EVERY_SECONDS = 15.0


class TerminalProgress:
    """A `haloes.Progress` on stderr; use as a context manager."""

    def __init__(self) -> None:
        """Prepare the bar; nothing is shown before the first stage."""
        self._console = Console(file=sys.stderr, highlight=False)
        self._progress = Progress(
            TextColumn("{task.description}", table_column=Column(min_width=10)),
            BarColumn(bar_width=20),
            TextColumn("{task.fields[count]}"),
            TextColumn("{task.fields[numbers]}", style="dim"),
            TimeElapsedColumn(),
            TimeRemainingColumn(),
            console=self._console,
            transient=False,
        )
        self._task: TaskID | None = None
        self._steps, self._last_line = 0, 0.0
        self._validation = ""
        self._explained: set[str] = set()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        # After an error the bar stays where it was: what was not done is not shown as done.
        if kind is None:
            self._finish()
        if self._progress.live.is_started:
            self._progress.stop()

    def stage(self, name: str, total: int | None = None) -> None:
        """Begin a stage, which ends the one before."""
        self._finish()
        if self._console.is_terminal:
            self._progress.start()
        self._task = self._progress.add_task(name, total=total, count="", numbers="")
        if not self._console.is_terminal:
            self._console.print(f"{name} ...")

    def advance(self, count: int) -> None:
        """Count this many more units of the stage as done."""
        if self._task is not None:
            self._progress.advance(self._task, count)
            done = int(self._progress.tasks[self._task].completed)
            self._progress.update(self._task, count=f"{done:,}")

    def note(self, text: str) -> None:
        """Print a line for the user."""
        # A line of a log file stays whole, as those of the steps do; a terminal gets it folded between words.
        self._console.print(text, markup=False, soft_wrap=not self._console.is_terminal)

    def on_start(self, *, step: int, num_steps: int) -> None:
        """Begin the bar of training at the steps that were done before."""
        self.stage("training", num_steps)
        self._steps = num_steps
        if self._task is not None:
            self._progress.update(self._task, completed=step, count=f"{step}/{num_steps}")
        if step >= num_steps:
            self.note(f"all {num_steps} steps were done before; what is left is to answer, measure and write")

    def on_metrics(self, numbers: Mapping[str, Any]) -> None:
        """Show the numbers of a step, or keep those of a validation beside the next ones."""
        if self._task is None:
            return
        if numbers["split"] == "validation":
            self._validation = describe_validation(numbers)
            return
        step, text = numbers["step"], describe(numbers) + self._validation
        self._explain(text)
        self._progress.update(self._task, completed=step, count=f"{step}/{self._steps}", numbers=text)
        # A log file is no place for a bar: a line now and then, and always the last one.
        now = time.monotonic()
        if not self._console.is_terminal and (now - self._last_line > _LINE_EVERY_SECONDS or step == self._steps):
            self._last_line = now
            self._console.print(f"step {step}/{self._steps}  {text}", soft_wrap=True)

    def _explain(self, text: str) -> None:
        """Print what the words of a line mean, each once."""
        for word, sentence in words_in(text).items():
            if word not in self._explained:
                self._explained.add(word)
                self.note(f"  {word}: {sentence}")

    def _finish(self) -> None:
        if self._task is not None:
            task = self._progress.tasks[self._task]
            self._progress.update(self._task, total=task.total or max(task.completed, 1), completed=task.total or 1)
            self._task = None


def describe_validation(numbers: Mapping[str, Any]) -> str:
    """Return the numbers of a validation that a user waits for: AUC, and a judge's win rate with its interval."""
    text = f"  AUC {numbers['auc']:.3f}" if "auc" in numbers else ""
    if numbers.get("sampled/win_rate") is not None:
        low, high = numbers["sampled/win_rate/low"], numbers["sampled/win_rate/high"]
        text += f"  win rate {numbers['sampled/win_rate']:.0%} ({low:.0%}-{high:.0%})"
    return text


def describe(numbers: Mapping[str, Any]) -> str:
    """Return a step's numbers in a few words: loss, reward margin and reference point in nats, tokens a second."""
    parts = [f"loss {numbers['loss']:.3f}"]
    # A loss that is a log-likelihood summed over an answer is read beside those of other tools, which are by token.
    if "nll_per_token" in numbers:
        parts[0] += f" an answer  NLL {numbers['nll_per_token']:.3f} a token"
    if "reward_margin" in numbers:
        parts.append(f"margin {numbers['reward_margin']:+.2f}")
    if "reference_point" in numbers:
        parts.append(f"z0 {numbers['reference_point']:.2f}")
    return "  ".join([*parts, f"{numbers['tokens_per_second']:,.0f} tok/s"])

"""
What a person sees who waits: a line that moves in a terminal or notebook, or a line of text now and then in a log.

The work tells a `Progress` what it does, how much is done and of how much; the time left follows from that alone
(`haloes.progress.time_left`).
"""

import sys
import time
from collections.abc import Callable, Mapping
from importlib.util import find_spec
from types import TracebackType
from typing import Any, Self

from rich.console import Console, Group
from rich.live import Live

from haloes.progress.console import SafeConsole, unheard
from haloes.progress.contract import NullProgress, Progress
from haloes.progress.lines import Stage, describe, describe_validation, log_line, terminal_lines
from haloes.progress.time_left import Pace
from haloes.words import words_in

_LINE_EVERY_SECONDS = 15.0
_TRAINING = "training"


class Display:
    """
    A `haloes.Progress` for people, on stderr; in a notebook, below the cell.

    The calls of haloes open and close the one that they are given; as a context manager it may serve several calls.
    """

    def __init__(
        self,
        *,
        patience: float = 0.0,
        console: Console | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """
        Prepare the display; nothing is shown before the first stage.

        Args:
            patience: seconds; a stage that takes less leaves no line.
            console: where to show it; a console on stderr if left out.
            clock: gives the time in seconds.
        """
        self._console = console or SafeConsole(file=unheard(sys.stderr), highlight=False)
        self.moves, self._clock = _moves(self._console), clock
        self._patience = patience
        self._live: Live | None = None
        self._stage: Stage | None = None
        self._training: Stage | None = None
        self._announced: set[str] = set()
        self._explained: set[str] = set()
        self._last_line = 0.0
        self._validation = ""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        if kind is None:
            self._end_stage()
        # What was not done is not shown as done: after an error, and where training stopped early.
        left = dict.fromkeys((self._training, self._stage))
        self._stage = self._training = None
        for stage in left:
            self._keep(stage)
        self._announced.clear()
        if self._live is not None:
            self._live.stop()
            self._live = None

    def stage(self, name: str, total: int | None = None) -> None:
        """Begin a stage, which ends the one before; the training waits meanwhile, unless it is over."""
        self._end_stage()
        now = self._clock()
        self._stage = Stage(name, total, Pace(now), now)
        self._last_line = now
        if self.moves:
            self._start()
        elif name not in self._announced and not self._patience:
            # One that comes again and again, as the validation does, is announced once.
            self._announced.add(name)
            self._print(f"{name} ...")

    def advance(self, count: float) -> None:
        """Count this many more units of the stage as done; of the training, parts of a step."""
        stage = self._stage
        if stage is None:
            return
        now = self._clock()
        stage.done += count
        stage.pace.report(stage.done, now=now)
        if not self.moves and now - self._last_line >= _LINE_EVERY_SECONDS:
            self._last_line = now
            self._print(log_line(stage, now=now))

    def note(self, text: str) -> None:
        """Print a line for the user."""
        self._print(text)

    def on_start(self, *, step: int, num_steps: int) -> None:
        """Begin the training at the steps that were done before."""
        self.stage(_TRAINING, num_steps)
        self._training = self._stage
        self.advance(step)
        if step >= num_steps:
            self.note(f"all {num_steps} steps were done before; what is left is to answer, measure and write")

    def on_metrics(self, numbers: Mapping[str, Any]) -> None:
        """Show the numbers of a step, or keep those of a validation beside the next ones."""
        training = self._training
        if training is None or training.total is None:
            return
        if self._stage is not training:
            self._end_stage()
            self._stage = training
        if numbers["split"] == "validation":
            self._validation = describe_validation(numbers)
            return
        now, step = self._clock(), numbers["step"]
        is_first = not training.numbers
        training.done, training.numbers = step, describe(numbers) + self._validation
        training.pace.report(step, now=now)
        self._explain(training.numbers)
        # A log file is no place for a bar: a line now and then, and always the first and the last one.
        is_due = is_first or now - self._last_line >= _LINE_EVERY_SECONDS or step == training.total
        if not self.moves and is_due:
            self._last_line = now
            self._print(log_line(training, now=now))

    def _explain(self, text: str) -> None:
        """Print what the words of a line mean, each once."""
        for word, sentence in words_in(text).items():
            if word not in self._explained:
                self._explained.add(word)
                self.note(f"  {word}: {sentence}")

    def _end_stage(self) -> None:
        """End the stage that is under way, if there is one; the training only waits where steps are left."""
        stage, self._stage = self._stage, None
        if stage is None or (stage is self._training and not stage.is_over):
            return
        if stage is self._training:
            self._training = None
        elif self._training is not None:
            # The steps take no longer for what happened between them.
            self._training.pace.skip(self._clock() - stage.began)
            return
        elif stage.total is not None:
            stage.done = stage.total
        self._keep(stage)

    def _keep(self, stage: Stage | None) -> None:
        """Leave the line of a stage on the terminal."""
        if self.moves and stage is not None and self._clock() - stage.began >= self._patience:
            self._refresh()
            for line in terminal_lines(stage, now=self._clock(), width=self._console.width, is_going=False):
                self._console.print(line)

    def _start(self) -> None:
        if self._live is None:
            self._live = Live(
                console=self._console,
                get_renderable=self._shown,
                transient=True,
                refresh_per_second=4,
                # What a rater of the user prints stays on stdout where that is read by something else.
                redirect_stdout=sys.stdout.isatty(),
            )
            self._live.start()

    def _refresh(self) -> None:
        """Draw what is under way now: what is printed goes above it, and would repeat what was drawn last."""
        if self._live is not None:
            self._live.refresh()

    def _shown(self) -> Group:
        now, width = self._clock(), self._console.width
        # The training stays in sight during a stage in its midst.
        stages = [stage for stage in dict.fromkeys((self._training, self._stage)) if stage is not None]
        return Group(*(line for stage in stages for line in terminal_lines(stage, now=now, width=width)))

    def _print(self, text: str) -> None:
        self._refresh()
        # A line of a log file stays whole; a terminal gets it folded between words.
        self._console.print(text, markup=False, soft_wrap=not self.moves)


def display_if_seen(*, patience: float = 0.0) -> Progress:
    """Return a display where somebody can see it: in a terminal or a notebook; otherwise one that shows nothing."""
    console = SafeConsole(file=unheard(sys.stderr), highlight=False)
    return Display(patience=patience, console=console) if console.is_jupyter or sys.stderr.isatty() else NullProgress()


def _moves(console: Console) -> bool:
    """Return whether lines can be drawn again in place: in a terminal, and in a notebook that has ipywidgets."""
    if console.is_jupyter:
        return find_spec("ipywidgets") is not None
    # Not `console.is_terminal`, which FORCE_COLOR turns on in a pipe as well.
    return console.file.isatty() and not console.is_dumb_terminal

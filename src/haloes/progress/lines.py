"""A stage of the work in words: for a terminal of any width, and for a log."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from rich.text import Text

from haloes.progress.time_left import Pace, about, clock_time

_BAR, _SHORTEST_BAR = 20, 6
_SHORTEST_NAME = 8


@dataclass(slots=True, eq=False)
class Stage:
    """A stage of the work."""

    name: str
    total: float | None
    pace: Pace
    began: float
    done: float = 0.0
    numbers: str = ""

    @property
    def counter(self) -> str:
        """Return how much is done, of how much: "12/16"; "12" where the whole is unknown, nothing where all is."""
        if self.total is None:
            return f"{int(self.done):,}" if self.done >= 1 else ""
        return f"{int(self.done):,}/{int(self.total):,}"

    @property
    def is_over(self) -> bool:
        """Return whether all of it is done."""
        return self.total is not None and self.done >= self.total

    def left(self, now: float) -> float | None:
        """Return the seconds left, where they can be known."""
        return None if self.total is None or self.is_over else self.pace.left(self.total, now=now)


def terminal_lines(stage: Stage, *, now: float, width: int, is_going: bool = True) -> list[Text]:
    """
    Return a stage as a person sees it: name, bar, counter, time, time left; a second line for numbers where it is long.

    Where the terminal is narrow the bar is left out first, then the name is cut.
    """
    left = stage.left(now) if is_going else None
    times = clock_time(now - stage.began) + ("" if left is None else f", {clock_time(left)} left")
    after = "  ".join(part for part in (stage.counter, times) if part)
    name = stage.name
    room = max(_SHORTEST_NAME, width - len(after) - 2)
    if len(name) > room:
        name = name[: room - 1] + "…"
    line = Text(name, no_wrap=True, overflow="ellipsis")
    bar = min(_BAR, width - len(name) - len(after) - 4)
    if is_going and stage.total and bar >= _SHORTEST_BAR:
        full = round(bar * min(1.0, stage.done / stage.total))
        line.append("  ").append("━" * full, "green").append("━" * (bar - full), "dim")
    line.append(f"  {after}")
    if not stage.numbers:
        return [line]
    if len(line) + 2 + len(stage.numbers) <= width:
        return [line.append(f"  {stage.numbers}", "dim")]
    return [line, Text(f"  {stage.numbers}", "dim", no_wrap=True, overflow="ellipsis")]


def log_line(stage: Stage, *, now: float) -> str:
    """Return how far a stage is as a line of a log."""
    left = stage.left(now)
    rest = "" if left is None else f"about {about(left)} left"
    if stage.numbers and stage.done == int(stage.done):
        return "  ".join(part for part in (f"step {stage.counter}", stage.numbers, rest) if part)
    counter = stage.counter
    if stage.done != int(stage.done):
        counter += f" and {stage.done % 1:.0%} of the next"
    return ", ".join(part for part in (f"{stage.name}: {counter}", f"{about(now - stage.began)} so far", rest) if part)


def describe_validation(numbers: Mapping[str, Any]) -> str:
    """Return the numbers of a validation that a user waits for, with intervals: AUC, and a judge's win rate."""
    text = f"  AUC {numbers['auc']:.3f}" if "auc" in numbers else ""
    if "auc/low" in numbers:
        text += f" ({numbers['auc/low']:.2f}-{numbers['auc/high']:.2f})"
    if numbers.get("sampled/win_rate") is not None:
        low, high = numbers["sampled/win_rate/low"], numbers["sampled/win_rate/high"]
        text += f"  win rate {numbers['sampled/win_rate']:.0%} ({low:.0%}-{high:.0%})"
    return text


def _rounding(numbers: Mapping[str, Any], name: str) -> str:
    """Mark a number that is nearer to 0 than rounding explains; one that is 0 exactly has none."""
    return " (rounding)" if 0 < abs(numbers[name]) < numbers.get(f"{name}/rounding", 0.0) else ""


def describe(numbers: Mapping[str, Any]) -> str:
    """Return a step's numbers in a few words: loss, reward margin and reference point in nats, tokens a second."""
    parts = [f"loss {numbers['loss']:.3f}"]
    # A loss that is a log-likelihood summed over an answer is read beside those of other tools, which are by token.
    if "nll_per_token" in numbers:
        parts[0] += f" an answer  NLL {numbers['nll_per_token']:.3f} a token"
    if "reward_margin" in numbers:
        parts.append(f"margin {numbers['reward_margin']:+.2f}{_rounding(numbers, 'reward_margin')}")
    if "reference_point" in numbers:
        parts.append(f"z0 {numbers['reference_point']:.2f}{_rounding(numbers, 'reference_point')}")
    return "  ".join([*parts, f"{numbers['tokens_per_second']:,.0f} tok/s"])

"""Options that several commands share, each with its flags and its default."""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, TypeAlias

from cyclopts import Parameter

Settings: TypeAlias = Annotated[tuple[str, ...], Parameter(name=["--set", "-s"], negative=())]
Out: TypeAlias = Annotated[Path | None, Parameter(name=["--out", "-o"])]
ConfigFile: TypeAlias = Annotated[Path | None, Parameter(name=["--config", "-c"])]


# The fields of these classes are options of the command itself: `Parameter(name="*")` leaves out the name of the class.
# Their strings are the help, unless the command's docstring explains the option in its own way ("judging.rule").


@Parameter(name="*")
@dataclass(frozen=True, slots=True, kw_only=True)
class JudgeOptions:
    """Options of the judge that `haloes judge` and `haloes online` ask."""

    base_url: str | None = None
    """The server, such as http://localhost:8000/v1."""
    key_env: str | None = None
    """The NAME of the environment variable that holds the server's key."""
    rule: str | None = None
    """The judge's function, called with (prompt, first, second)."""
    template: str | None = None
    """The judge's prompt: kto-paper, alpaca-eval, mt-bench, or a file."""


@Parameter(name="*")
@dataclass(frozen=True, slots=True, kw_only=True)
class DecodingOptions:
    """Options of how `haloes sample` draws answers."""

    max_new_tokens: int = 256
    """Most tokens of an answer."""
    temperature: float = 0.0
    """0 takes the likeliest token each time."""
    top_p: float = 1.0
    """The likeliest tokens with this total probability are drawn from."""
    seed: int = 0
    """Decides the draws: the same seed draws the same answers."""
    batch_size: int = 64
    """Answers that are made at once: more are faster and take more memory."""


@Parameter(name="*")
@dataclass(frozen=True, slots=True, kw_only=True)
class RoundDecodingOptions(DecodingOptions):
    """The same for the rounds of `haloes online`, where answers have to differ and training follows."""

    max_new_tokens: int = 128
    temperature: float = 1.0
    batch_size: int = 32


@Parameter(name="*")
@dataclass(frozen=True, slots=True, kw_only=True)
class ProcessOptions:
    """Options of `haloes train` and `haloes resume` that start several processes."""

    processes: int = 1
    """Processes on this machine, which share each step: one for each GPU. They need no torchrun."""
    max_restarts: int = 0
    """How often all of them are started again, from the newest checkpoint, after one of them was killed."""
    nodes: int = 1
    """Machines with so many processes each; the same command is given on all of them."""
    node_rank: int = 0
    """Which of the machines this is, from 0."""
    rendezvous: str | None = None
    """HOST:PORT of machine 0, where several machines meet."""


# Defaults of parameters, which cyclopts asks for where all options of a class have one.
ONE_PROCESS = ProcessOptions()
NO_JUDGE_OPTIONS = JudgeOptions()
DECODING = DecodingOptions()
ROUND_DECODING = RoundDecodingOptions()

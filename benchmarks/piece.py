"""What one measured process is asked to do, and what it found; both pass between processes as JSON."""

import json
import resource
import sys
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

BETA = 0.1
LEARNING_RATE = 5e-6
LORA_RANK = 16
LORA_LAYERS = ("q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj")
MAX_GRAD_NORM = 10.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Task:
    """One process's work: some optimizer steps on the rows in a folder."""

    folder: str
    """Holds the rows in the form of both libraries; made by `benchmarks.rows`."""
    loss: str
    lora: bool
    batch_size: int
    steps: int
    threads: int
    dtype: str = "auto"
    """haloes: as in its configuration. TRL: "float32", "bfloat16" (weights too), or "autocast" (float32 weights)."""
    micro_batch: int = 4
    """TRL only: rows that go through the model together."""
    precompute: bool = True
    """TRL only: the reference's log-probabilities of all rows before training; else a second model in memory."""
    reference_cache: str = ""
    """haloes only: the folder of cached reference log-probabilities, empty or filled."""
    epochs: int = 1
    """haloes only: passes over the rows, of `steps` steps each."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """What a process measured."""

    seconds: list[float]
    """Of each step, one after the other."""
    tokens: list[int]
    """Of each step: tokens of its prompts with their completions; no padding, no mismatched completions."""
    peak_gib: float
    dtype: str
    precompute_seconds: float = 0.0
    """TRL only: of the pass over all rows that comes before the first step; 0 where an earlier process did it."""
    settings: dict[str, Any] = field(default_factory=dict)
    """What else was in force."""


def read_task() -> tuple[Task, Path]:
    """Read the task of this process and where its findings go from the command line."""
    return Task(**json.loads(sys.argv[1])), Path(sys.argv[2])


def write(found: Found, path: Path) -> None:
    """Hand the findings to the process that asked for them."""
    path.write_text(json.dumps(asdict(found)))


def peak_gib() -> float:
    """Return the most memory that this process ever had resident, in GiB."""
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / 2**30

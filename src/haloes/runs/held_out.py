"""The held-out rows of a run, each with its implied reward: what calibration and comparisons of runs rest on."""

import hashlib
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from math import isfinite
from pathlib import Path
from typing import Any

import numpy as np

from haloes.errors import DataError
from haloes.run_files import HELD_OUT
from haloes.store import read_jsonl, write_jsonl
from haloes.tokens.store import TokenStore
from haloes.training.validation import Validation


@dataclass(frozen=True, slots=True, kw_only=True)
class HeldOutRow:
    """One held-out answer and what the trained model makes of it."""

    where: str
    """The file:line that it was read from."""
    label: bool
    """True for desirable."""
    group: str
    """Of the prompt; equal wherever the prompt is."""
    answer: str
    """Of the answer's tokens: equal in runs with the same tokenizer wherever the answer is."""
    reward: float
    """The implied reward: log p of the model minus log p of the model before training, in nats. Of a reward model, what
    it gives."""
    logp: float | None
    """log p of the answer, in nats; None of a reward model."""
    tokens: int
    """Of the answer, that count."""


def write_held_out(run_dir: Path, validation: Validation, store: TokenStore) -> None:
    """Write the last validation of a run, in the order of its rows."""
    write_jsonl(run_dir / HELD_OUT, (asdict(row) for row in _rows(validation, store)))


def read_held_out(run_dir: Path) -> list[HeldOutRow]:
    """
    The held-out rows of a run; none where it held nothing out, or is of before haloes wrote them.

    Raises:
        DataError: a line is not one of them; the message names the file and the line.
    """
    path = run_dir / HELD_OUT
    return [_row(row, f"{path}:{number}") for number, row in read_jsonl(path)] if path.exists() else []


def _rows(validation: Validation, store: TokenStore) -> Iterator[HeldOutRow]:
    rewards = validation.log_ratio if validation.reward is None else validation.reward
    if rewards is None:
        return
    rewards = validation.log_ratio if validation.reward is None else validation.reward
    if rewards is None:
        return
    for i in np.argsort(validation.sequences, kind="stable").tolist():
        sequence = int(validation.sequences[i])
        yield HeldOutRow(
            where=store.name(sequence),
            label=bool(validation.desirable[i]),
            group=f"{int(validation.group[i]) & 0xFFFF_FFFF_FFFF_FFFF:016x}",
            answer=hashlib.sha256(store.read(sequence).completion.tobytes()).hexdigest()[:16],
            reward=float(rewards[i]),
            logp=None if validation.logp is None else float(validation.logp[i]),
            tokens=int(validation.tokens[i]),
        )


def _row(row: dict[str, Any], where: str) -> HeldOutRow:
    known = {"reward": row["log_ratio"], **row} if "log_ratio" in row else row  # as runs of before called it
    try:
        found = HeldOutRow(**{name: known[name] for name in HeldOutRow.__slots__})
    except KeyError as error:
        raise DataError(f"{where}: this is not a held-out row: it has no {error}") from error
    numbers = (found.reward, 0.0 if found.logp is None else found.logp)
    if not isinstance(found.label, bool) or not all(isinstance(n, int | float) and isfinite(n) for n in numbers):
        raise DataError(f"{where}: label must be true or false, and reward and logp numbers; got {row}")
    return found

"""Write the held-out rows of a run, each with its implied reward: calibration and comparisons of runs rest on them."""

import hashlib
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from haloes.results import HeldOutRow, to_json
from haloes.run_files import HELD_OUT
from haloes.store import write_jsonl
from haloes.tokens.store import TokenStore
from haloes.training.validation import Validation


def write_held_out(run_dir: Path, validation: Validation, store: TokenStore) -> None:
    """Write the last validation of a run, in the order of its rows."""
    write_jsonl(run_dir / HELD_OUT, (to_json(row) for row in _rows(validation, store)))


def _rows(validation: Validation, store: TokenStore) -> Iterator[HeldOutRow]:
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

"""
Encoded rows on disk: one file of token ids, read row by row, and an index in memory of about 50 bytes a row.

A store is a folder: `tokens.bin` (int32, prompt and completion of each sequence), `index.npz` (the columns below), and
`meta.json`.

Reads go through `os.pread` and not through a memory map, so that a million rows do not count as resident memory.
A completion token that is not trained is stored as `-1 - id`.
"""

import hashlib
import json
import os
import uuid
import weakref
from array import array
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Self
from zipfile import BadZipFile

import numpy as np
from numpy.typing import NDArray

from haloes.errors import DataError
from haloes.tokens.encode import Encoded, Ids

_COLUMNS = {
    "prompt_length": "i",
    "completion_length": "i",
    "trained_length": "i",
    "group": "q",
    "desirable": "b",
    "weight": "f",
    "score": "f",
    "line": "q",
    "source": "i",
    "model": "i",
}
"""Columns of the index and their types, one entry a sequence."""
_PROMPT_CUT, _COMPLETION_CUT, _DISAGREES, _REASONS, _SHOWS_REASONING = 1, 2, 4, 8, 16
"""Bits of the column `flags`."""


@dataclass(frozen=True, slots=True)
class TokenRow:
    """Token ids of one prompt and one completion."""

    prompt: Ids
    """(P,)."""
    completion: Ids
    """(C,)."""
    trained: NDArray[np.bool_]
    """True for completion tokens that are trained, (C,)."""


class TokenStore:
    """
    Encoded sequences of a data set, with their lengths, groups, labels, weights and scores.

    A paired store holds two sequences an example: 2i the chosen and 2i + 1 the rejected completion of pair i.
    """

    def __init__(self, path: Path) -> None:
        """Open the store in folder `path`; raise DataError when it is not one, or is not whole."""
        try:
            meta = json.loads((path / "meta.json").read_text())
            self.paired: bool = meta["paired"]
            self.fingerprint: str = meta["fingerprint"]
            self.sources: list[str] = meta["sources"]
            self._models: list[str] = meta["models"]
            # Opened here, since NumPy does not close a file that it opened and cannot read.
            with (path / "index.npz").open("rb") as file, np.load(file, allow_pickle=False) as index:
                columns = {name: index[name] for name in (*_COLUMNS, "flags")}
            num_bytes = (path / "tokens.bin").stat().st_size
        except (OSError, ValueError, KeyError, TypeError, EOFError, BadZipFile) as error:
            raise DataError(f"{path} is not a store of encoded rows: {error}") from error
        self.path = path
        self.prompt_length: NDArray[np.int32] = columns["prompt_length"]
        self.completion_length: NDArray[np.int32] = columns["completion_length"]
        self.trained_length: NDArray[np.int32] = columns["trained_length"]
        self.group: NDArray[np.int64] = columns["group"]
        self.desirable: NDArray[np.bool_] = columns["desirable"].astype(np.bool_)
        self.weight: NDArray[np.float32] = columns["weight"]
        self.score: NDArray[np.float32] = columns["score"]
        self._line = columns["line"]
        self._source = columns["source"]
        self._model = columns["model"]
        self._flags = columns["flags"]
        # Where each sequence begins follows from the lengths, and is not stored.
        lengths = self.prompt_length.astype(np.int64) + self.completion_length
        self._offset = np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64)
        # Of pairs the weight is the chosen one's, as in a step.
        weights = self.weight[:: self.sequences_per_example].astype(np.float64)
        self.mean_weight = float(weights.mean()) if len(weights) else 1.0
        """What an example weighs, over all of the data."""
        self.longest = int(lengths.max(initial=0))
        """Tokens of the longest sequence, prompt and completion."""
        if num_bytes != 4 * self.num_tokens:
            raise DataError(
                f"{path}: tokens.bin has {num_bytes} bytes and should have {4 * self.num_tokens}; remove it"
            )
        self._file = os.open(path / "tokens.bin", os.O_RDONLY)
        self._close = weakref.finalize(self, os.close, self._file)

    def __len__(self) -> int:
        """Return the number of sequences, not examples: twice the pairs in a paired store."""
        return len(self.prompt_length)

    @property
    def num_examples(self) -> int:
        """Return the number of examples: pairs in a paired store, else sequences."""
        return len(self) // self.sequences_per_example

    @property
    def sequences_per_example(self) -> int:
        """Return 2 for pairs, else 1."""
        return 2 if self.paired else 1

    @property
    def num_tokens(self) -> int:
        """Return the number of tokens of all prompts and completions."""
        return int(self._offset[-1])

    @property
    def num_prompt_cut(self) -> int:
        """Return the number of sequences whose prompt lost its beginning to the window."""
        return int(np.count_nonzero(self._flags & _PROMPT_CUT))

    @property
    def num_completion_cut(self) -> int:
        """Return the number of sequences whose completion lost its end, with the end-of-turn token, to the window."""
        return int(np.count_nonzero(self._flags & _COMPLETION_CUT))

    @property
    def num_disagreeing(self) -> int:
        """Return the number of sequences that the template, rendering both sides jointly, writes in other words."""
        return int(np.count_nonzero(self._flags & _DISAGREES))

    @property
    def num_reasoning(self) -> int:
        """Return the number of sequences whose completion came with reasoning."""
        return int(np.count_nonzero(self._flags & _REASONS))

    @property
    def num_reasoning_shown(self) -> int:
        """Return the number of them in which the reasoning stands; it is left out of the others."""
        return int(np.count_nonzero(self._flags & _SHOWS_REASONING))

    def class_totals(self) -> tuple[float, float]:
        """Return the number of desirable and of undesirable sequences, each counted with its row's weight."""
        weight = self.weight.astype(np.float64)
        return float(weight[self.desirable].sum()), float(weight[~self.desirable].sum())

    def length(self, index: int) -> int:
        """Return the number of tokens of sequence `index`, prompt and completion."""
        return int(self._offset[index + 1] - self._offset[index])

    def read(self, index: int) -> TokenRow:
        """Read the token ids of sequence `index`."""
        # pread has no file position, so that several threads can read from one store.
        start, end = int(self._offset[index]), int(self._offset[index + 1])
        raw = np.frombuffer(os.pread(self._file, (end - start) * 4, start * 4), np.int32)
        cut = int(self.prompt_length[index])
        stored = raw[cut:]
        trained = stored >= 0
        return TokenRow(raw[:cut], np.where(trained, stored, -1 - stored).astype(np.int32), trained)

    def name(self, index: int) -> str:
        """Return the place that sequence `index` was read from: `file:line`."""
        return f"{self.sources[self._source[index]]}:{self._line[index]}"

    def model(self, index: int) -> str | None:
        """Return the name of the model that gave the completion of sequence `index`; None where the row names none."""
        number = int(self._model[index])
        return None if number < 0 else self._models[number]

    def close(self) -> None:
        """Close the file of tokens; it is also closed when the store is garbage-collected."""
        self._close()


class TokenStoreWriter:
    """
    Writes a `TokenStore` row by row; the store appears whole, under its own name, when the writer is closed.

    Use as a context manager: on an exception everything written is removed.
    """

    def __init__(self, path: Path, *, paired: bool) -> None:
        """Start a store that will stand at `path`."""
        self._path, self._partial = path, path.with_name(f"{path.name}.partial-{uuid.uuid4().hex}")
        self._partial.mkdir(parents=True)
        self._paired = paired
        self._tokens = (self._partial / "tokens.bin").open("wb")
        self._columns: dict[str, array[Any]] = {name: array(kind) for name, kind in _COLUMNS.items()}
        self._flags = array("B")
        self._sources: dict[str, int] = {}
        self._models: dict[str, int] = {}
        self._hash = hashlib.sha256(b"pairs" if paired else b"single")

    def append(
        self,
        row: Encoded,
        *,
        desirable: bool,
        group: int,
        weight: float,
        source: str,
        line: int,
        score: float = 0.0,
        model: str | None = None,
    ) -> None:
        """Add one sequence; for pairs, the chosen and right after it the rejected one."""
        num_trained = int(np.count_nonzero(row.trained))
        # The mask is stored in the sign: ids are not negative, and -1 - id keeps that of token 0.
        stored = row.completion
        if num_trained < len(stored):
            stored = np.where(row.trained, stored, -1 - stored)
        # The fingerprint covers everything that training depends on, and not where a row comes from.
        data = np.asarray(row.prompt, np.int32).tobytes() + np.asarray(stored, np.int32).tobytes()
        self._tokens.write(data)
        lengths = f"{len(row.prompt)} {len(row.completion)}"
        numbers = f"{group} {np.float32(weight)!s} {np.float32(score)!s}"
        self._hash.update(f"{lengths} {desirable:d} {numbers};".encode() + data)
        values = {
            "prompt_length": len(row.prompt),
            "completion_length": len(row.completion),
            "trained_length": num_trained,
            "group": group,
            "desirable": int(desirable),
            "weight": weight,
            "score": score,
            "line": line,
            "source": self._sources.setdefault(source, len(self._sources)),
            "model": -1 if model is None else self._models.setdefault(model, len(self._models)),
        }
        for name, value in values.items():
            self._columns[name].append(value)
        self._flags.append(
            row.prompt_cut * _PROMPT_CUT
            + row.completion_cut * _COMPLETION_CUT
            + (not row.agrees) * _DISAGREES
            + row.reasons * _REASONS
            + row.shows_reasoning * _SHOWS_REASONING
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        try:
            self._tokens.close()
            if kind is None:
                self._publish()
        finally:
            _remove(self._partial)

    def _publish(self) -> None:
        """Write index and metadata, and move the finished folder to its name."""
        if self._paired and len(self._flags) % 2:
            raise ValueError("a paired store ends in the middle of a pair: append the rejected sequence as well")
        index: dict[str, Any] = {name: np.array(column) for name, column in self._columns.items()}
        np.savez(self._partial / "index.npz", allow_pickle=False, flags=np.array(self._flags, np.uint8), **index)
        names = {"sources": list(self._sources), "models": list(self._models)}
        meta = {"paired": self._paired, "fingerprint": self._hash.hexdigest(), **names}
        (self._partial / "meta.json").write_text(json.dumps(meta))
        # The whole folder appears at once: a reader never sees a store that is being written.
        _remove(self._path)
        self._partial.rename(self._path)


def _remove(folder: Path) -> None:
    """Remove a store or a partial one, if it is there."""
    if folder.exists():
        for item in folder.iterdir():
            item.unlink()
        folder.rmdir()

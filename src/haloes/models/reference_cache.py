"""
Reference log-probabilities on disk: sweeps over loss, beta and learning rate, resumes and later epochs reuse them.

A value is keyed by the content of the reference (its folder) and by the token ids of the sequence, by nothing else.
Each run appends to a segment file of its own: records of 24 bytes with a checksum, so that a kill in mid-write costs
the record it hit and no other. Of a run's processes one reads and writes the files, the others hold the same values.
"""

import hashlib
import uuid
import zlib
from collections.abc import Mapping
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from haloes.errors import RunError

_RECORD = np.dtype([("key", "S16"), ("value", "<f4"), ("check", "<u4")])


def sequence_key(prompt: NDArray[np.int32], completion: NDArray[np.int32], trained: NDArray[np.bool_]) -> bytes:
    """Return 16 bytes that name a prompt with a completion and what of it is scored."""
    # The prompt's length goes first: the same tokens, cut elsewhere into prompt and completion, are another sequence.
    digest = hashlib.blake2b(len(prompt).to_bytes(4, "little"), digest_size=16)
    digest.update(prompt.tobytes())
    digest.update(completion.tobytes())
    digest.update(trained.tobytes())
    return digest.digest()


class ReferenceCache:
    """Values by key: those of all earlier runs with the same reference, and of this one."""

    def __init__(self, folder: Path, known: bytes | None = None) -> None:
        """
        Take the values that are known.

        Args:
            folder: where they are kept.
            known: all values, as the run's main process has them (`to_bytes`): this process then neither reads files
                nor writes them. None reads the files, without damaged and cut-off records.

        Raises RunError when the folder cannot be used.
        """
        records = _read_folder(folder) if known is None else np.frombuffer(known, _RECORD)
        # Several runs may have computed one sequence: whichever file comes first by name counts, in every run.
        _, first = np.unique(records["key"], return_index=True)
        self._keys, self._values = records["key"][first], records["value"][first]
        self._new: dict[bytes, float] = {}
        self._folder = folder
        # A file of its own, so that runs never write to the same one.
        self._path = None if known is not None else folder / f"{uuid.uuid4().hex}.bin"

    def to_bytes(self) -> bytes:
        """Return all values, for the run's other processes."""
        keys = (bytes(key).ljust(16, b"\0") for key in self._keys)
        return values_to_bytes(dict(zip(keys, self._values.tolist(), strict=True)) | self._new)

    def __len__(self) -> int:
        return len(self._keys) + len(self._new)

    def get(self, key: bytes) -> float | None:
        """Return the value under this key (a float32), if there is one."""
        if key in self._new:
            return self._new[key]
        # numpy drops the trailing zero bytes of an S16; all keys have 16 bytes, so that no two become one.
        bare = key.rstrip(b"\0")
        at = int(np.searchsorted(self._keys, np.bytes_(bare)))
        if at < len(self._keys) and self._keys[at] == bare:
            return float(self._values[at])
        return None

    def put(self, values: Mapping[bytes, float]) -> None:
        """
        Add values, on disk with one write by the process that writes; those that are there already stay as they are.

        Raises RunError when the disk is full or cannot be written.
        """
        # Rounded as on disk: a run that reads a value back must go on with the very number that this run uses.
        fresh = {key: float(np.float32(value)) for key, value in values.items() if self.get(key) is None}
        if not fresh:
            return
        try:
            if self._path is not None:
                with self._path.open("ab") as file:
                    file.write(values_to_bytes(fresh))
        except OSError as error:
            raise RunError(
                f"the reference cache {self._folder} cannot be written: {error.strerror or error}; free some "
                "space and resume, or do without it (train.reference_cache=false)"
            ) from error
        self._new.update(fresh)


def values_to_bytes(values: Mapping[bytes, float]) -> bytes:
    """Return values by key as records, 24 bytes each."""
    return _records(values).tobytes()


def values_from_bytes(content: bytes) -> dict[bytes, float]:
    """Return the values of records, by key."""
    records = np.frombuffer(content, _RECORD)
    keys = (bytes(key).ljust(16, b"\0") for key in records["key"])  # numpy drops the zeros at their ends
    return dict(zip(keys, records["value"].tolist(), strict=True))


def _records(values: Mapping[bytes, float]) -> NDArray[np.void]:
    """Return values as records with their checksums."""
    records = np.empty(len(values), _RECORD)
    records["key"] = list(values)
    records["value"] = list(values.values())
    records["check"] = _checks(records)
    return records


def _checks(records: NDArray[np.void]) -> list[int]:
    """Return the checksum of each record's key and value."""
    return [zlib.crc32(record.tobytes()[:20]) for record in records]


def _read_folder(folder: Path) -> NDArray[np.void]:
    """Read all segments of a folder, which is made where it is not there."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        return np.concatenate([np.empty(0, _RECORD), *(_read(path) for path in sorted(folder.glob("*.bin")))])
    except OSError as error:
        raise RunError(
            f"the reference cache {folder} cannot be used: {error.strerror or error}; set HALOES_CACHE to a folder "
            "that can be written, or do without it (train.reference_cache=false)"
        ) from error


def _read(path: Path) -> NDArray[np.void]:
    """Read the records of a segment whose checksums are right."""
    data = path.read_bytes()
    # A kill may have cut the last record: the file is read up to the last whole one.
    records = np.frombuffer(data[: len(data) // _RECORD.itemsize * _RECORD.itemsize], _RECORD)
    intact: NDArray[np.void] = records[records["check"] == np.array(_checks(records), np.uint32)]
    return intact

"""
The manifest of a run's folder: a hash of each file that is read again when the run is resumed, in `manifest.json`.

What can be made again (encoded rows, prompts, counts, answers before training, a judge's verdicts on steps to come) is
made again where it is not what the run wrote. Checkpoints have manifests of their own, and carry the metrics. The
manifest itself is sealed with a hash of its content: one that is damaged is as none.
"""

import hashlib
import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from haloes.errors import DataError
from haloes.run_files import MANIFEST
from haloes.store import read_json, write_json

_FILES, _SEAL = "files", "sha256"


def record(run_dir: Path, names: Iterable[str], facts: Mapping[str, Any] | None = None) -> None:
    """
    Write down what files are now, and facts beside them.

    Args:
        run_dir: the run's folder.
        names: files or folders in it, relative to it; of a folder all files, and none that were there before.
        facts: JSON-ready values by name, for `fact`.
    """
    content = _read(run_dir)
    files = dict(content.get(_FILES, {}))
    for name in names:
        files = {path: code for path, code in files.items() if path != name and not path.startswith(f"{name}/")}
        files |= {path.relative_to(run_dir).as_posix(): _hash(path) for path in _files(run_dir / name)}
    content = {**content, **(facts or {}), _FILES: files}
    write_json(run_dir / MANIFEST, {**content, _SEAL: _seal(content)})


def changed(run_dir: Path, name: str) -> list[str]:
    """
    Return which files are not what was written: changed, lost, or added to a folder.

    Args:
        run_dir: the run's folder.
        name: a file or folder in it; one that was never recorded is changed.
    """
    known = _read(run_dir).get(_FILES, {})
    wanted = {path: code for path, code in known.items() if path == name or path.startswith(f"{name}/")}
    there = {path.relative_to(run_dir).as_posix(): path for path in _files(run_dir / name)}
    if not wanted:
        return [name]
    return sorted(
        path for path in wanted.keys() | there.keys() if path not in there or _hash(there[path]) != wanted.get(path)
    )


def is_recorded(run_dir: Path, name: str) -> bool:
    """Return whether the manifest knows a file."""
    return name in _read(run_dir).get(_FILES, {})


def fact(run_dir: Path, name: str) -> Any:
    """Return a fact that was written down; None where there is none, or the manifest is damaged."""
    return _read(run_dir).get(name)


def _read(run_dir: Path) -> dict[str, Any]:
    try:
        content = read_json(run_dir / MANIFEST)
    except DataError:
        return {}
    if not isinstance(content, dict):
        return {}
    seal = content.pop(_SEAL, None)
    return content if seal == _seal(content) else {}


def _seal(content: Mapping[str, Any]) -> str:
    # As it comes back from the file: a tuple is a list there.
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()


def _files(path: Path) -> list[Path]:
    return [path] if path.is_file() else sorted(file for file in path.rglob("*") if file.is_file())


def _hash(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()

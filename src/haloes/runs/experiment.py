"""Whose a folder of several runs is: a new experiment's, or that of one which is gone on with."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from haloes.errors import RunError
from haloes.store import read_json, write_json


def known_experiment(path: Path) -> dict[str, Any] | None:
    """
    What the file says that its folder is of; None where there is no such experiment yet.

    Raises RunError where the folder holds something else.
    """
    if path.exists():
        found: dict[str, Any] = read_json(path)
        return found
    out = path.parent
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise RunError(f"{out} is not empty and holds no such experiment; give another folder")
    return None


def claim_experiment(path: Path, mine: Mapping[str, Any]) -> None:
    """
    Write down what the file's folder is of, or make sure that it is the same as before.

    Args:
        path: a JSON file in the experiment's folder.
        mine: everything that decides what is kept there and taken again, by the name that a user knows it by.

    Raises:
        RunError: the folder holds something else; it says what is not the same.
    """
    known, plain = known_experiment(path), json.loads(json.dumps(mine, default=dict))
    changed = [name for name, value in plain.items() if known is not None and known.get(name) != value]
    if changed:
        raise RunError(
            f"{path.parent} was started with another {' and '.join(changed)}; give back what it was, or give another "
            "folder"
        )
    write_json(path, plain)

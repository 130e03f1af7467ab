"""The folder where haloes keeps what it can make again, and how things get into it whole or not at all."""

import os
import shutil
import uuid
from collections.abc import Callable
from pathlib import Path

from haloes.errors import ModelError
from haloes.store import give_usual_permissions


def cache_dir() -> Path:
    """Return `$HALOES_CACHE`, else `$XDG_CACHE_HOME/haloes`, else `~/.cache/haloes`; it need not exist yet."""
    if own := os.environ.get("HALOES_CACHE"):
        try:
            return Path(own).expanduser()
        except RuntimeError as error:
            raise ModelError(f"HALOES_CACHE is {own!r}, and there is no such home folder; set another one") from error
    if shared := os.environ.get("XDG_CACHE_HOME"):
        return Path(shared).expanduser() / "haloes"
    return Path.home() / ".cache" / "haloes"


def build_once(folder: Path, build: Callable[[Path], None]) -> Path:
    """
    Return `folder`, filled by `build` if it is not there yet.

    `build` writes into a temporary folder beside it that is renamed at the end: a folder that exists is complete, also
    after a crash, and two processes that build it at once do not mix.

    Raises:
        ModelError: the cache cannot be written (no space, no permission).
    """
    if folder.is_dir():
        return folder
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        unfinished = folder.with_name(f".{folder.name}-{uuid.uuid4().hex}")
        unfinished.mkdir()
    except OSError as error:
        raise _unwritable(folder, error) from error
    try:
        build(unfinished)
        give_usual_permissions(unfinished)
        unfinished.rename(folder)
    except OSError as error:
        if not folder.is_dir():  # else another process was first, and its folder is as good as ours
            raise _unwritable(folder, error) from error
    finally:
        shutil.rmtree(unfinished, ignore_errors=True)
    return folder


def _unwritable(folder: Path, error: OSError) -> ModelError:
    return ModelError(
        f"{folder}: the cache cannot be written ({error.strerror or error}). "
        "Make room there, or set HALOES_CACHE to a folder with space."
    )

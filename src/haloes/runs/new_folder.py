"""A folder that is made anew: checked before the work, and whole or not there after it."""

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from haloes.errors import RunError
from haloes.store import give_usual_permissions


def check_new_folder(folder: Path) -> None:
    """Raise RunError where something is at a place that a new folder is to take; an empty folder is nothing."""
    try:
        taken = folder.exists() and (not folder.is_dir() or any(folder.iterdir()))
    except OSError as error:
        raise _unwritable(folder, error) from error
    if taken:
        raise RunError(f"{folder} is there already and not empty; give a new folder")


@contextmanager
def new_folder(folder: Path) -> Iterator[Path]:
    """
    Yield a folder beside `folder` that takes its name at the end, with the permissions that the user's umask gives.

    A folder that was killed half-written is so never taken for a whole one; nothing is left of one that failed.

    Raises:
        RunError: something is there, or it cannot be written.
    """
    check_new_folder(folder)
    partial = folder.with_name(folder.name + ".partial")
    shutil.rmtree(partial, ignore_errors=True)
    try:
        partial.mkdir(parents=True)
        yield partial
        give_usual_permissions(partial)
        if folder.exists():
            folder.rmdir()
        partial.rename(folder)
    except OSError as error:
        raise _unwritable(folder, error) from error
    finally:
        shutil.rmtree(partial, ignore_errors=True)


def check_free_space(folder: Path, *, needed: int) -> None:
    """
    Raise RunError where the disk of a folder, which need not exist yet, has less room than this.

    Args:
        folder: the place.
        needed: bytes.
    """
    at = next(place for place in (folder.absolute(), *folder.absolute().parents) if place.exists())
    free = shutil.disk_usage(at).free
    if free < needed:
        raise RunError(
            f"{folder} needs {needed / 2**30:.1f} GiB while it is made, and its disk has {free / 2**30:.1f} GiB free; "
            "free some space or choose another place"
        )


def _unwritable(folder: Path, error: OSError) -> RunError:
    return RunError(f"{folder} cannot be written ({error.strerror or error}); free some space or choose another place")

"""Feedback that was in memory: a run keeps it in its folder, so that it can be resumed."""

import dataclasses
import filecmp
import shutil
from pathlib import Path

from haloes.errors import RunError
from haloes.records import memory_name
from haloes.runs.config import RunConfig


def with_own_rows(config: RunConfig, run_dir: Path) -> RunConfig:
    """Return the configuration with the run's own files of rows that were in memory; other feedback stays."""
    settings = config.feedback
    own = dataclasses.replace(
        settings,
        source=_own(settings.source, run_dir),
        validation=None if settings.validation is None else _own(settings.validation, run_dir),
    )
    return dataclasses.replace(config, feedback=own)


def keep_rows(given: RunConfig, run_dir: Path, *, replace: bool) -> None:
    """
    Copy rows that were in memory into the run's folder.

    Args:
        given: the configuration with the files that they were written to.
        run_dir: the run's folder.
        replace: whether other rows may take the place of those that the run has.

    Raises:
        RunError: the run has other rows, and they may not be replaced.
    """
    for path in filter(None, (given.feedback.source, given.feedback.validation)):
        own = Path(_own(path, run_dir))
        if memory_name(path) is None or own == Path(path):
            continue
        if own.exists() and not replace and not filecmp.cmp(path, own, shallow=False):
            raise RunError(
                f"{run_dir} was started with other rows than those of {memory_name(path)}; give the same, or go on "
                f"with those that the run has kept: haloes.resume({str(run_dir)!r})"
            )
        shutil.copyfile(path, own)


def _own(path: str, run_dir: Path) -> str:
    return path if memory_name(path) is None else str(run_dir / Path(path).name)

"""
The claim of one process on a run's folder, while it trains or resumes there, and what becomes of the folder after it.

Who fails removes only what it made: never the folder, or the files, of a process that was there first.
"""

import errno
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import torch

from haloes.errors import ProcessEnded, RunError, exit_code
from haloes.locks import LOCK, empty_held_folder, hold_folder
from haloes.progress.contract import Progress
from haloes.records import memory_name
from haloes.run_files import BEST, CHECKPOINTS, DATA, ENCODED, MANIFEST, METRICS, PROCESSES, is_run
from haloes.runs import run_folder
from haloes.runs.parts import PartClock
from haloes.runs.process import end_undisturbed
from haloes.runs.rehearse import REHEARSAL
from haloes.store import is_stray
from haloes.training import checkpoint
from haloes.training.distributed import Ranks
from haloes.training.process_group import last_word

_OF_A_START = {LOCK, ENCODED, DATA, MANIFEST, PROCESSES}
"""All that a run that was killed before it wrote its configuration leaves behind: it can be started again there."""


@contextmanager
def claimed(run_dir: Path, ranks: Ranks, clock: PartClock, *, resume: bool, progress: Progress) -> Iterator[None]:
    """
    Claim a new run's folder, and remove it if nothing was trained in it; or check that there is a run to resume.

    Where the run is stopped, what it took so far is kept, and an interrupt says what is left and how to go on.

    Raises RunError when another process is at it, something else is there already, or it cannot be made.
    """
    if resume:
        run_folder.read_config(run_dir)
    if not ranks.is_main:
        # The main process holds the folder for all of them.
        with _explained(run_dir, ranks, resume=resume):
            yield
        return
    if not resume:
        _check_is_free(run_dir)  # before anything is made in it
    with hold_folder(run_dir) as is_held:
        if not is_held:
            progress.note(
                f"caution: the file system of {run_dir} knows no locks; make sure yourself that no other process works "
                "on this run"
            )
        if not resume:
            _check_is_free(run_dir)  # once more: another process may have come and gone before it was ours
        _remove_unfinished(run_dir)
        with _explained(run_dir, ranks, resume=resume), _tidied(run_dir, clock, resume=resume):
            yield


@contextmanager
def before_claim(run_dir: Path, *, resume: bool) -> Iterator[None]:
    """Say what the end of another process means for the run where it comes before the folder is claimed."""
    try:
        yield
    except ProcessEnded as error:
        raise _left_alone(error, run_dir, nothing_done=_is_nothing_done(run_dir, resume=resume)) or error from error


def _check_is_free(run_dir: Path) -> None:
    """Raise RunError where the folder holds anything but what a start leaves that was killed early."""
    if is_run(run_dir):
        raise RunError(
            f"{run_dir} holds a run already: resume it with `haloes resume {run_dir}`, or give another folder"
        )
    there = {path.name for path in run_dir.iterdir()} if run_dir.is_dir() else set()
    others = {name for name in there - _OF_A_START if memory_name(name) is None and not is_stray(run_dir / name)}
    # The lock tells such a start from somebody's own folder with files of these names.
    if others or (there and LOCK not in there):
        raise RunError(f"{run_dir} is not empty and holds no run; give another folder")


def _remove_unfinished(run_dir: Path) -> None:
    """Remove what a process that was killed left half-written in the folder."""
    for folder in (CHECKPOINTS, BEST):
        checkpoint.remove_unfinished(run_dir / folder)
    for rehearsal in run_dir.glob(f"{REHEARSAL}*"):
        shutil.rmtree(rehearsal, ignore_errors=True)


@contextmanager
def _tidied(run_dir: Path, clock: PartClock, *, resume: bool) -> Iterator[None]:
    """After an error empty the folder where nothing was trained in it, and else write how long this part took."""
    try:
        yield
    except BaseException:
        if _is_nothing_done(run_dir, resume=resume):
            empty_held_folder(run_dir)
        else:
            with suppress(OSError):  # a full disk has its own message
                run_folder.mark_stopped(run_dir, clock)
        raise


@contextmanager
def _explained(run_dir: Path, ranks: Ranks, *, resume: bool) -> Iterator[None]:
    """Say what an interrupt, the end of another process, a full disk or exhausted memory mean for the run."""
    try:
        yield
    except BaseException as error:
        if ranks.count > 1:
            end_undisturbed()
        nothing_done = _is_nothing_done(run_dir, resume=resume)
        lost = None if ranks.group is None or isinstance(error, ProcessEnded) else ranks.group.lost(error)
        cause = (
            _out_of_room(error, run_dir)
            or _left_alone(lost or error, run_dir, nothing_done=nothing_done)
            or _interrupted(error, run_dir, nothing_done=nothing_done)
        )
        if ranks.count > 1:
            last_word(exit_code(cause or error))
        if cause is not None:
            raise cause from error
        raise


def _is_nothing_done(run_dir: Path, *, resume: bool) -> bool:
    """Return whether there is nothing to resume, for want of a step, and the same command can be given again."""
    return not resume and not (run_dir / METRICS).exists()


def _interrupted(error: BaseException, run_dir: Path, *, nothing_done: bool) -> KeyboardInterrupt | None:
    """Return an interrupt outside the steps (which save the run) with what is left of the run and how to go on."""
    if not isinstance(error, KeyboardInterrupt):
        return None
    what = str(error) or "interrupted"
    if nothing_done:
        return KeyboardInterrupt(f"{what} before the first step; nothing is left, and the same command starts anew")
    return KeyboardInterrupt(f"{what}; {_how_to_go_on(run_dir)}")


def _left_alone(error: BaseException, run_dir: Path, *, nothing_done: bool) -> ProcessEnded | None:
    """Return the end of another process with what is left of the run and how to go on."""
    # torchrun interrupts who is left, often while that is on its way here with the end of the other one.
    ended = error if isinstance(error, ProcessEnded) else error.__context__
    if not isinstance(ended, ProcessEnded):
        return None
    if ended.again is not None:
        place = "" if nothing_done else f" from the newest checkpoint in {run_dir}"
        return ProcessEnded(f"{ended}; starting again ({ended.again}){place}")
    if nothing_done:
        return ProcessEnded(f"{ended}; it was before the first step, and the same command starts anew")
    return ProcessEnded(f"{ended}; {_how_to_go_on(run_dir)}")


def _how_to_go_on(run_dir: Path) -> str:
    return f"every saved step is in {run_dir}. Go on with: haloes resume {run_dir}"


def _out_of_room(error: BaseException, run_dir: Path) -> RunError | None:
    """Explain a full disk, or memory that ran out beside the training steps (which say so themselves), in one line."""
    if isinstance(error, OSError) and error.errno in {errno.ENOSPC, errno.EDQUOT}:
        return RunError(f"{run_dir} cannot be written ({error.strerror}); free some space, and start or resume the run")
    if isinstance(error, torch.OutOfMemoryError | MemoryError):
        return RunError(
            "out of memory while the model was loaded, answered or was measured: lower samples.batch_size, or take "
            "model.dtype=bfloat16 or a smaller model"
        )
    return None

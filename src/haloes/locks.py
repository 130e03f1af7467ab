"""
One process at a time at a folder or a file, by a lock that the kernel lets go when its holder ends, however it ends.

The lock is `flock` on a file of its own, which says who holds it. NFS of Linux passes it on to the server, so that it
holds between machines; a file system that knows no locks is told to the caller, who can only warn.
"""

import errno
import fcntl
import json
import os
import shutil
import socket
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path

from haloes.errors import RunError
from haloes.store import remove_strays

LOCK = ".lock"
"""The file in a folder by which it is held; one that is left is of a process that was killed, and no obstacle."""

_NO_LOCKS = {errno.ENOSYS, errno.EOPNOTSUPP, errno.ENOTSUP, errno.ENOLCK, errno.EINVAL}
_TAKEN = {errno.EWOULDBLOCK, errno.EAGAIN, errno.EACCES}


@contextmanager
def hold_folder(folder: Path) -> Iterator[bool]:
    """
    Hold a folder inside the block, and remove what a killed process left half-written in it.

    A folder that is not there is made; it goes again where nothing is in it after the block.

    Yields whether it is really held: False where the file system knows no locks.

    Raises:
        RunError: another process holds it, which is named; or it cannot be made or written.
    """
    is_new = not folder.exists()
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise RunError(f"{folder} cannot be made ({error.strerror or error}); give another folder") from error
    try:
        with _held(folder / LOCK, folder) as is_held:
            if is_held:
                remove_strays(folder)
            yield is_held
    finally:
        if is_new:
            with suppress(OSError):  # there is something in it, perhaps another's
                folder.rmdir()


def empty_held_folder(folder: Path) -> None:
    """Remove everything in a folder that is held but its lock."""
    for path in folder.iterdir():
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path, ignore_errors=True)
        elif path.name != LOCK:
            path.unlink(missing_ok=True)


@contextmanager
def hold_file(path: Path) -> Iterator[bool]:
    """
    Hold a file that rows are added to, by a lock beside it.

    Yields whether it is really held: False also where nothing can be written beside it, and so nothing to it.

    Raises:
        RunError: another process holds it, which is named.
    """
    with suppress(OSError):  # who writes the file says what is wrong with its folder
        path.parent.mkdir(parents=True, exist_ok=True)
    if not os.access(path.parent, os.W_OK):
        yield False
        return
    with _held(path.with_name(f".{path.name}{LOCK}"), path) as is_held:
        yield is_held


@contextmanager
def _held(lock: Path, place: Path) -> Iterator[bool]:
    try:
        handle = _take(lock, place)
    except OSError as error:
        raise RunError(f"{place} cannot be written ({error.strerror or error}); give another place") from error
    if handle is None:
        yield False
        return
    try:
        # On a full disk the lock holds as well; it only does not say whose it is.
        with suppress(OSError):
            os.ftruncate(handle, 0)
            os.pwrite(handle, _whose(), 0)
        yield True
    finally:
        # Removed while it is held: who opened it meanwhile sees that it is gone, and makes a new one.
        with suppress(OSError):
            lock.unlink()
        os.close(handle)


def _take(lock: Path, place: Path) -> int | None:
    """Return the open file of a lock that is ours now; None where the file system knows no locks."""
    while True:
        handle = os.open(lock, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o666)
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            holder = os.pread(handle, 4096, 0)
            os.close(handle)
            if error.errno in _TAKEN:
                raise RunError(_in_use(place, holder)) from None
            if error.errno in _NO_LOCKS:
                return None
            raise
        # Its last holder may have removed the file between the two calls above: then this is a lock on nothing.
        with suppress(FileNotFoundError):
            if os.path.samestat(lock.stat(), os.fstat(handle)):
                return handle
        os.close(handle)


def _whose() -> bytes:
    now = datetime.now(UTC).isoformat(timespec="seconds")
    return json.dumps({"process": os.getpid(), "host": socket.gethostname(), "since": now}).encode()


def _in_use(place: Path, holder: bytes) -> str:
    """Return the message about a place that another process holds, which wrote down who it is."""
    who = "another process"
    with suppress(ValueError, KeyError, TypeError):
        said = json.loads(holder)
        who = f"process {int(said['process'])} on {str(said['host'])!a:.80}, since {str(said['since'])!a:.40}"
    return (
        f"{place} is in use by {who.replace(chr(39), '')}; nothing was changed. Wait until it has ended or stop it, or "
        "give another place"
    )

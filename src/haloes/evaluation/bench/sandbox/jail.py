"""
A script that shuts itself in and then becomes a command. Started by `namespaces.py` alone.

It is run by a fresh, isolated interpreter and imports nothing but the standard library. Four processes follow each
other: one that stays outside and writes the id maps; one in new namespaces (user, mount, network, process, IPC, host
name) that builds a file system of its own, all of it read-only; the first process of the new process namespace, whose
end is the end of everything in it; and the program, without privileges and under the filter of `seccomp.py`.
Whatever cannot be had is an error: nothing runs with less protection than asked for.
"""

import ctypes
import errno
import json
import os
import signal
import stat
import struct
import sys
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any, NoReturn

_LIBC = ctypes.CDLL(None, use_errno=True)
_NAMESPACES = {"mount": 0x00020000, "UTS": 0x04000000, "IPC": 0x08000000, "user": 0x10000000, "process": 0x20000000}
_NETWORK = 0x40000000
_BIND, _RECURSIVE, _PRIVATE, _NOSUID, _NODEV = 0x1000, 0x4000, 1 << 18, 0x2, 0x4
_DETACH = 2
_SET_DEATH_SIGNAL, _DROP_BOUNDING, _NO_NEW_PRIVILEGES = 1, 24, 38
_PIVOT_ROOT = {"x86_64": 155, "aarch64": 41}
_MOUNT_SETATTR = 442
_AT_RECURSIVE = 0x8000
_AT_FDCWD = -100
_ATTR_READ_ONLY, _ATTR_NOSUID, _ATTR_NODEV = 0x1, 0x2, 0x4
_INSIDE, _NOBODY = 1000, 65534
"""The program's user inside; and outside, where root started it: then it owns no file."""
_JOIN_SESSION_KEYRING = 1
_KEYCTL = {"x86_64": 250, "aarch64": 219}
_SET_SECCOMP, _FILTER = 22, 2
_ROOT = "/tmp"  # noqa: S108 - only a place to mount on that is there on every system; nothing is written into it
_LAST_CAPABILITY = 63
_HIGHEST_FILE = 65536


def main() -> None:
    """Start the shut-in process, write its id maps from outside, wait for it, and end as it did."""
    _die_with_parent()
    job = json.loads(sys.argv[1])
    if os.geteuid() == 0:
        with suppress(PermissionError):  # the root of a user namespace may not
            os.setgroups([])
    # Two pipes, one a direction: the child unshares first, and only then has maps to write; it waits for them.
    ready, go = os.pipe(), os.pipe()
    child = os.fork()
    if child == 0:
        _guarded(lambda: _shut_in(job, ready[1], go[0]))
    os.close(ready[1])
    if os.read(ready[0], 1):
        _write_maps(child)
        os.write(go[1], b"x")
    os._exit(_ended(child))


def _guarded(work: Callable[[], int]) -> None:
    """Carry out a part of the set-up and leave with its exit code; where it fails say so: the program must not run."""
    code = 1
    try:
        code = work()
    except BaseException as error:  # noqa: BLE001 - also what is not an Exception: a fork must never return from here
        os.write(2, f"{type(error).__name__}: {error}\n".encode())
    os._exit(code)


def _ended(child: int) -> int:
    """Wait for a child, and return its exit code, or 128 and the number of the signal that ended it."""
    # The first process inherits orphans of its namespace: their ends are waited for, and are not the program's.
    while True:
        ended, how = os.wait()
        if ended == child:
            code = os.waitstatus_to_exitcode(how)
            return code if code >= 0 else 128 - code


def _write_maps(child: int) -> None:
    """Map the program's user: to nobody where root starts it and may say so, otherwise to the user who starts it."""
    # Without this the kernel lets no ordinary user write a map of groups (user_namespaces(7)).
    Path(f"/proc/{child}/setgroups").write_bytes(b"deny")
    for name, own in (("uid_map", os.geteuid()), ("gid_map", os.getegid())):
        place = Path(f"/proc/{child}/{name}")
        try:
            place.write_bytes(f"{_INSIDE} {_NOBODY if os.geteuid() == 0 else own} 1".encode())
        except PermissionError:
            place.write_bytes(f"{_INSIDE} {own} 1".encode())


def _shut_in(job: dict[str, Any], ready: int, go: int) -> int:
    """Enter new namespaces, build a file system, start the first process in there, and return its exit code."""
    _die_with_parent()
    # One call for all: the new user namespace is what gives an ordinary user the right to make the others.
    _call("unshare", _NETWORK | sum(_NAMESPACES.values()))
    os.write(ready, b"x")
    if not os.read(go, 1):
        raise OSError("the id maps were not written")
    # Opened while the old file system is still there, and with the rights of the user who started this.
    sources = {place: os.open(source, os.O_PATH) for place, source in job["sources"].items()}
    os.setresgid(_INSIDE, _INSIDE, _INSIDE)
    os.setresuid(_INSIDE, _INSIDE, _INSIDE)
    _die_with_parent()  # a change of user takes it back
    _forbid_more_namespaces()
    _build_root(job, sources)
    # `unshare` puts only children into the process namespace: the first of them is its process 1.
    first = os.fork()
    if first == 0:
        _guarded(lambda: _first_process(job))
    return _ended(first)


def _forbid_more_namespaces() -> None:
    """Forbid user namespaces inside this one, where the kernel lets that be said: they only widen its surface."""
    try:
        Path("/proc/sys/user/max_user_namespaces").write_bytes(b"0")
    except OSError:
        return


def _build_root(job: dict[str, Any], sources: dict[str, int]) -> None:
    """Build a file system in memory: an interpreter and its libraries, and an empty working folder; all read-only."""
    # Private first: on most systems mounts are shared, and these would appear outside as well.
    _mount("none", "/", None, _RECURSIVE | _PRIVATE, None)
    _mount("tmpfs", _ROOT, "tmpfs", _NOSUID | _NODEV, "mode=755,size=1m")
    os.chdir(_ROOT)
    for path, handle in sources.items():
        place = f".{path}"
        if stat.S_ISDIR(os.fstat(handle).st_mode):
            Path(place).mkdir(parents=True, exist_ok=True)
        else:
            Path(place).parent.mkdir(parents=True, exist_ok=True)
            Path(place).touch()
        # By handle and not by name: the new file system may already cover the path.
        _mount(f"/proc/self/fd/{handle}", place, None, _BIND | _RECURSIVE, None)
        _protect(place, recursive=True)
        os.close(handle)
    for path, target in job["links"].items():
        Path(f".{path}").symlink_to(target)
    for path in job["hidden"]:
        if Path(f".{path}").is_dir():
            _mount("tmpfs", f".{path}", "tmpfs", _NOSUID | _NODEV, "mode=755,size=4k")
            _protect(f".{path}")
    Path(f".{job['work']}").mkdir()
    _protect(".")
    # chroot could be left again; after a pivot onto itself the old root can be taken off, and nothing leads back.
    _checked(_LIBC.syscall(_PIVOT_ROOT[os.uname().machine], b".", b"."), "pivot_root")
    _checked(_LIBC.umount2(b".", _DETACH), "umount2")
    os.chdir(job["work"])


def _first_process(job: dict[str, Any]) -> int:
    """Start the program and wait for it; with this process everything in the namespace ends."""
    _die_with_parent()
    program = os.fork()
    if program == 0:
        _guarded(lambda: _become_program(job))
    return _ended(program)


def _become_program(job: dict[str, Any]) -> NoReturn:
    for capability in range(_LAST_CAPABILITY + 1):
        _LIBC.prctl(_DROP_BOUNDING, capability, 0, 0, 0)  # fails for numbers that this kernel does not know
    _checked(_LIBC.prctl(_NO_NEW_PRIVILEGES, 1, 0, 0, 0), "prctl(PR_SET_NO_NEW_PRIVS)")
    _leave_keyrings()
    _forbid_calls(bytes.fromhex(job["filter"]))
    # An ignored signal stays ignored over execve: whoever started haloes may have ignored some.
    for number in range(1, signal.NSIG):
        try:
            signal.signal(number, signal.SIG_DFL)
        except (OSError, ValueError):
            continue
    os.closerange(3, _HIGHEST_FILE)
    os.execve(job["command"][0], job["command"], {})  # noqa: S606 - no shell is meant


def _leave_keyrings() -> None:
    """Join a new, empty session keyring, so that the program cannot read the keys of the user who runs haloes."""
    if _LIBC.syscall(_KEYCTL[os.uname().machine], _JOIN_SESSION_KEYRING, None) >= 0:
        return
    # Where the kernel has no keys, or a container forbids the call, the program cannot ask for any either.
    if ctypes.get_errno() not in {errno.ENOSYS, errno.EPERM}:
        _checked(-1, "keyctl")


def _forbid_calls(steps: bytes) -> None:
    """Let the kernel refuse calls from here on, also after execve (seccomp)."""
    buffer = ctypes.create_string_buffer(steps, len(steps))
    # struct sock_fprog: the number of steps, and where they lie.
    described = struct.pack("HP", len(steps) // 8, ctypes.addressof(buffer))
    done = _LIBC.prctl(_SET_SECCOMP, _FILTER, ctypes.c_char_p(described), 0, 0)
    _checked(done, "prctl(PR_SET_SECCOMP)")


def _die_with_parent() -> None:
    _checked(_LIBC.prctl(_SET_DEATH_SIGNAL, signal.SIGKILL, 0, 0, 0), "prctl(PR_SET_PDEATHSIG)")


def _mount(source: str, target: str, kind: str | None, flags: int, options: str | None) -> None:
    parts = [None if part is None else part.encode() for part in (source, target, kind, options)]
    done = _LIBC.mount(parts[0], parts[1], parts[2], ctypes.c_ulong(flags), parts[3])
    _checked(done, f"mount of {target}")


def _protect(path: str, *, recursive: bool = False) -> None:
    """Make a mount read-only, without devices or set-user-id programs; `recursive` takes the mounts below it too."""
    attributes = (ctypes.c_uint64 * 4)(_ATTR_READ_ONLY | _ATTR_NOSUID | _ATTR_NODEV, 0, 0, 0)
    flags = _AT_RECURSIVE if recursive else 0
    done = _LIBC.syscall(_MOUNT_SETATTR, _AT_FDCWD, path.encode(), flags, attributes, ctypes.c_size_t(32))
    _checked(done, f"mount_setattr of {path}")


def _call(name: str, *arguments: int) -> None:
    _checked(getattr(_LIBC, name)(*arguments), name)


def _checked(done: int, what: str) -> None:
    if done != 0:
        number = ctypes.get_errno()
        raise OSError(number, f"{what}: {os.strerror(number)}")


if __name__ == "__main__":
    main()

"""
The inside of the sandbox: a script that shuts itself in and then becomes the program. Started by `sandbox.run` alone.

It is run by a fresh, isolated interpreter and imports nothing but the standard library. Four processes follow each
other: one that stays outside and writes the id maps; one in new namespaces (user, mount, network, process, IPC, host
name) that builds a file system of its own, read-only but for a small working folder in memory; the first process of the
new process namespace, whose end is the end of everything in it; and the program, with limits, without privileges.
Whatever cannot be had is an error: nothing runs with less protection than asked for.
"""

import ctypes
import errno
import json
import os
import resource
import signal
import struct
import sys
from contextlib import suppress
from pathlib import Path
from typing import Any

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
"""The program's user inside; and outside, where root started it (root is not held to a number of processes)."""
_JOIN_SESSION_KEYRING = 1
_CALLS = {
    "x86_64": {
        "shmget": 29,
        "shmat": 30,
        "shmctl": 31,
        "socket": 41,
        "socketpair": 53,
        "semget": 64,
        "msgget": 68,
        "ptrace": 101,
        "add_key": 248,
        "request_key": 249,
        "keyctl": 250,
        "perf_event_open": 298,
        "process_vm_readv": 310,
        "process_vm_writev": 311,
        "bpf": 321,
        "userfaultfd": 323,
        "io_uring_setup": 425,
    },
    "aarch64": {
        "ptrace": 117,
        "msgget": 186,
        "semget": 190,
        "shmget": 194,
        "shmctl": 195,
        "shmat": 196,
        "socket": 198,
        "socketpair": 199,
        "add_key": 217,
        "request_key": 218,
        "keyctl": 219,
        "perf_event_open": 241,
        "process_vm_readv": 270,
        "process_vm_writev": 271,
        "bpf": 280,
        "userfaultfd": 282,
        "io_uring_setup": 425,
    },
}
"""The calls that a filter forbids: memory that no limit counts, the kernel's keys, and what no solution needs."""
_ARCHITECTURE = {"x86_64": 0xC000003E, "aarch64": 0xC00000B7}
_OTHER_CALLS = 0x40000000
"""The x32 calls of x86_64 have this bit; no call of either machine has a number above it."""
_FAMILIES = (1, 2, 10)
"""Sockets that may be made, and lead nowhere: within the computer, IPv4, IPv6. Others, such as those to the host of a
virtual machine, are held by no network namespace."""
_SET_SECCOMP, _FILTER = 22, 2
_ROOT = "/tmp"  # noqa: S108 - only a place to mount on that is there on every system; nothing is written into it
_LAST_CAPABILITY = 63
_HIGHEST_FILE = 65536
_BECOME = """
import os, sys
token = sys.argv.pop()
with open("program.py", encoding="utf-8") as file:
    source = file.read()
exec(compile(source, "program.py", "exec"), {"__name__": "program"})
sys.stdout.flush()
os.write(1, token.encode())
"""
"""The end of the program is marked, so that one that leaves early with exit code 0 has not reached it."""


def main() -> None:
    """Start the shut-in process, write its id maps from outside, and wait for it."""
    _die_with_parent()
    status = int(sys.argv[1])
    # Closed by execve, so that the program itself cannot write to it and tell that it passed.
    os.set_inheritable(status, False)  # noqa: FBT003 - its own signature
    job = json.load(sys.stdin.buffer)
    if os.geteuid() == 0:
        with suppress(PermissionError):  # the root of a user namespace may not
            os.setgroups([])
    # Two pipes, one a direction: the child unshares first, and only then has maps to write; it waits for them.
    ready, go = os.pipe(), os.pipe()
    child = os.fork()
    if child == 0:
        _guarded(status, lambda: _shut_in(job, ready[1], go[0], status))
    os.close(ready[1])
    if os.read(ready[0], 1):
        _guarded(status, lambda: _write_maps(child), ends=False)
        os.write(go[1], b"x")
    os.waitpid(child, 0)


def _guarded(status: int, work: Any, *, ends: bool = True) -> None:
    """Carry out a part of the set-up; where it fails, say so and leave: the program must not run."""
    try:
        work()
    except BaseException as error:  # noqa: BLE001 - also what is not an Exception: a fork must never return from here
        _tell(status, {"refused": f"{type(error).__name__}: {error}"})
        os._exit(1)
    if ends:
        os._exit(0)


def _tell(status: int, fact: dict[str, Any]) -> None:
    os.write(status, json.dumps(fact).encode() + b"\n")


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


def _shut_in(job: dict[str, Any], ready: int, go: int, status: int) -> None:
    """Enter new namespaces, build a file system, and start the first process of the process namespace."""
    _die_with_parent()
    # One call for all: the new user namespace is what gives an ordinary user the right to make the others.
    _call("unshare", _NETWORK | sum(_NAMESPACES.values()))
    os.write(ready, b"x")
    if not os.read(go, 1):
        raise OSError("the id maps were not written")
    # Opened while the old file system is still there, and with the rights of the user who started this.
    null = os.open("/dev/null", os.O_RDWR)
    sources = {path: os.open(path, os.O_PATH) for path in job["visible"]}
    os.setresgid(_INSIDE, _INSIDE, _INSIDE)
    os.setresuid(_INSIDE, _INSIDE, _INSIDE)
    _die_with_parent()  # a change of user takes it back
    _forbid_more_namespaces()
    _build_root(job, sources)
    # `unshare` puts only children into the process namespace: the first of them is its process 1.
    first = os.fork()
    if first == 0:
        _guarded(status, lambda: _first_process(job, null, status))
    os.waitpid(first, 0)


def _forbid_more_namespaces() -> None:
    """Forbid user namespaces inside this one, where the kernel lets that be said: they only widen its surface."""
    try:
        Path("/proc/sys/user/max_user_namespaces").write_bytes(b"0")
    except OSError:
        return


def _build_root(job: dict[str, Any], sources: dict[str, int]) -> None:
    """Build a file system in memory: an interpreter and its libraries read-only, and one writable working folder."""
    # Private first: on most systems mounts are shared, and these would appear outside as well.
    _mount("none", "/", None, _RECURSIVE | _PRIVATE, None)
    _mount("tmpfs", _ROOT, "tmpfs", _NOSUID | _NODEV, "mode=755,size=1m")
    os.chdir(_ROOT)
    for path, handle in sources.items():
        place = f".{path}"
        if job["visible"][path] == "folder":
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
    # A home folder may lie below a folder that Python needs, such as a prefix of one's own.
    for path in job["hidden"]:
        if Path(f".{path}").is_dir():
            _mount("tmpfs", f".{path}", "tmpfs", _NOSUID | _NODEV, "mode=755,size=4k")
            _protect(f".{path}")
    Path("./work").mkdir()
    _mount("tmpfs", "./work", "tmpfs", _NOSUID | _NODEV, f"mode=700,size={job['disk_bytes']},nr_inodes=256")
    Path("./work/program.py").write_text(job["source"], encoding="utf-8")
    _protect(".")
    # chroot could be left again; after a pivot onto itself the old root can be taken off, and nothing leads back.
    _checked(_LIBC.syscall(_PIVOT_ROOT[os.uname().machine], b".", b"."), "pivot_root")
    _checked(_LIBC.umount2(b".", _DETACH), "umount2")
    os.chdir("/work")


def _first_process(job: dict[str, Any], null: int, status: int) -> None:
    """Start the program and wait for it; with this process everything in the namespace ends."""
    _die_with_parent()
    program = os.fork()
    if program == 0:
        _guarded(status, lambda: _become_program(job, null, status))
    # Process 1 inherits orphans of its namespace: their ends are waited for and are not the program's.
    while True:
        ended, how = os.wait()
        if ended == program:
            break
    code = os.waitstatus_to_exitcode(how)
    _tell(status, {"exit": code} if code >= 0 else {"signal": -code})


def _become_program(job: dict[str, Any], null: int, status: int) -> None:
    for capability in range(_LAST_CAPABILITY + 1):
        _LIBC.prctl(_DROP_BOUNDING, capability, 0, 0, 0)  # fails for numbers that this kernel does not know
    _checked(_LIBC.prctl(_NO_NEW_PRIVILEGES, 1, 0, 0, 0), "prctl(PR_SET_NO_NEW_PRIVS)")
    for name, most in job["limits"].items():
        resource.setrlimit(getattr(resource, f"RLIMIT_{name}"), (most, most))
    _require_no_fork()
    _leave_keyrings()
    _forbid_calls()
    # An ignored signal stays ignored over execve: whoever started haloes may have ignored some.
    for number in range(1, signal.NSIG):
        try:
            signal.signal(number, signal.SIG_DFL)
        except (OSError, ValueError):
            continue
    os.dup2(null, 0)
    os.closerange(3, status)
    os.closerange(status + 1, _HIGHEST_FILE)  # that one is closed by execve, and tells where that fails
    python = job["python"]
    os.execve(python, [python, "-I", "-S", "-B", "-u", "-c", _BECOME, job["token"]], {})  # noqa: S606 - no shell is meant


def _leave_keyrings() -> None:
    """Join a new, empty session keyring, so that the program cannot read the keys of whoever started it."""
    if _LIBC.syscall(_CALLS[os.uname().machine]["keyctl"], _JOIN_SESSION_KEYRING, None) >= 0:
        return
    # Where the kernel has no keys, or a container forbids the call, the program cannot ask for any either.
    if ctypes.get_errno() not in {errno.ENOSYS, errno.EPERM}:
        _checked(-1, "keyctl")


def _require_no_fork() -> None:
    """Try to fork, and raise OSError where that works: the kernel does not hold root to a number of processes."""
    try:
        child = os.fork()
    except BlockingIOError:
        return
    if child == 0:
        os._exit(0)
    raise OSError("the number of processes cannot be limited for this user")


def _forbid_calls() -> None:
    """Let the kernel refuse calls from here on, also after execve (seccomp)."""
    program = b"".join(struct.pack("HBBI", *step) for step in _filter(os.uname().machine))
    buffer = ctypes.create_string_buffer(program, len(program))
    # struct sock_fprog: the number of steps, and where they lie.
    described = struct.pack("HP", len(program) // 8, ctypes.addressof(buffer))
    done = _LIBC.prctl(_SET_SECCOMP, _FILTER, ctypes.c_char_p(described), 0, 0)
    _checked(done, "prctl(PR_SET_SECCOMP)")


def _filter(machine: str) -> list[tuple[int, int, int, int]]:
    """Return the steps of the filter, as (what, skipped where true, skipped where false, number)."""
    load, equal, at_least, answer = 0x20, 0x15, 0x35, 0x06
    allow, refuse = 0x7FFF0000, 0x00050000 | errno.EPERM
    calls = _CALLS[machine]
    sockets = [calls["socket"], calls["socketpair"]]
    others = [number for name, number in calls.items() if name not in {"socket", "socketpair"}]
    # Calls of another machine (32 bits) have other numbers: all are refused.
    steps = [
        (load, 0, 0, 4),
        (equal, 1, 0, _ARCHITECTURE[machine]),
        (answer, 0, 0, refuse),
        (load, 0, 0, 0),
        (at_least, 0, 1, _OTHER_CALLS),
        (answer, 0, 0, refuse),
    ]
    for number in others:
        steps += [(equal, 0, 1, number), (answer, 0, 0, refuse)]
    # A socket's family is the first argument, behind the number, the machine and the place of the call.
    steps += [(equal, 2, 0, sockets[0]), (equal, 1, 0, sockets[1]), (answer, 0, 0, allow), (load, 0, 0, 16)]
    for family in _FAMILIES:
        steps += [(equal, 0, 1, family), (answer, 0, 0, allow)]
    return [*steps, (answer, 0, 0, refuse)]


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

"""The calls of the kernel that no program in a jail may make, as a filter for the kernel (seccomp)."""

import errno
import os
import struct
from types import MappingProxyType

from haloes.errors import ConfigError

CALLS = MappingProxyType(
    {
        "x86_64": {
            "shmget": 29,
            "shmat": 30,
            "shmctl": 31,
            "socket": 41,
            "socketpair": 53,
            "clone": 56,
            "fork": 57,
            "vfork": 58,
            "semget": 64,
            "msgget": 68,
            "ptrace": 101,
            "syslog": 103,
            "personality": 135,
            "pivot_root": 155,
            "chroot": 161,
            "mount": 165,
            "umount2": 166,
            "init_module": 175,
            "quotactl": 179,
            "io_setup": 206,
            "mq_open": 240,
            "kexec_load": 246,
            "add_key": 248,
            "request_key": 249,
            "keyctl": 250,
            "inotify_init": 253,
            "unshare": 272,
            "inotify_init1": 294,
            "perf_event_open": 298,
            "fanotify_init": 300,
            "open_by_handle_at": 304,
            "setns": 308,
            "process_vm_readv": 310,
            "process_vm_writev": 311,
            "kcmp": 312,
            "finit_module": 313,
            "memfd_create": 319,
            "kexec_file_load": 320,
            "bpf": 321,
            "userfaultfd": 323,
        },
        "aarch64": {
            "io_setup": 0,
            "inotify_init1": 26,
            "umount2": 39,
            "mount": 40,
            "pivot_root": 41,
            "chroot": 51,
            "quotactl": 60,
            "personality": 92,
            "unshare": 97,
            "kexec_load": 104,
            "init_module": 105,
            "syslog": 116,
            "ptrace": 117,
            "mq_open": 180,
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
            "clone": 220,
            "perf_event_open": 241,
            "fanotify_init": 262,
            "open_by_handle_at": 265,
            "setns": 268,
            "process_vm_readv": 270,
            "process_vm_writev": 271,
            "kcmp": 272,
            "finit_module": 273,
            "memfd_create": 279,
            "bpf": 280,
            "userfaultfd": 282,
            "kexec_file_load": 294,
        },
    }
)
"""The forbidden calls by machine: other processes, memory that no limit counts, the kernel's keys, sockets, mounts, and
what no solution needs. A pair of connected sockets, which asyncio has, is the one thing that depends on an argument."""
NEW_CALLS = MappingProxyType(
    {
        "io_uring_setup": 425,
        "open_tree": 428,
        "move_mount": 429,
        "fsopen": 430,
        "fsconfig": 431,
        "fsmount": 432,
        "fspick": 433,
        "pidfd_open": 434,
        "clone3": 435,
        "pidfd_getfd": 438,
        "process_madvise": 440,
        "mount_setattr": 442,
        "memfd_secret": 447,
    }
)
"""Since Linux 5.1 a call has the same number on all machines."""
_ARCHITECTURE = MappingProxyType({"x86_64": 0xC000003E, "aarch64": 0xC00000B7})
_OTHER_CALLS = 0x40000000
"""The x32 calls of x86_64 have this bit; no call of either machine has a number above it."""
_AF_UNIX = 1
_LIKE_A_LIMIT = ("clone", "fork", "vfork")
"""Refused as where there are too many processes, which Python knows how to tell."""


def filter_of(machine: str | None = None) -> bytes:
    """
    Return the filter for a machine (None: this one), as the kernel and `bwrap --seccomp` read it.

    Raises:
        ConfigError: the numbers of that machine's calls are not known here.
    """
    machine = machine or os.uname().machine
    if machine not in CALLS:
        raise ConfigError(
            f"generated code is run on {' and '.join(CALLS)} alone, and this machine is {machine}: the calls of its "
            "kernel that a program must not make are not known to haloes; leave that benchmark out"
        )
    return b"".join(struct.pack("HBBI", *step) for step in steps(machine))


def calls_of(machine: str) -> dict[str, int]:
    """Return the numbers of all calls that the filter looks at, by name."""
    return CALLS[machine] | dict(NEW_CALLS)


def steps(machine: str) -> list[tuple[int, int, int, int]]:
    """Return the steps of the filter, as (what, skipped where true, skipped where false, number)."""
    load, equal, at_least, answer = 0x20, 0x15, 0x35, 0x06
    allow, refuse = 0x7FFF0000, 0x00050000
    calls = calls_of(machine)
    pair = calls.pop("socketpair")
    # Calls of another machine (32 bits) have other numbers: all are refused.
    found = [
        (load, 0, 0, 4),
        (equal, 1, 0, _ARCHITECTURE[machine]),
        (answer, 0, 0, refuse | errno.EPERM),
        (load, 0, 0, 0),
        (at_least, 0, 1, _OTHER_CALLS),
        (answer, 0, 0, refuse | errno.EPERM),
    ]
    for name, number in calls.items():
        # glibc falls back from clone3 to clone where it does not exist.
        why = errno.EAGAIN if name in _LIKE_A_LIMIT else errno.ENOSYS if name == "clone3" else errno.EPERM
        found += [(equal, 0, 1, number), (answer, 0, 0, refuse | why)]
    # Their family is the first argument, behind the number, the machine and the place of the call.
    found += [(equal, 1, 0, pair), (answer, 0, 0, allow), (load, 0, 0, 16), (equal, 0, 1, _AF_UNIX)]
    return [*found, (answer, 0, 0, allow), (answer, 0, 0, refuse | errno.EPERM)]

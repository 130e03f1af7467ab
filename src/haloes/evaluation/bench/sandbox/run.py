"""Run a Python program that nobody has read: without network, privileges, environment or files, and within limits."""

import json
import os
import secrets
import select
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from haloes.errors import ConfigError

Ending = Literal["passed", "failed", "time", "output"]

_JAIL = Path(__file__).with_name("jail.py")
_SYSTEM = ("/usr", "/lib", "/lib32", "/lib64", "/nix/store", "/gnu/store", "/etc/ld.so.cache")
"""Folders of shared libraries, bound read-only where they exist."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """Limits on what a program uses."""

    seconds: float = 10.0
    """Wall-clock time, with the sandbox's own start (a twentieth of a second)."""
    cpu_seconds: int = 5
    memory_bytes: int = 1 << 30
    """Address space."""
    file_bytes: int = 1 << 20
    """Size of one file that it writes."""
    disk_bytes: int = 8 << 20
    """Size of all its files together; they lie in memory."""
    output_bytes: int = 1 << 16
    """Output of both streams; a program that prints more is ended."""
    open_files: int = 64


@dataclass(frozen=True, slots=True)
class ProgramResult:
    """The end of a program, and its output."""

    ending: Ending
    """"passed": it came to its last line; "failed": it raised, left early or was ended by the kernel; "time" and
    "output": it was ended for taking too long or printing too much."""
    detail: str
    """The last line that it printed, or the signal that ended it."""
    output: str
    """Both streams together, up to the limit."""


def run_python(source: str, limits: Limits | None = None) -> ProgramResult:
    """
    Run a program to its end, in a sandbox.

    It is a fresh, isolated interpreter (`-I -S`) with an empty environment and no open files but its output, as a user
    without privileges in namespaces of its own: there is no network but its own empty one, it sees and can signal no
    process but its own, it cannot start another process or thread, and of the file system only Python and
    the system's libraries, read-only, and an empty working folder in memory.

    Args:
        source: the program; its `__name__` is "program".
        limits: bounds on its time, memory and output; the defaults where None.

    Raises:
        ConfigError: the system refuses any part of this; the program was not run.
    """
    limits = limits or Limits()
    if sys.platform != "linux":
        raise ConfigError(
            f"generated code runs in a sandbox of Linux namespaces, and this is {sys.platform}; leave that benchmark "
            "out, or run it on a Linux machine (the answers in the folder can be copied there)"
        )
    # Printed by the code around the program after its last line: one that leaves early cannot guess it.
    token = secrets.token_hex(16)
    with _jail(_job(source, token, limits)) as jail:
        output, stopped = _output(jail.process, limits)
        facts = jail.facts()
    refused = next((fact["refused"] for fact in facts if "refused" in fact), None)
    if refused is not None:
        raise ConfigError(_refusal(refused))
    text = output.decode(errors="replace")
    if stopped is not None:
        return ProgramResult(stopped, "it was ended", text)
    if not facts:
        raise ConfigError(_refusal(text.strip().rpartition("\n")[2] or "it ended without a word"))
    if facts[-1].get("exit") == 0 and text.endswith(token):
        return ProgramResult("passed", "", text.removesuffix(token))
    return ProgramResult("failed", _why(facts[-1], text), text)


def require_sandbox() -> None:
    """Raise ConfigError where programs cannot be run safely; call it before anything is generated."""
    found = run_python("import socket\nsocket.socket()\n")
    if found.ending != "passed":
        raise ConfigError(_refusal(f"a trial program ended with {found.ending}: {found.detail}"))


def _job(source: str, token: str, limits: Limits) -> dict[str, Any]:
    # The interpreter behind a virtual environment: nothing of the environment itself is let in.
    python = os.path.realpath(getattr(sys, "_base_executable", None) or sys.executable)
    prefix = os.path.realpath(sys.base_prefix)
    home = Path.home()
    visible: dict[str, str] = {}
    links: dict[str, str] = {}
    for path in (*_SYSTEM, prefix, str(Path(python).parent)):
        place = Path(path)
        if any(place.is_relative_to(known) for known in visible) or not place.exists():
            continue
        if place.is_symlink():
            links[path] = str(place.readlink())
        else:
            visible[path] = "folder" if place.is_dir() else "file"
    return {
        "source": source.encode(errors="replace").decode(),  # half of a surrogate pair cannot be written
        "token": token,
        "python": python,
        "visible": visible,
        "links": links,
        "hidden": [str(home)] if any(home.is_relative_to(path) for path in visible) else [],
        "disk_bytes": limits.disk_bytes,
        "limits": {
            "CPU": limits.cpu_seconds,
            "AS": limits.memory_bytes,
            "FSIZE": limits.file_bytes,
            "NPROC": 1,
            "NOFILE": limits.open_files,
            "CORE": 0,
            "MEMLOCK": 0,
            "MSGQUEUE": 0,
        },
    }


@dataclass(frozen=True, slots=True)
class _Jail:
    process: "subprocess.Popen[bytes]"
    status: int

    def facts(self) -> list[dict[str, Any]]:
        """Wait for the jail to end, and return what its inside told."""
        self.process.wait()
        said = b""
        while part := os.read(self.status, 65536):
            said += part
        return [json.loads(line) for line in said.splitlines()]


@contextmanager
def _jail(job: dict[str, Any]) -> Iterator[_Jail]:
    """Start the jail with its program in it; nothing of it is left afterwards."""
    status, told = os.pipe()
    try:
        process = subprocess.Popen(  # noqa: S603 - the interpreter that runs this, with a script of this package
            [sys.executable, "-I", "-S", "-B", str(_JAIL), str(told)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            env={},
            cwd="/",
            pass_fds=(told,),
            start_new_session=True,
        )
    finally:
        # Kept open here, reading would never come to an end: this end would count as a writer.
        os.close(told)
    try:
        with suppress(BrokenPipeError):  # it has ended already, and `facts` says why
            process.stdin.write(json.dumps(job).encode())  # type: ignore[union-attr] # it is a pipe
            process.stdin.close()  # type: ignore[union-attr]
        yield _Jail(process, status)
    finally:
        _end(process)
        process.stdout.close()  # type: ignore[union-attr]
        os.close(status)


def _end(process: "subprocess.Popen[bytes]") -> None:
    """Kill what still runs: the processes inside end with the one that started them."""
    if process.poll() is None:
        with suppress(ProcessLookupError):
            # The group is the jail's own session, so nothing of this process is hit.
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def _output(process: "subprocess.Popen[bytes]", limits: Limits) -> tuple[bytes, Literal["time", "output"] | None]:
    """Return what the program prints, up to the limits, and which of them ended it, if one did."""
    deadline = time.monotonic() + limits.seconds
    stream = process.stdout.fileno()  # type: ignore[union-attr] # it is a pipe
    said = b""
    while True:
        left = deadline - time.monotonic()
        if left <= 0 or not select.select([stream], [], [], left)[0]:
            _end(process)
            return said, "time"
        part = os.read(stream, 65536)
        if not part:
            return said, None
        said += part
        if len(said) > limits.output_bytes:
            _end(process)
            return said[: limits.output_bytes], "output"


def _why(fact: dict[str, Any], text: str) -> str:
    if "signal" in fact:
        number = fact["signal"]
        known = {signal.SIGXCPU: "out of CPU time", signal.SIGKILL: "out of CPU time or killed"}
        return known.get(number) or f"ended by {signal.Signals(number).name}"
    last = text.strip().rpartition("\n")[2]
    if fact["exit"] == 0:
        return "it left before its last line"
    return last or f"exit code {fact['exit']}"


def _refusal(reason: str) -> str:
    return (
        f"generated code is not run, because this system refuses the sandbox ({reason}). It takes Linux 5.12 or later "
        "with user namespaces for ordinary users: in a container allow unshare, mount and pivot_root (Docker: "
        "--security-opt seccomp=unconfined --security-opt apparmor=unconfined), on Ubuntu set "
        "kernel.apparmor_restrict_unprivileged_userns=0. Or leave that benchmark out"
    )

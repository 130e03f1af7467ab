"""The interface of jails, and what a program finds in one."""

import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

_SYSTEM = ("/usr", "/lib", "/lib32", "/lib64", "/nix/store", "/gnu/store", "/etc/ld.so.cache")
"""Folders of shared libraries, bound read-only where they exist."""
_INSIDE = Path(__file__).with_name("inside")
_MODULES = "/inside"
WORK = "/work"
"""The folder that a program starts in; it is empty, and stays so."""


@dataclass(frozen=True, slots=True)
class View:
    """The file system in a jail: nothing else is there, and nothing of it can be written."""

    sources: Mapping[str, str]
    """Files and folders, by their place inside."""
    links: Mapping[str, str]
    """Symbolic links."""
    hidden: Sequence[str]
    """Folders below one of the sources that are empty inside."""


class Jail(Protocol):
    """A way to start a process that can do no harm."""

    @property
    def name(self) -> str:
        """Return what it is called."""

    @property
    def remark(self) -> str:
        """Return a sentence on what it does not stop, where that is more than of the other jail; else nothing."""

    def start(self, command: Sequence[str], view: View) -> subprocess.Popen[bytes]:
        """
        Start a command in it, with pipes for input, output and errors.

        Inside it has no network but its own empty one, sees no process but its own, has no privileges, an empty
        environment, no open files but the three pipes, and the calls of the filter (`seccomp.py`) are refused. What
        cannot be had ends the process before the command begins. With the process everything inside ends, and it ends
        with this one. Its exit code is that of the command, or 128 and the number of the signal that ended that.
        """


def view() -> View:
    """Return what Python needs: itself, the system's libraries, and the modules of `inside`."""
    prefix = os.path.realpath(sys.base_prefix)
    sources: dict[str, str] = {}
    links: dict[str, str] = {}
    for path in (*_SYSTEM, prefix, str(Path(_python()).parent)):
        place = Path(path)
        if any(place.is_relative_to(known) for known in sources) or not place.exists():
            continue
        if place.is_symlink():
            links[path] = str(place.readlink())
        else:
            sources[path] = path
    home = Path.home()
    # A home folder may lie below a folder that Python needs, such as a prefix of one's own.
    hidden = [str(home)] if home.is_dir() and any(home.is_relative_to(path) for path in sources) else []
    return View(sources | {f"{_MODULES}/{_package().replace('.', '/')}": str(_INSIDE)}, links, hidden)


def command(module: str) -> list[str]:
    """Return the command that runs `main` of a module of `inside`, in a jail with this view."""
    code = f"import sys; sys.path.append({_MODULES!r}); from {_package()}.{module} import main; main()"
    return [_python(), "-I", "-S", "-B", "-u", "-c", code]


def _package() -> str:
    return f"{__name__.rpartition('.')[0]}.inside"


def _python() -> str:
    """Return the interpreter behind a virtual environment: nothing of the environment itself is let in."""
    return os.path.realpath(getattr(sys, "_base_executable", None) or sys.executable)

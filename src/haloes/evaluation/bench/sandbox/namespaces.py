"""The jail where bubblewrap is not there or not allowed: the same namespaces, entered by a script of this package."""

import json
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from haloes.evaluation.bench.sandbox._contract import WORK, View
from haloes.evaluation.bench.sandbox.seccomp import filter_of

_SCRIPT = Path(__file__).with_name("jail.py")


@dataclass(frozen=True, slots=True)
class OwnJail:
    """The script `jail.py`."""

    name: str = "haloes' own jail"
    remark: str = (
        "generated programs run in haloes' own jail, since bubblewrap is not here or does not work: the same parts, "
        "put together by fewer hands; what it does not stop is a fault of its own, or one of the kernel in what is left"
    )

    def start(self, command: Sequence[str], view: View) -> subprocess.Popen[bytes]:
        """Start a command in it (see `Jail`)."""
        job = asdict(view) | {"work": WORK, "filter": filter_of().hex(), "command": list(command)}
        return subprocess.Popen(  # noqa: S603 - the interpreter that runs this, with a script of this package
            [sys.executable, "-I", "-S", "-B", str(_SCRIPT), json.dumps(job)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env={},
            cwd="/",
            start_new_session=True,
        )

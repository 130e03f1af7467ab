"""First steps of each process in a jail: set its pipes aside, limit itself, report that it runs."""

import os
import resource
from collections.abc import Mapping
from typing import Any

from haloes.evaluation.bench.sandbox.inside.values import dump, load

_HIGHEST_FILE = 65536
HELLO = b"here\n"


class Talk:
    """Lines to and from outside; what is printed goes elsewhere, and reading the standard input finds nothing."""

    def __init__(self) -> None:
        """Take the pipes of the process away from `print` and `input`, and close all others."""
        os.environ.clear()  # a jail may have set some, such as the working folder
        os.closerange(3, _HIGHEST_FILE)
        self._from = os.fdopen(os.dup(0), "rb")
        self._to = os.fdopen(os.dup(1), "wb")
        nothing, end = os.pipe()
        os.close(end)
        os.dup2(nothing, 0)
        os.dup2(2, 1)
        os.close(nothing)

    def begin(self) -> dict[str, Any]:
        """Read the job, take its limits on, which nothing can raise again, say hello, and return the job."""
        job = load(self._from.readline())
        limit(job["limits"])
        self.say(HELLO)
        return job

    def read(self) -> bytes:
        """Return the next line, empty at the end."""
        return self._from.readline()

    def say(self, line: bytes) -> None:
        """Write a line."""
        self._to.write(line)
        self._to.flush()

    def tell(self, fields: dict[str, Any]) -> None:
        """Write a message."""
        self.say(dump(fields))


def limit(limits: Mapping[str, int]) -> None:
    """Set limits (`RLIMIT_` names without that prefix). To raise them again takes privileges, and there are none."""
    for name, most in limits.items():
        resource.setrlimit(getattr(resource, f"RLIMIT_{name}"), (most, most))

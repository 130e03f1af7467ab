"""Whether generated programs can be run here, asked once for all tests that run some; and in which jails."""

import sys
from typing import Any

import pytest

from haloes.errors import ConfigError
from haloes.evaluation.bench.sandbox._contract import Jail
from haloes.evaluation.bench.sandbox.bubblewrap import find_bubblewrap
from haloes.evaluation.bench.sandbox.namespaces import OwnJail
from haloes.evaluation.bench.sandbox.run import find_jail, refusal


def _refusal() -> str:
    """Return why not; empty where they can."""
    if sys.platform != "linux":
        return "the sandbox is made of Linux namespaces"
    try:
        find_jail()
    except ConfigError as error:
        return str(error)
    return ""


def _param(jail: Jail | None, name: str) -> Any:
    if reason := _refusal():
        return pytest.param(jail, id=name, marks=pytest.mark.skip(reason=reason))
    reason = "bubblewrap is not installed (apt-get install bubblewrap)" if jail is None else refusal(jail)
    return pytest.param(jail, id=name, marks=[pytest.mark.skip(reason=reason)] if reason else [])


needs_sandbox = pytest.mark.skipif(bool(reason := _refusal()), reason=reason)
"""Marks tests that run generated programs."""
each_jail = pytest.mark.parametrize("jail", [_param(find_bubblewrap(), "bubblewrap"), _param(OwnJail(), "own")])
"""Runs a test in each jail, and skips it with the reason where one does not work here."""

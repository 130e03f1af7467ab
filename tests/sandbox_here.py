"""Whether generated programs can be run here at all, asked once for all tests that run some."""

import sys

import pytest

from haloes.errors import ConfigError
from haloes.evaluation.bench.sandbox.run import require_sandbox


def _refusal() -> str:
    """Return why not; empty where they can."""
    if sys.platform != "linux":
        return "the sandbox is made of Linux namespaces"
    try:
        require_sandbox()
    except ConfigError as error:
        return str(error)
    return ""


needs_sandbox = pytest.mark.skipif(bool(reason := _refusal()), reason=reason)
"""Marks tests that run generated programs."""

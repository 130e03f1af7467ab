"""The table of losses by name, which imports none before it is asked for it."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from haloes.losses.kto import KTO
from haloes.losses.presets import kto_concave
from haloes.losses.table import LOSSES

SOURCES = Path(__file__).parents[2] / "src"


def test_a_loss_is_looked_up_as_its_class_or_its_preset() -> None:
    assert LOSSES["kto"] is KTO
    assert LOSSES["kto-concave"] is kto_concave
    with pytest.raises(KeyError):
        LOSSES["nope"]


def test_every_file_of_a_loss_has_a_row_by_its_name() -> None:
    modules = {path.stem for path in (SOURCES / "haloes" / "losses").glob("[!_]*.py")}
    others = {"components", "definition", "make", "presets", "table"}

    assert {name.replace("-", "_") for name in LOSSES} >= modules - others
    assert {home.rpartition(".")[2] for home in LOSSES.classes().values()} <= modules - others


def test_one_that_is_looked_up_is_imported_alone() -> None:
    script = """
import sys
from haloes.losses.table import LOSSES
assert "kto" in LOSSES and len(LOSSES) == len(list(LOSSES)) and "nope" not in LOSSES and LOSSES.classes()
assert not any(name.startswith("haloes.losses.kto") for name in sys.modules)
LOSSES["kto"]
assert "haloes.losses.kto" in sys.modules and "haloes.losses.dpo" not in sys.modules
"""
    subprocess.run([sys.executable, "-c", script], env=os.environ | {"PYTHONPATH": str(SOURCES)}, check=True)

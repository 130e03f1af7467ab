"""Twenty steps of each loss come out as they did before; see golden_curves.py for how to write them anew."""

from pathlib import Path

import pytest

from golden_curves import FOLDER, curve, golden
from training_jobs import EVERY


@pytest.mark.parametrize("name", list(EVERY))
def test_the_curve_is_the_one_on_file(name: str, tmp_path: Path):
    on_file = golden(name)
    # CPUs round differently; what a change of the arithmetic does is larger than this by far.
    assert curve(name, tmp_path) == pytest.approx(on_file, abs=5e-3 * (max(on_file) - min(on_file)))


def test_every_curve_belongs_to_a_loss():
    assert {path.stem for path in FOLDER.iterdir()} == set(EVERY)


@pytest.mark.parametrize("name", list(EVERY))
def test_a_curve_on_file_moves(name: str):
    # By more than what rounding to float32 does (1e-7 of it); a loss that is large at the start, or flat, moves little.
    losses = golden(name)

    assert max(losses) - min(losses) > 2e-3 * max(map(abs, losses))
    assert len(set(losses)) > len(losses) // 2

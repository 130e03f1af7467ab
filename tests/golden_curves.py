"""
Golden curves: the loss of twenty steps of the tiny model, one file a loss, to be compared with.

After a change that is meant to move them, write them anew and say in the commit why they moved:

    PYTHONPATH=src:tests python tests/golden_curves.py
"""

import tempfile
from pathlib import Path

from haloes.training.metrics_log import read_metrics
from haloes.training.settings import TrainSettings
from haloes.training.trainer import train
from training_jobs import EVERY, make_job, make_store

FOLDER = Path(__file__).parent / "golden"
STEPS = 20


def curve(name: str, folder: Path) -> list[float]:
    """The losses of a run, step by step."""
    loss = EVERY[name]
    store = make_store(folder / "data", loss, 4 * STEPS)
    settings = TrainSettings(lr=5e-4, batch_size=4, epochs=1, schedule="cosine", microbatch_examples=3)
    train(make_job(folder / "run", loss, train=store, settings=settings))
    store.close()
    return [line["loss"] for line in read_metrics(folder / "run" / "metrics.jsonl")]


def golden(name: str) -> list[float]:
    """The losses on file."""
    lines = (FOLDER / f"{name}.txt").read_text().splitlines()
    assert [int(line.split()[0]) for line in lines] == list(range(1, STEPS + 1))
    return [float(line.split()[1]) for line in lines]


def main() -> None:
    """Write all curves."""
    for name in EVERY:
        with tempfile.TemporaryDirectory() as folder:
            losses = curve(name, Path(folder))
        lines = [f"{step} {loss:#.7g}\n" for step, loss in enumerate(losses, start=1)]
        (FOLDER / f"{name}.txt").write_text("".join(lines))


if __name__ == "__main__":
    main()

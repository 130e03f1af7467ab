"""
Seconds that a run waits for its checkpoints, written before the next steps or behind them.

    python benchmarks/saves.py [--model embedded] [--full] [--steps 12] [--batch 16] [--every 4] [--rounds 3]

It trains the demo's model on short made-up rows, in turn with `train.save_while_training` false and true, each run in
a process of its own, and prints for each run: what it waits at a save, what it waits for writes at all (copies, looks
between steps, and at the end), and the seconds from the first step to the end of the last.
"""

import argparse
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from statistics import mean
from typing import Any


def main() -> None:
    """Measure, and print a table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="embedded")
    parser.add_argument("--dtype", default="auto")
    parser.add_argument("--full", action="store_true", help="train all weights and not adapters")
    parser.add_argument("--steps", type=int, default=12)
    parser.add_argument("--batch", type=int, default=16, help="examples a step")
    parser.add_argument("--every", type=int, default=4, help="steps between two checkpoints")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--one", choices=["true", "false"], help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.one is not None:
        print(json.dumps(_measured(given)))
        return
    print("| written | waits at a save, s | waits in all, s | steps and writes, s | MiB |")
    print("| --- | ---: | ---: | ---: | ---: |")
    for _ in range(given.rounds):
        for behind in ("false", "true"):
            done = subprocess.run(
                [sys.executable, __file__, *sys.argv[1:], "--one", behind], capture_output=True, text=True, check=True
            )
            found = json.loads(done.stdout.splitlines()[-1])
            at_saves = ", ".join(f"{seconds:.2f}" for seconds in found["saves"])
            print(
                f"| {'behind' if behind == 'true' else 'before'} | {mean(found['saves']):.2f} ({at_saves}) | "
                f"{found['waited']:.2f} | {found['seconds']:.1f} | {found['mib']:.0f} |",
                flush=True,
            )


def _measured(given: argparse.Namespace) -> dict[str, Any]:
    """Train once, and return the seconds."""
    import haloes
    from haloes.training import trainer
    from haloes.training.distributed import Ranks
    from haloes.training.write_behind import CheckpointWriter

    saves: list[float] = []
    others: list[float] = []
    began: list[float] = []

    inside: list[str] = []

    def timed(work: Callable[..., None], into: list[float]) -> Callable[..., None]:
        def call(*args: Any, **more: Any) -> None:
            start = time.perf_counter()
            inside.append(work.__name__)
            work(*args, **more)
            inside.pop()
            if not inside:  # `save` calls `wait` where it does not write behind
                into.append(time.perf_counter() - start)

        return call

    class Timed(CheckpointWriter):
        """Notes how long the run waits."""

        def __init__(self, *args: Any, **more: Any) -> None:
            super().__init__(*args, **more)
            began.append(time.perf_counter())
            for name, into in (("save", saves), ("look", others), ("wait", others)):
                setattr(self, name, timed(getattr(self, name), into))

    def writer(*_: object) -> CheckpointWriter:
        return Timed(Ranks(0, 1), Ranks(0, 1), behind=given.one == "true")

    kept = trainer.RunState.keep_weights

    def ended(self: Any, *args: Any, **more: Any) -> Any:
        began.append(time.perf_counter())
        return kept(self, *args, **more)

    setattr(trainer, "make_writer", writer)  # noqa: B010 - mypy knows it as a function
    setattr(trainer.RunState, "keep_weights", ended)  # noqa: B010
    with tempfile.TemporaryDirectory(dir=".") as folder:
        rows = Path(folder) / "rows.jsonl"
        texts = [f"answer {i}: " + "some more words of it. " * 8 for i in range(given.batch * given.steps)]
        rows.write_text(
            "".join(
                json.dumps({"prompt": f"Question {i}?", "completion": text, "label": i % 2 == 0}) + "\n"
                for i, text in enumerate(texts)
            )
        )
        config: dict[str, Any] = {
            "model": {"name": given.model, "dtype": given.dtype, **({"lora": None} if given.full else {})},
            "train": {
                "lr": 1e-6,
                "batch_size": given.batch,
                "epochs": 1,
                "checkpoint_every": given.every,
                "save_while_training": given.one == "true",
            },
            "feedback": {"source": str(rows), "validation_share": 0.0},
            "samples": {"prompts": 0},
        }
        haloes.train(config=config, out=Path(folder) / "run", progress=None)
        files = (Path(folder) / "run" / "checkpoints").rglob("*.safetensors")
        size = sum(file.stat().st_size for file in files) / 2
    return {
        "saves": saves,
        "waited": sum(saves) + sum(others),
        "seconds": began[1] - began[0],
        "mib": size / 2**20,
    }


if __name__ == "__main__":
    main()

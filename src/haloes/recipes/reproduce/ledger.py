"""An experiment's finished runs on disk, so that it can be stopped and gone on with."""

import json
from collections.abc import Callable, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from haloes.recipes.reproduce.trials import Bench, Finding, Trial
from haloes.store import read_jsonl


class Ledger:
    """Finished runs on disk, a line each; those of other settings do not count."""

    def __init__(self, path: Path, settings: Mapping[str, Any]) -> None:
        """Read what is there."""
        self._path, self._settings = path, json.loads(json.dumps(settings, default=str))
        lines = [row for _, row in read_jsonl(path)] if path.exists() else []
        self._known = {line["trial"]: line["finding"] for line in lines if line["settings"] == self._settings}

    def get(self, key: str) -> dict[str, Any] | None:
        """What a run found, if it was done."""
        return self._known.get(key)

    def add(self, key: str, finding: dict[str, Any]) -> None:
        """Keep what a run found, which is JSON-ready."""
        line = {"trial": key, "finding": finding, "settings": self._settings}
        with self._path.open("a", encoding="utf-8") as file:
            file.write(json.dumps(line) + "\n")
        self._known[key] = finding


class Runner:
    """Runs trials that are not in the ledger, and tells how far things are."""

    def __init__(self, bench: Bench, ledger: Ledger, progress: Callable[[str, int, int], None], total: int) -> None:
        """`total`: how many runs there will be."""
        self._bench, self._ledger, self._progress, self._total = bench, ledger, progress, total
        self._done = 0

    def run(self, trial: Trial, *, train_rows: Path | None = None) -> Finding:
        """The trial's finding, from the ledger if it is there."""
        self._progress(trial.key, self._done, self._total)
        plain = self._ledger.get(trial.key)
        if plain is None:
            found = self._bench.run(trial, train_rows=train_rows)
            self._ledger.add(trial.key, _plain(found))
        else:
            found = _finding(plain)
        self._done += 1
        return found


def _plain(finding: Finding) -> dict[str, Any]:
    return {**asdict(finding), "rewards": {name: values.tolist() for name, values in finding.rewards.items()}}


def _finding(plain: Mapping[str, Any]) -> Finding:
    rewards = {name: np.array(values, np.float64) for name, values in plain["rewards"].items()}
    return Finding(rewards, plain["seconds"], plain["memory_gib"], plain["num_steps"])

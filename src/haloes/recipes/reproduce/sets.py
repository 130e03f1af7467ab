"""Feedback cut by prompt into rows to train on, to tune on and to test on: files that every method reads."""

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from haloes.errors import DataError
from haloes.feedback.keys import group_number, seeded_hash
from haloes.records import Feedback
from haloes.records_json import row_to_json
from haloes.runs.config import FeedbackSettings
from haloes.runs.feedback_rows import open_rows
from haloes.store import write_jsonl


@dataclass(frozen=True, slots=True, kw_only=True)
class SetSizes:
    """Sizes of an experiment's sets, in rated answers."""

    train: int = 128
    """Rated answers to train on."""
    tune: int = 64
    """Rated answers to select learning rate and beta by."""
    test: int = 160
    """Rated answers to report on."""
    per_prompt: int = 4
    """Answers taken of a prompt, at most; of both labels alike where there are both."""


@dataclass(frozen=True, slots=True)
class Sets:
    """The three files."""

    train: Path
    tune: Path
    test: Path


def make_sets(settings: FeedbackSettings, sizes: SetSizes, folder: Path) -> Sets:
    """
    Write the three files, unless they are there; prompts are drawn by feedback.split_seed and are in one file only.

    Raises DataError when the feedback has too few prompts for one row of each label in every file.
    """
    sets = Sets(folder / "train.jsonl", folder / "tune.jsonl", folder / "test.jsonl")
    if all(path.exists() for path in (sets.train, sets.tune, sets.test)):
        return sets
    rows = [row for row in open_rows(settings.source, settings, pairs=False) if isinstance(row, Feedback)]
    groups = np.array([group_number(row) for row in rows], np.int64)
    names = np.unique(groups)
    drawn = seeded_hash(names, seed=settings.split_seed, purpose="reproduce")
    order = {int(name): i for i, name in enumerate(names[np.argsort(drawn)])}
    left = _balanced(sorted(rows, key=lambda row: order[group_number(row)]), sizes.per_prompt)
    folder.mkdir(parents=True, exist_ok=True)
    for path, size in ((sets.train, sizes.train), (sets.tune, sizes.tune), (sets.test, sizes.test)):
        taken, left = _first_prompts(left, size)
        labels = Counter(row.label for row in taken)
        if len(labels) < 2:  # noqa: PLR2004 - both labels
            raise DataError(
                f"{settings.source}: too few prompts for {path.stem} rows of both labels; give more feedback, or take "
                "smaller sets"
            )
        write_jsonl(path, (row_to_json(row) for row in taken))
    return sets


def _balanced(rows: Iterable[Feedback], per_prompt: int) -> list[Feedback]:
    """Keep at most `per_prompt` rows of a prompt, half of them of either label as far as there are enough."""
    by_prompt: dict[int, dict[bool, list[Feedback]]] = {}
    for row in rows:
        by_prompt.setdefault(group_number(row), {True: [], False: []})[bool(row.label)].append(row)
    found = []
    for labels in by_prompt.values():
        few = min(len(labels[True]), len(labels[False]), per_prompt // 2)
        good = labels[True][: per_prompt - max(few, min(len(labels[False]), per_prompt // 2))]
        found += good + labels[False][: per_prompt - len(good)]
    return found


def _first_prompts(rows: list[Feedback], size: int) -> tuple[list[Feedback], list[Feedback]]:
    """Take whole prompts from the front until there are `size` rows; return them and the rest."""
    cut = min(size, len(rows))
    while 0 < cut < len(rows) and group_number(rows[cut]) == group_number(rows[cut - 1]):
        cut += 1
    return rows[:cut], rows[cut:]

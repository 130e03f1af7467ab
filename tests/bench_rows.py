"""Constructed rows of benchmarks, in the columns of the hub, laid out as `--bench-data` takes them."""

import gzip
import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

ADD = 'def add(a, b):\n    """The sum."""\n'
ADD_TEST = "def check(candidate):\n    assert candidate(1, 2) == 3\n    assert candidate(-1, 1) == 0\n"


def write(path: Path, rows: Iterable[Mapping[str, Any]]) -> Path:
    """JSONL, gzipped by its name."""
    path.parent.mkdir(parents=True, exist_ok=True)
    text = "".join(json.dumps(row) + "\n" for row in rows)
    path.write_bytes(gzip.compress(text.encode()) if path.suffix == ".gz" else text.encode())
    return path


def gsm8k(folder: Path, *, num_train: int = 8, num_test: int = 6) -> None:
    """Sums; the test rows' answers are 0, 2, 4 ..."""
    for split, num in (("train", num_train), ("test", num_test)):
        rows = [{"question": f"What is {i} + {i}?", "answer": f"{i} + {i} = {2 * i}\n#### {2 * i}"} for i in range(num)]
        write(folder / "gsm8k" / f"{split}.jsonl.gz", rows)


def mmlu(folder: Path, subjects: Iterable[str], *, num: int = 2) -> None:
    """Questions whose right answer is B."""
    choices = ["red", "green", "blue", "grey"]
    for subject in subjects:
        rows = [
            {"question": f"{subject} {i}?", "subject": subject, "choices": choices, "answer": 1} for i in range(num)
        ]
        write(folder / "mmlu" / subject / "test.jsonl", rows)
        write(folder / "mmlu" / subject / "dev.jsonl", rows[:1])


def bbh(folder: Path, subtasks: Iterable[str]) -> None:
    """Questions whose right answer is Yes."""
    for subtask in subtasks:
        write(
            folder / "bbh" / subtask / "test.jsonl", [{"input": f"{subtask} {i}?", "target": "Yes"} for i in range(2)]
        )


def humaneval(folder: Path, *, num: int = 2) -> None:
    """To write an addition."""
    row = {"prompt": ADD, "canonical_solution": "    return a + b\n", "test": ADD_TEST, "entry_point": "add"}
    write(folder / "humaneval" / "test.jsonl", [{"task_id": f"T/{i}", **row} for i in range(num)])


def ifeval(folder: Path) -> None:
    """To write without commas, and to write three words at least without commas."""
    rows = [
        {"key": 1, "prompt": "Write. No commas.", "instruction_id_list": ["punctuation:no_comma"], "kwargs": [{}]},
        {
            "key": 2,
            "prompt": "Write at least 3 words. No commas.",
            "instruction_id_list": ["punctuation:no_comma", "length_constraints:number_words"],
            "kwargs": [{}, {"relation": "at least", "num_words": 3}],
        },
    ]
    write(folder / "ifeval" / "train.jsonl", rows)

"""
A benchmark's rows from a local folder, for machines without a hub.

    FOLDER/gsm8k/{train,test}                 question, answer
    FOLDER/mmlu/<subject>/{dev,test}          question, subject, choices, answer
    FOLDER/bbh/<subtask>/test                 input, target
    FOLDER/humaneval/test                     task_id, prompt, canonical_solution, test, entry_point
    FOLDER/ifeval/train                       key, prompt, instruction_id_list, kwargs

Each is a .jsonl, .jsonl.gz or .parquet file of that name, or the hub's own shards (test-00000-of-00001.parquet), with
the columns of the hub. A copy of the hub's repository works as it is: gsm8k/main/test-00000-of-00001.parquet.
"""

from pathlib import Path
from typing import Any

from haloes.errors import DataError
from haloes.store import read_jsonl, read_parquet

_ENDINGS = (".jsonl", ".jsonl.gz", ".parquet")
_ONE_PART = {"gsm8k"}
"""Sets whose part on the hub ("main") is all there is: its folder may be left out."""
_COLUMNS = {
    "gsm8k": ("question", "answer"),
    "mmlu": ("question", "choices", "answer"),
    "bbh": ("input", "target"),
    "humaneval": ("prompt", "test", "entry_point"),
    "ifeval": ("key", "prompt", "instruction_id_list", "kwargs"),
}


def read_split(data: Path, rows: str, subset: str | None, split: str) -> list[dict[str, Any]]:
    """
    Read the rows of one split.

    Args:
        data: the folder that was given.
        rows: the benchmark's folder in it.
        subset: the hub's name of the part, such as a subject; None where there are no parts.
        split: "train", "test" ...

    Raises:
        DataError: there is no such file or more than one, it is damaged or empty, or lacks a column.
    """
    files = _files(data, rows, subset, split)
    found = [(f"{file}:{number}", row) for file in files for number, row in _read(file)]
    if not found:
        raise DataError(f"{files[0]}: there is no row in it")
    for where, row in found:
        missing = [column for column in _COLUMNS.get(rows, ()) if row.get(column) is None]
        if missing:
            raise DataError(f"{where}: a row of {rows} has {', '.join(_COLUMNS[rows])}; here {missing[0]} is missing")
    return [row for _, row in found]


def _files(data: Path, rows: str, subset: str | None, split: str) -> list[Path]:
    places = [data / rows / subset] if subset else [data / rows]
    if rows in _ONE_PART:
        places.append(data / rows)
    for place in places:
        single = [file for ending in _ENDINGS if (file := place / f"{split}{ending}").is_file()]
        shards = sorted(place.glob(f"{split}-*.parquet"))
        if len(single) + bool(shards) > 1:
            raise DataError(f"{place}: the rows of {split} are there twice ({single[0].name} and others); keep one")
        if single or shards:
            return single or shards
    raise DataError(
        f"{places[-1] / split}.jsonl, .jsonl.gz or .parquet does not exist; --bench-data takes a folder with the rows "
        f"of {rows} in this place, with the columns {', '.join(_COLUMNS[rows])}"
    )


def _read(file: Path) -> Any:
    return read_parquet(file) if file.suffix == ".parquet" else read_jsonl(file)

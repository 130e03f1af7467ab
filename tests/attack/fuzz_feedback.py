"""
Spoil rows, lines and exports at random and read them: a script, so that it can go on for a million.

    python tests/attack/fuzz_feedback.py 1000000 [SEED]

It prints its figures as JSON, and ends with 1 where something was raised but a UserError, took over five seconds, or
turned a verdict round.
"""

import copy
import json
import random
import resource
import shutil
import sys
import tempfile
import time
import traceback
from collections import Counter
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[1]))

from format_examples import EXAMPLES
from haloes.errors import UserError
from haloes.feedback.read import FeedbackSource
from haloes.feedback.row_reader import Reading, make_reader
from haloes.records import Feedback, Pair, Record, Refusal, Where
from haloes.records_json import row_to_json
from spoilt_documents import deep, places

TESTS = Path(__file__).parents[1]
EXPORTS = [
    path
    for folder in sorted((TESTS / "feedback" / "importers").iterdir())
    if folder.is_dir() and folder.name != "__pycache__"
    for path in sorted(folder.iterdir())
    if not path.name.endswith(".expected.jsonl") and not path.name.startswith("cut_off")
]
"""Exports of every tool: files and folders."""
LONGEST_S = 5.0
_IN_FILES, _IN_EXPORTS = 20, 200
"""One input in this many is spoilt as the bytes of a file, and one as an export."""
WHERE = Where("fuzz.jsonl", 1)


VALUES: list[Any] = [
    *(None, True, False, 0, 1, -1, 2, 0.5, 10**400, -(10**30), float("nan"), float("inf"), 1e308, 5e-324),
    *(
        "",
        " ",
        "\n",
        "x",
        "0",
        "1",
        "-1",
        "true",
        "NaN",
        "1e999",
        "\ud800",
        "\x1b[2J",
        "\u202e",
        "a" * 5000,
        "9" * 3000,
    ),
    *(
        "yes",
        "👍",
        "👎🏽",
        "A",
        "tie",
        "\n\nHuman: q\n\nAssistant: a",
        "<think>",
        "</think>",
        "<details",
        '{"role": 1}',
    ),
    *([], {}, [[]], [{}], [None], {"": None}, {"role": "user"}, {"role": "assistant", "content": None}),
    *({"from": "human"}, {"type": "image_url"}, [{"type": "text"}], [{"role": "tool", "content": "x"}]),
    *(deep(10), deep(120), {"tool_calls": [1]}, {"role": [], "content": {}}),
]


def spoil(document: Any, rng: random.Random) -> tuple[Any, ...]:
    """Change one place of a document, and return which."""
    found = list(places(document))
    if not found:
        return ()
    path = rng.choice(found)
    *way, last = path
    holder = document
    for key in way:
        holder = holder[key]
    how = rng.randrange(8)
    if how == 0:
        del holder[last]
    elif how == 1 and isinstance(holder, list):
        holder.append(copy.deepcopy(holder[last]))
    elif how == 2 and isinstance(holder, dict):
        holder[rng.choice(["label", "score", "weight", "extra", "finished", "tools"])] = copy.deepcopy(
            rng.choice(VALUES)
        )
        return ("label",)
    else:
        holder[last] = copy.deepcopy(rng.choice(VALUES))
    return path


def is_turned(record: Record, original: Record) -> bool:
    """Return whether a record says the opposite of the one that the row gave before its other places were spoilt."""
    if isinstance(record, Feedback) and isinstance(original, Feedback):
        return record.label is not None and original.label is not None and record.label != original.label
    if isinstance(record, Pair) and isinstance(original, Pair):
        return (record.chosen, record.rejected) == (original.rejected, original.chosen)
    return False


VERDICTS = {"label", "kto_tag", "score", "preference", "winner", "chosen", "rejected", "preferred_output"}
VERDICTS |= {"non_preferred_output", "rejected_response", "a", "b", "response_a", "response_b", "conversation_a"}
VERDICTS |= {"conversation_b"}
"""Names under which a row says which answer is good: spoiling one of them may change what it says."""


def read_row(rng: random.Random) -> str:
    """Spoil a row of some format one to three times, and read it; return what came of it."""
    name, row = rng.choice(EXAMPLES)
    reader = make_reader([(1, row)], Reading(format=name), path="fuzz.jsonl")
    assert reader is not None
    before = list(reader.records(row, WHERE))
    spoilt = copy.deepcopy(row)
    changed = [spoil(spoilt, rng) for _ in range(rng.randint(1, 3))]
    records = list(reader.records(spoilt, WHERE))
    for record in records:
        assert isinstance(record, Feedback | Pair | Refusal)
        if not isinstance(record, Refusal):
            json.dumps(row_to_json(record), ensure_ascii=True)
    verdict_stands = not any(key in VERDICTS or isinstance(key, int) for path in changed for key in path)
    if verdict_stands and any(is_turned(one, other) for one, other in zip(records, before, strict=False)):
        raise AssertionError(f"turned round: {row} as {spoilt}")
    return "refused" if any(isinstance(record, Refusal) for record in records) else "read"


def read_file(rng: random.Random, folder: Path) -> str:
    """Spoil the bytes of a file of three rows, and read it."""
    path = folder / rng.choice(["f.jsonl", "f.json", "f.csv", "f"])
    rows = [row for _, row in rng.choices(EXAMPLES, k=3)]
    text = json.dumps(rows) if rng.random() < 0.3 else "".join(json.dumps(row) + "\n" for row in rows)
    content = bytearray(text.encode())
    for _ in range(rng.randint(1, 4)):
        at = rng.randrange(len(content))
        match rng.randrange(4):
            case 0:
                content[at] = rng.randrange(256)
            case 1:
                del content[at : at + rng.randint(1, 40)]
            case 2:
                content[at:at] = rng.choice(
                    [b"\xff", b"\x00", b'"', b"\\u", b"[" * 2000, b"{", b"\n", b"\xef\xbb\xbf", b","]
                )
            case _:
                content[at:at] = content[max(0, at - 60) : at]
    path.write_bytes(content)
    return _read(path)


def read_export(rng: random.Random, folder: Path) -> str:
    """Spoil a document of some tool's export, and read the export."""
    chosen = rng.choice(EXPORTS)
    copied = folder / chosen.name
    (shutil.copytree if chosen.is_dir() else shutil.copy)(chosen, copied)
    path = rng.choice(sorted(copied.iterdir()) if chosen.is_dir() else [copied])
    if path.suffix == ".json":
        document = json.loads(path.read_text())
        for _ in range(rng.randint(1, 3)):
            spoil(document, rng)
        path.write_text(json.dumps(document))
    elif path.suffix == ".jsonl":
        rows = [json.loads(line) for line in path.read_text().splitlines()]
        for _ in range(rng.randint(1, 3)):
            spoil(rows, rng)
        path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return _read(copied)


def _read(path: Path) -> str:
    try:
        records = list(FeedbackSource(str(path)))
    except UserError:
        return "error"
    finally:
        shutil.rmtree(path) if path.is_dir() else path.unlink()
    assert all(isinstance(record, Feedback | Pair | Refusal) for record in records)
    return "refused" if any(isinstance(record, Refusal) for record in records) else "read"


def main(count: int, seed: int) -> int:
    """Read so many spoilt inputs, print the figures, and return the exit code."""
    rng = random.Random(seed)
    figures: Counter[str] = Counter()
    longest, faults = 0.0, 0
    with tempfile.TemporaryDirectory() as name:
        for number in range(count):
            kind, read = ("row", lambda: read_row(rng))
            if number % _IN_EXPORTS == 0:
                kind, read = ("export", lambda: read_export(rng, Path(name)))
            elif number % _IN_FILES == 0:
                kind, read = ("file", lambda: read_file(rng, Path(name)))
            begun = time.process_time()
            try:
                figures[f"{kind} {read()}"] += 1
            except Exception:
                faults += 1
                traceback.print_exc()
            longest = max(longest, time.process_time() - begun)
    memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss >> 10
    print(json.dumps({**figures, "faults": faults, "longest_s": round(longest, 2), "memory_mib": memory}))
    return int(faults > 0 or longest > LONGEST_S)


if __name__ == "__main__":
    sys.exit(main(int(sys.argv[1]), int(sys.argv[2]) if len(sys.argv) > 2 else 0))

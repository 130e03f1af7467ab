"""
The rows that both libraries train on: real answers of 60 to 530 tokens, or made-up ones of the same lengths.

Run as a process of its own, so that the process that starts the measured ones stays small.
"""

import gzip
import json
import os
import random
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from math import exp, log
from pathlib import Path

import numpy as np
import torch

from haloes.batches.schedule import Schedule
from haloes.models.embedded import embedded_path
from haloes.models.gguf import model_folder, tokenizer_folder
from haloes.models.load import load_tokenizer
from haloes.tokens.encode import Encoded, Encoder, make_encoder
from haloes.tokens.store import TokenStore, TokenStoreWriter

SEED = 0
SHORTEST, LONGEST = 60, 530
DATA = Path(os.environ.get("HALOES_DATA_DIR", Path(__file__).parents[2] / "shared" / "data"))
REAL = DATA / "alpaca_eval" / "feedback_train.jsonl.gz"
WORDS = ["river", "stone", "bread", "window", "garden", "letter", "music", "winter", "market", "bridge", "doctor"]


@dataclass(frozen=True, slots=True)
class Row:
    """One rated answer: as token ids, and as the text that is tokenised to exactly these ids."""

    encoded: Encoded
    prompt: str
    completion: str
    label: bool


def prepare(folder: Path, name: str, *, batch_size: int, steps: int, longest: int) -> dict[str, object]:
    """
    Write the rows of some steps, and say what they are.

    Args:
        folder: takes a folder with the rows.
        name: of that folder.
        batch_size: rows of a step.
        steps: how many.
        longest: tokens of an answer, at most.
    """
    encoder = make_encoder(load_tokenizer("embedded"), max_length=2048)
    rows: list[Row] = []
    for prompt, answer, label in _real() if REAL.exists() else _made_up(longest):
        row = _row(encoder, prompt, answer, label)
        if row is not None and SHORTEST <= len(row.encoded.completion) <= longest:
            rows.append(row)
        if len(rows) == batch_size * steps:
            break
    _write(folder / name, rows, batch_size)
    lengths = np.array([len(row.encoded.completion) for row in rows])
    return {
        "rows": len(rows),
        "source": "alpaca_eval/feedback_train" if REAL.exists() else "made-up words (there is no data folder)",
        "answer tokens, quartiles": [int(q) for q in np.percentile(lengths, [0, 25, 50, 75, 100])],
        "prompt tokens, mean": round(float(np.mean([len(row.encoded.prompt) for row in rows])), 1),
    }


def _real() -> Iterator[tuple[str, str, bool]]:
    """One answer to each instruction, in an order of their own; liked or not against text_davinci_003's."""
    with gzip.open(REAL, "rt", encoding="utf-8") as file:
        known = [json.loads(line) for line in file]
    rated = [row for row in known if row["label_vs_davinci003"] is not None]
    random.Random(SEED).shuffle(rated)
    seen: set[str] = set()
    liked = True
    for row in rated:
        if row["prompt"] not in seen and row["label_vs_davinci003"] == liked:
            seen.add(row["prompt"])
            yield row["prompt"], row["completion"], liked
            liked = not liked


def _made_up(longest: int) -> Iterator[tuple[str, str, bool]]:
    """Words of about one token; the logarithm of an answer's length is uniform, as it nearly is in real answers."""
    rng = random.Random(SEED)
    liked = True
    while True:
        words = round(exp(rng.uniform(log(SHORTEST), log(longest - 2))))
        prompt = f"Write about {' '.join(rng.choices(WORDS, k=rng.randint(3, 30)))}."
        yield prompt, " ".join(rng.choices(WORDS, k=words)), liked
        liked = not liked


def _row(encoder: Encoder, prompt: str, answer: str, label: bool) -> Row | None:
    """The row, unless its text is not tokenised to the same ids when prompt and answer stand together, as TRL does."""
    [encoded] = encoder.encode([(prompt, answer, ())])
    if not isinstance(encoded, Encoded):
        return None
    tokenizer = encoder.template.tokenizer
    head, tail = tokenizer.decode(encoded.prompt), tokenizer.decode(encoded.completion)
    both = [*encoded.prompt.tolist(), *encoded.completion.tolist()]
    if tokenizer(head)["input_ids"] != encoded.prompt.tolist() or tokenizer(head + tail)["input_ids"] != both:
        return None
    return Row(encoded, head, tail, label)


def _write(folder: Path, rows: list[Row], batch_size: int) -> None:
    """The rows as a token store, and in a JSONL file in the order in which haloes takes them from it."""
    folder.mkdir(parents=True)
    with TokenStoreWriter(folder / "store", paired=False) as writer:
        for i, row in enumerate(rows):
            writer.append(row.encoded, desirable=row.label, group=i, weight=1.0, source="rows.jsonl", line=i + 1)
    schedule = schedule_of(TokenStore(folder / "store"), batch_size, epochs=1)
    order = [int(i) for step in range(schedule.num_steps) for i in schedule.step(step).examples]
    with (folder / "rows.jsonl").open("w", encoding="utf-8") as file:
        for i in order:
            record = {"prompt": rows[i].prompt, "completion": rows[i].completion, "label": rows[i].label}
            file.write(json.dumps(record, ensure_ascii=False) + "\n")


def schedule_of(store: TokenStore, batch_size: int, *, epochs: int) -> Schedule:
    """The steps that haloes takes on these rows."""
    return Schedule(
        fingerprint=store.fingerprint,
        desirable=store.desirable,
        group=store.group,
        batch_size=batch_size,
        epochs=epochs,
        seed=SEED,
        mismatched=True,
    )


def processor() -> dict[str, str]:
    """What computes: its model, and the instructions that torch uses."""
    lines = Path("/proc/cpuinfo").read_text().splitlines() if sys.platform == "linux" else []
    model = next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), "unknown")
    return {"processor": model, "instructions": torch.backends.cpu.get_cpu_capability()}


def main() -> None:
    """`python -m benchmarks.rows FOLDER WANTED`: write all rows, and `facts.json` with what there is to know."""
    folder = Path(sys.argv[1])
    sets = {
        name: prepare(folder, name, batch_size=batch_size, steps=steps, longest=longest)
        for name, batch_size, steps, longest in json.loads(sys.argv[2])
    }
    path = embedded_path()
    facts = {"model": str(model_folder(path)), "tokenizer": str(tokenizer_folder(path)), "rows": sets, **processor()}
    (folder / "facts.json").write_text(json.dumps(facts))


if __name__ == "__main__":
    main()

"""
The rows that both libraries train on: real prompts and answers, or made-up ones of like lengths.

- short: TruthfulQA, one of its answers to each question;
- medium: AlpacaEval, one system's answer to each instruction;
- long: UltraFeedback, pairs of answers to one prompt, or both answers of a pair with their labels;
- quick: made-up rows of up to 90 tokens.

Run as a process of its own, so that the process that starts the measured ones stays small.
"""

import gzip
import json
import os
import random
import sys
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
import torch
from benchmarks.cases import Case

from haloes.batches.schedule import Schedule
from haloes.models.embedded import embedded_path
from haloes.models.gguf import model_folder, tokenizer_folder
from haloes.models.load import load_tokenizer
from haloes.tokens.encode import Encoded, Encoder, make_encoder
from haloes.tokens.store import TokenStore, TokenStoreWriter

SEED = 0
LONGEST = 1024
"""Tokens of a row, at most; longer ones are left out."""
DATA = Path(os.environ.get("HALOES_DATA_DIR", Path(__file__).parents[2] / "shared" / "data"))
WORDS = ["river", "stone", "bread", "window", "garden", "letter", "music", "winter", "market", "bridge", "doctor"]

Rated: TypeAlias = tuple[str, list[tuple[str, bool]]]
"""A prompt with its answers, each liked or not."""


@dataclass(frozen=True, slots=True)
class Mix:
    """Where rows of a kind come from."""

    file: str
    """In the data folder."""
    read: Callable[[list[dict[str, Any]]], Iterator[Rated]]
    made_up: tuple[int, int, int]
    """Where the file is missing: words of a prompt, and the fewest and the most words of an answer."""


@dataclass(frozen=True, slots=True)
class Row:
    """One rated answer: as token ids, and as the text that is tokenised to exactly these ids."""

    encoded: Encoded
    prompt: str
    completion: str
    label: bool


def prepare(folder: Path, case: Case) -> dict[str, object]:
    """Write the rows of a case, and say what they are."""
    encoder = make_encoder(load_tokenizer("embedded"), max_length=2 * LONGEST)
    mix, pairs = MIXES[case.mix], case.loss == "dpo"
    path = DATA / mix.file
    wanted = case.batch_size * case.steps * (2 if pairs else 1)
    rows: list[Row] = []
    for prompt, answers in _real(path, mix) if mix.file and path.exists() else _made_up(mix, pairs=pairs):
        found = [_row(encoder, prompt, answer, liked) for answer, liked in answers]
        if all(row is not None for row in found):
            rows += [row for row in found if row is not None]
        if len(rows) >= wanted:
            break
    _write(folder / case.rows, rows[:wanted], case)
    lengths = np.array([len(row.encoded.completion) for row in rows[:wanted]])
    return {
        "rows": len(lengths),
        "source": mix.file if mix.file and path.exists() else "made-up words",
        "answer tokens, quartiles": [int(q) for q in np.percentile(lengths, [0, 25, 50, 75, 100])],
        "prompt tokens, mean": round(float(np.mean([len(row.encoded.prompt) for row in rows[:wanted]])), 1),
    }


def _real(path: Path, mix: Mix) -> Iterator[Rated]:
    with gzip.open(path, "rt", encoding="utf-8") as file:
        known = [json.loads(line) for line in file]
    random.Random(SEED).shuffle(known)
    yield from mix.read(known)


def _one_answer_each(rows: Iterable[tuple[str, str, bool | None]]) -> Iterator[Rated]:
    """Return one answer to each prompt, in turn a liked and a disliked one."""
    seen: set[str] = set()
    wanted = True
    for prompt, answer, liked in rows:
        if prompt not in seen and liked == wanted:
            seen.add(prompt)
            yield prompt, [(answer, liked)]
            wanted = not wanted


def _truthfulqa(rows: list[dict[str, Any]]) -> Iterator[Rated]:
    return _one_answer_each((row["prompt"], row["completion"], row["label"]) for row in rows)


def _alpaca_eval(rows: list[dict[str, Any]]) -> Iterator[Rated]:
    return _one_answer_each((row["prompt"], row["completion"], row["label_vs_davinci003"]) for row in rows)


def _ultrafeedback(rows: list[dict[str, Any]]) -> Iterator[Rated]:
    for row in rows:
        yield row["prompt"], [(row["chosen"], True), (row["rejected"], False)]


MIXES = {
    "short": Mix("truthfulqa/truthful_train.jsonl.gz", _truthfulqa, (12, 5, 30)),
    "medium": Mix("alpaca_eval/feedback_train.jsonl.gz", _alpaca_eval, (30, 60, 500)),
    "long": Mix("ultrafeedback/pairs_train.jsonl.gz", _ultrafeedback, (120, 100, 800)),
    "quick": Mix("", _truthfulqa, (12, 10, 60)),
}


def _made_up(mix: Mix, *, pairs: bool) -> Iterator[Rated]:
    """Return words of about one token; the logarithm of an answer's length is uniform, nearly as in real answers."""
    rng = random.Random(SEED)
    asked, fewest, most = mix.made_up
    liked = True
    while True:
        prompt = f"Write about {' '.join(rng.choices(WORDS, k=rng.randint(1, 2 * asked)))}."
        answers = [" ".join(rng.choices(WORDS, k=round(fewest * (most / fewest) ** rng.random()))) for _ in range(2)]
        yield prompt, [(answers[0], True), (answers[1], False)] if pairs else [(answers[0], liked)]
        liked = not liked


def _row(encoder: Encoder, prompt: str, answer: str, label: bool) -> Row | None:
    """Return the row, unless prompt and answer together are tokenised to other ids, which is what TRL does."""
    [encoded] = encoder.encode([(prompt, answer, ())])
    if not isinstance(encoded, Encoded):
        return None
    tokenizer = encoder.template.tokenizer
    head, tail = tokenizer.decode(encoded.prompt), tokenizer.decode(encoded.completion)
    both = [*encoded.prompt.tolist(), *encoded.completion.tolist()]
    if len(both) > LONGEST:
        return None
    if tokenizer(head)["input_ids"] != encoded.prompt.tolist() or tokenizer(head + tail)["input_ids"] != both:
        return None
    return Row(encoded, head, tail, label)


def _write(folder: Path, rows: list[Row], case: Case) -> None:
    """Write the rows as a token store, and as a JSONL file in the order in which haloes takes them from it."""
    folder.mkdir(parents=True)
    numbers = {prompt: i for i, prompt in enumerate(dict.fromkeys(row.prompt for row in rows))}
    with TokenStoreWriter(folder / "store", paired=case.loss == "dpo") as writer:
        for i, row in enumerate(rows):
            writer.append(
                row.encoded,
                desirable=row.label,
                group=numbers[row.prompt],
                weight=1.0,
                source="rows.jsonl",
                line=i + 1,
            )
    store = TokenStore(folder / "store")
    schedule = schedule_of(store, case.batch_size, epochs=1)
    order = [int(i) for step in range(schedule.num_steps) for i in schedule.step(step).examples]
    with (folder / "rows.jsonl").open("w", encoding="utf-8") as file:
        for i in order:
            record = _pair(rows[2 * i], rows[2 * i + 1]) if store.paired else _rated(rows[i])
            file.write(json.dumps(record, ensure_ascii=False) + "\n")


def _rated(row: Row) -> dict[str, object]:
    return {"prompt": row.prompt, "completion": row.completion, "label": row.label}


def _pair(chosen: Row, rejected: Row) -> dict[str, object]:
    return {"prompt": chosen.prompt, "chosen": chosen.completion, "rejected": rejected.completion}


def schedule_of(store: TokenStore, batch_size: int, *, epochs: int) -> Schedule:
    """Return the steps that haloes takes on these rows."""
    each = store.sequences_per_example
    return Schedule(
        fingerprint=store.fingerprint,
        desirable=store.desirable[::each],
        group=store.group[::each],
        batch_size=batch_size,
        epochs=epochs,
        seed=SEED,
        mismatched=not store.paired,
        prompts_together=True,
    )


def tokens_of_steps(store: TokenStore, schedule: Schedule) -> list[int]:
    """Tokens of each step's prompts with their completions, a shared prompt counted each time."""
    each = store.sequences_per_example
    return [
        sum(store.length(int(i) * each + k) for i in schedule.step(step).examples for k in range(each))
        for step in range(schedule.num_steps)
    ]


def processor() -> dict[str, str]:
    """Return what computes: its model, and the instructions that torch uses."""
    lines = Path("/proc/cpuinfo").read_text().splitlines() if sys.platform == "linux" else []
    model = next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), "unknown")
    return {"processor": model, "instructions": torch.backends.cpu.get_cpu_capability()}


def main() -> None:
    """Run `python -m benchmarks.rows FOLDER CASES`: write all rows, and `facts.json` with what there is to know."""
    folder = Path(sys.argv[1])
    cases = {case.rows: case for case in (Case(**fields) for fields in json.loads(sys.argv[2]))}
    sets = {name: prepare(folder, case) for name, case in cases.items()}
    path = embedded_path()
    facts = {"model": str(model_folder(path)), "tokenizer": str(tokenizer_folder(path)), "rows": sets, **processor()}
    (folder / "facts.json").write_text(json.dumps(facts))


if __name__ == "__main__":
    main()

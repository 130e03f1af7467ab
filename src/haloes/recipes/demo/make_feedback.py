"""
How the demo's feedback was made: answers of the embedded model to the demo's prompts, rated by the demo's rule.

Run it with `python -m haloes.recipes.demo.make_feedback [FOLDER]`; it takes ten to twenty processor minutes. It writes
`feedback.jsonl` from the training prompts and `validation.jsonl` from the held-out ones, in the same way. Answers are
added to `answers-train.jsonl` or `answers-held-out.jsonl` as they come: stopped and run again, it goes on.

One answer a prompt is kept (the KTO paper's "one y per x"), and which kind is decided before anything is sampled: the
prompts are shuffled, and two of every three are to show a liked answer. For these several answers are sampled, one
after the other, until one is liked (up to seven; one only for the held-out prompts); for the third, until one is
not. Where none is, the first answer is kept with its own verdict. So no prompt is selected for its answers, and a low
rate of liked answers, most of them to the same few prompts, does not leave the data with hardly anything to like.

Answers are sampled with temperature 0.7 and top-p 0.95, and cut off at 48 tokens, as those that the demo shows.
"""

import random
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from haloes.progress.contract import Progress
from haloes.recipes.demo.rule import rate
from haloes.records import Completion, Feedback
from haloes.records_json import row_to_json
from haloes.runs.prompts import everyday_prompts
from haloes.sampling._contract import Decoding, Engine
from haloes.sampling.run import read_completions, sample_to_file
from haloes.store import write_jsonl

SEED = 2024
DRAWS_TRAIN, DRAWS_HELD_OUT = 7, 1
DECODING = Decoding(temperature=0.7, top_p=0.95, max_new_tokens=48)

Ask = Callable[[Mapping[str, str], int], list[Completion]]
"""(prompts, seed) to one answer each."""


def asking(engine: Engine, answers: Path, progress: Progress) -> Ask:
    """Return what samples answers and adds them to a file; those that the file has already are not sampled again."""

    def ask(prompts: Mapping[str, str], seed: int) -> list[Completion]:
        progress.stage(f"{answers.stem}, draw {seed - SEED + 1}", len(prompts))
        seeds = range(seed, seed + 1)
        sample_to_file(engine, prompts, answers, decoding=DECODING, seeds=seeds, advance=progress.advance)
        found = {answer.prompt_id: answer for answer in read_completions(answers) if answer.seed == seed}
        return [found[name] for name in prompts]

    return ask


def make_feedback(prompts: Mapping[str, str], ask: Ask, *, draws: int) -> list[dict[str, Any]]:
    """Return a rated answer for each prompt, selected as the module says, as rows; `ask` samples answers."""
    wanted = wanted_labels(prompts)
    kept: dict[str, tuple[Completion, bool]] = {}
    missing = dict(prompts)
    for draw in range(draws):
        for answer in ask(missing, SEED + draw) if missing else ():
            name = answer.prompt_id
            label = rate(answer.prompt, answer.completion, answer.finished).liked
            if answer.completion.strip() and (label == wanted[name] or name not in kept):
                kept[name] = answer, label
            if name in kept and kept[name][1] == wanted[name]:
                del missing[name]
    return [
        _row(*kept[name])
        for name in prompts
        if name in kept  # else the model said nothing at all, every time
    ]


def wanted_labels(prompts: Mapping[str, str]) -> dict[str, bool]:
    """Say which kind of answer each prompt is to show: two of every three of the shuffled prompts a liked one."""
    names = sorted(prompts)
    random.Random(SEED).shuffle(names)
    return {name: place % 3 != 0 for place, name in enumerate(names)}


def _row(answer: Completion, label: bool) -> dict[str, Any]:
    name = answer.prompt_id
    row = Feedback(prompt=answer.prompt, completion=answer.completion, label=label, id=name, group=name)
    return row_to_json(row) | {"finished": answer.finished}


def main(folder: Path) -> None:
    """Sample, rate and write the two files into `folder`."""
    from haloes.progress.display import Display
    from haloes.runs.engines import make_engine

    # float32 on one kind of device: answers then differ between processors only where two tokens are as likely.
    engine = make_engine("embedded", dtype="float32", device="cpu")
    with Display() as progress:
        ask = asking(engine, folder / "answers-train.jsonl", progress)
        rows = make_feedback(everyday_prompts("train"), ask, draws=DRAWS_TRAIN)
        write_jsonl(folder / "feedback.jsonl", rows)
        ask = asking(engine, folder / "answers-held-out.jsonl", progress)
        rows = make_feedback(everyday_prompts("held_out"), ask, draws=DRAWS_HELD_OUT)
        write_jsonl(folder / "validation.jsonl", rows)


if __name__ == "__main__":
    main(Path(sys.argv[1]) if len(sys.argv) > 1 else Path())

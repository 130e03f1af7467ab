"""Answers to a set of prompts into a file, a line each as it comes; what is there is not asked again."""

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from haloes.errors import ConfigError, RunError
from haloes.records import Completion, Text, completion_from_json, to_json
from haloes.sample._contract import Ask, Decoding, Engine, NoAnswer
from haloes.store import read_jsonl


@dataclass(frozen=True, slots=True)
class Sampled:
    """What came of it."""

    answers: int
    """In the file now."""
    fresh: int
    """Of them new."""
    unanswered: tuple[NoAnswer, ...]
    """What a rerun would ask again."""


def sample_to_file(
    engine: Engine,
    prompts: Mapping[str, Text],
    path: Path,
    *,
    decoding: Decoding,
    seeds: range,
    progress: Callable[[int], None],
) -> Sampled:
    """
    Answer each prompt once for each seed, and append the answers to a JSONL file.

    A line that a kill cut in two is dropped, and its prompt asked again.

    Args:
        engine: who answers.
        prompts: prompt id to prompt.
        path: the file; answers of the same model that are in it stay.
        decoding: how answers are drawn.
        seeds: of the draws; more than one needs a temperature.
        progress: called with the number of answers that just came.

    Raises:
        ConfigError: several seeds and nothing is drawn.
        RunError: the file holds answers of another model.
    """
    if len(seeds) > 1 and decoding.temperature == 0:
        raise ConfigError(
            f"sample.n is {len(seeds)} and sample.temperature is 0, where all answers to a prompt are the same; set a "
            "temperature"
        )
    known = _known(path, engine.name)
    asks = [
        Ask(name, prompt, seed)
        for seed in seeds
        for name, prompt in prompts.items()
        if (name, seed if decoding.temperature > 0 else None) not in known
    ]
    unanswered = []
    fresh = 0
    with path.open("a", encoding="utf-8") as file:
        for found in engine.answer(asks, decoding) if asks else ():
            if isinstance(found, NoAnswer):
                unanswered.append(found)
                continue
            file.write(json.dumps(to_json(found), ensure_ascii=False) + "\n")
            file.flush()
            fresh += 1
            progress(1)
    return Sampled(len(known) + fresh, fresh, tuple(unanswered))


def read_completions(path: Path) -> list[Completion]:
    """The answers of a file. Raises DataError where a line is none, with its number."""
    return [completion_from_json(row, where=f"{path}:{number}") for number, row in read_jsonl(path)]


def _known(path: Path, model: str) -> set[tuple[str, int | None]]:
    if not path.exists():
        return set()
    data = path.read_bytes()
    if data and not data.endswith(b"\n"):
        path.write_bytes(data[: data.rfind(b"\n") + 1])
    answers = read_completions(path)
    others = {answer.model for answer in answers} - {model}
    if others:
        raise RunError(
            f"{path} holds answers of {min(others)!r}, and these would be of {model!r}; give another file, or "
            "the same name"
        )
    return {(answer.prompt_id, answer.seed) for answer in answers}

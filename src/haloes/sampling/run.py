"""Answers to a set of prompts into a file, a line each as it comes; what is there is not asked again."""

import json
import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, fields, replace
from pathlib import Path

from haloes.errors import ConfigError, RunError
from haloes.records import Completion, Sampling, Text, completion_from_json, to_json
from haloes.sampling._contract import Ask, Decoding, Engine, NoAnswer
from haloes.store import read_growing, read_jsonl


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
        ConfigError: several seeds and nothing is drawn, or the file's name is of another kind.
        DataError: the file holds something else than answers; it stays as it is.
        RunError: the file holds answers of another model, or that were made otherwise, or it cannot be written.
    """
    check_request(path, decoding, seeds)
    sampling = engine.sampling(decoding)
    known = _known(path, engine.name, sampling)
    asks = [
        Ask(name, prompt, seed)
        for seed in seeds
        for name, prompt in prompts.items()
        if (name, seed if decoding.temperature > 0 else None) not in known
    ]
    unanswered = []
    fresh = 0
    for found in engine.answer(asks, decoding) if asks else ():
        if isinstance(found, NoAnswer):
            unanswered.append(found)
            continue
        _add(path, replace(found, sampling=sampling))
        fresh += 1
        progress(1)
    return Sampled(len(known) + fresh, fresh, tuple(unanswered))


def check_request(path: Path, decoding: Decoding, seeds: range) -> None:
    """
    What `sample_to_file` asks of its file and its settings; for a caller that is about to load a model for it.

    Raises:
        ConfigError: several seeds and nothing is drawn, or the file's name is of another kind.
        RunError: it is a folder.
    """
    if path.suffix != ".jsonl":
        raise ConfigError(f"{path}: give a name that ends in .jsonl; answers are added to it line by line")
    if path.is_dir():
        raise RunError(f"{path} cannot be written (it is a folder); give the name of a file")
    if len(seeds) > 1 and decoding.temperature == 0:
        raise ConfigError(
            f"sample.n is {len(seeds)} and sample.temperature is 0, where all answers to a prompt are the same; set a "
            "temperature"
        )


def read_completions(path: Path) -> list[Completion]:
    """The answers of a file. Raises DataError where a line is none, with its number."""
    return [completion_from_json(row, where=f"{path}:{number}") for number, row in read_jsonl(path)]


def _known(path: Path, model: str, sampling: Sampling) -> set[tuple[str, int | None]]:
    rows, end = read_growing(path, first_key="prompt_id")
    answers = [completion_from_json(row, where=f"{path}:{number}") for number, row in rows]
    others = {answer.model for answer in answers} - {model}
    if others:
        raise RunError(
            f"{path} holds answers of {min(others)!r}, and these would be of {model!r}; give another file, or "
            "the same name"
        )
    other = next((text for answer in answers if (text := _otherwise(answer.sampling, sampling))), None)
    if other is not None:
        raise RunError(
            f"{path} holds answers that were made otherwise ({other}); give another file, or the same settings"
        )
    if path.exists():
        with _writing(path):
            os.truncate(path, end)
    return {(answer.prompt_id, answer.seed) for answer in answers}


def _otherwise(known: Sampling | None, wanted: Sampling) -> str | None:
    """In what an answer's record differs from what is wanted; None where it does not."""
    if known is None:
        return "their records do not say how"
    for f in fields(Sampling):
        one, other = getattr(known, f.name), getattr(wanted, f.name)
        if one != other:
            return f"{f.name.replace('_', ' ')} {one!r}, and these would have {other!r}"
    return None


def _add(path: Path, answer: Completion) -> None:
    with _writing(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("ab") as file:
            file.write((json.dumps(to_json(answer), ensure_ascii=False) + "\n").encode())


@contextmanager
def _writing(path: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise RunError(
            f"{path} cannot be written ({error.strerror or error}); free some space or give another place: what was "
            "answered before is kept, and the same command goes on from it"
        ) from error

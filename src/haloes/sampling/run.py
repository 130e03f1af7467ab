"""Sample answers to prompts into a file, a line each as it comes; a rerun asks only for those that are missing."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields, replace
from pathlib import Path

from haloes.errors import ConfigError, DataError, RunError
from haloes.journal import Journal
from haloes.locks import hold_file
from haloes.records import Asked, Completion, Sampling
from haloes.records_json import completion_from_json, row_to_json
from haloes.run_files import SAMPLES
from haloes.sampling._contract import Advance, Ask, Decoding, Engine, NoAnswer
from haloes.store import read_jsonl


@dataclass(frozen=True, slots=True)
class Sampled:
    """Counts of a file of answers after sampling."""

    answers: int
    """Answers in the file now."""
    fresh: int
    """Those of them that are new."""
    unanswered: tuple[NoAnswer, ...]
    """Prompts that a rerun would ask again."""
    only_think: int = 0
    """Answers in the file that were cut off inside the thought before them."""


def sample_to_file(
    engine: Engine,
    prompts: Mapping[str, Asked],
    path: Path,
    *,
    decoding: Decoding,
    seeds: range,
    advance: Advance,
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
        advance: told of answers that are done, first of those that are in the file, and of parts of them.

    Raises:
        ConfigError: several seeds and nothing is drawn, or the file's name is of another kind.
        DataError: the file holds something else than answers; it stays as it is.
        RunError: the file holds answers of another model, or that were made otherwise, it cannot be written, or another
            process adds to it.
    """
    check_request(path, decoding, seeds)
    sampling = engine.sampling(decoding)
    with hold_file(path):
        journal = _journal(path)
        there = journal.resume(lambda answers: _require_same(path, answers, engine.name, sampling))
        known = {(answer.prompt_id, answer.seed) for answer in there}
        asks = [
            Ask(name, prompt, seed)
            for seed in seeds
            for name, prompt in prompts.items()
            # Without draws every seed would give the same answer, which is recorded with none.
            if (name, seed if decoding.temperature > 0 else None) not in known
        ]
        advance(len(prompts) * len(seeds) - len(asks))
        unanswered = []
        fresh, only_think = 0, sum(answer.only_thinks for answer in there)
        for found in engine.answer(asks, decoding, advance) if asks else ():
            if isinstance(found, NoAnswer):
                unanswered.append(found)
                continue
            journal.add(replace(found, sampling=sampling))
            fresh, only_think = fresh + 1, only_think + found.only_thinks
        return Sampled(len(known) + fresh, fresh, tuple(unanswered), only_think)


def check_request(path: Path, decoding: Decoding, seeds: range) -> None:
    """
    Check what `sample_to_file` asks of its file and settings, for a caller that is about to load a model for it.

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


def read_completions(source: Path) -> list[Completion]:
    """
    Read answers from a file, or from a run's folder; a row that names no model is of the model "<the file's stem>".

    Raises:
        DataError: there are no answers, or a row is none; the message names the file and the line.
    """
    file = source / SAMPLES if source.is_dir() else source
    if source.is_dir() and not file.exists():
        raise DataError(
            f"{source}: there are no answers in it (no {SAMPLES}), as after samples.prompts=0 or of a reward model; "
            "`haloes sample` writes a file of answers"
        )
    answers = [completion_from_json(row, where=f"{file}:{n}", model=file.stem) for n, row in read_jsonl(file)]
    if not answers:
        raise DataError(f"{file}: there are no answers in it")
    return answers


def _journal(path: Path) -> Journal[Completion]:
    return Journal(
        path,
        first_key="prompt_id",
        load=lambda row, where: completion_from_json(row, where=where),
        dump=lambda answer: json.dumps(row_to_json(answer), ensure_ascii=False),
        advice="free some space or give another place: what was answered before is kept, and the same command goes on "
        "from it",
    )


def _require_same(path: Path, answers: Sequence[Completion], model: str, sampling: Sampling) -> None:
    """Raise RunError where answers are of another model, or were drawn in another way."""
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


def _otherwise(known: Sampling | None, wanted: Sampling) -> str | None:
    """Say in what an answer's record differs from the wanted one; None where it does not."""
    if known is None:
        return "their records do not say how"
    for f in fields(Sampling):
        one, other = getattr(known, f.name), getattr(wanted, f.name)
        if one != other:
            return f"{f.name.replace('_', ' ')} {one!r}, and these would have {other!r}"
    return None

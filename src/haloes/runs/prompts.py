"""Prompts to answer, by id: of a run's held-out part, of a feedback file, of a file of prompts, or built in."""

from collections.abc import Iterable, Mapping
from dataclasses import replace
from importlib.resources import files
from pathlib import Path
from typing import Any, Literal

import numpy as np

from haloes.errors import ConfigError, DataError
from haloes.feedback.chats_in_text import spelled_turns
from haloes.feedback.keys import conversation_number, group_number, group_of, number_of, prompt_key, seeded_hash
from haloes.feedback.messages import parse_messages
from haloes.feedback.refusals import RefusalError
from haloes.feedback.split import split
from haloes.records import Asked, Refusal, Text, as_asked, as_prompt, prompt_of
from haloes.records_json import asked_from_json
from haloes.run_files import ENCODED
from haloes.runs.config import FeedbackSettings
from haloes.runs.feedback_rows import open_rows
from haloes.runs.held_out import held_out_share
from haloes.store import read_jsonl, read_lines

EVERYDAY = "everyday"
"""The name of the built-in list: a hundred everyday prompts."""


def everyday_prompts(split: Literal["train", "held_out"]) -> dict[str, str]:
    """
    Return built-in prompts by id, in the order of their file: 400 everyday questions in twenty topics.

    "held_out" are the hundred of `EVERYDAY`, five a topic; the demo trains on the 300 of "train".
    """
    rows = read_jsonl(Path(str(files("haloes.runs") / "everyday.jsonl")))
    return {row["id"]: row["prompt"] for _, row in rows if row["split"] == split}


def load_prompts(
    source: str, settings: FeedbackSettings, *, everything: bool = False, most: int | None = None
) -> dict[str, Text]:
    """Load prompts by id as `load_asked` does, without what belongs to them."""
    found = load_asked(source, settings, everything=everything, most=most)
    return {name: as_prompt(asked).text for name, asked in found.items()}


def load_asked(
    source: str, settings: FeedbackSettings, *, everything: bool = False, most: int | None = None
) -> dict[str, Asked]:
    """
    Load prompts by id, each with its tools and variables of the chat template where it has any.

    Args:
        source: "everyday"; a run's folder (its held-out prompts); a text file (a prompt a line); a JSONL file of rows
            with a `prompt`; or a feedback file, of which the held-out prompts are taken as `haloes train` with the same
            settings would hold them out.
        settings: how a feedback file is read.
        everything: all prompts of a feedback file, not only the held-out ones.
        most: the most prompts to take, drawn by their content and feedback.split_seed.

    Raises:
        ConfigError: `most` is not positive.
        DataError: there are no prompts there, or one cannot be read.
    """
    if most is not None and most < 1:
        raise ConfigError(f"sample.most must be at least 1, got {most}")
    prompts = _from(source, settings, everything=everything)
    if not prompts:
        held_out = " (its run held none back to be answered: samples.prompts)" if Path(source).is_dir() else ""
        raise DataError(f"{source}: there are no prompts in it{held_out}; give a file of prompts or of feedback")
    if most is None or most >= len(prompts):
        return prompts
    names = list(prompts)
    # Drawn by a hash of the id, shown in the order of the file.
    numbers = np.array([number_of(name) for name in names])
    order = np.argsort(seeded_hash(numbers, seed=settings.split_seed, purpose="sample prompts"))
    return {names[i]: prompts[names[i]] for i in sorted(order[:most].tolist())}


def _from(source: str, settings: FeedbackSettings, *, everything: bool) -> dict[str, Asked]:
    path = Path(source)
    if source == EVERYDAY and not path.exists():
        return dict(everyday_prompts("held_out"))
    if path.is_dir() and (path / ENCODED / "prompts.jsonl").exists():
        return {row["id"]: asked_from_json(row) for _, row in read_jsonl(path / ENCODED / "prompts.jsonl")}
    if path.suffix == ".txt":
        lines = [_text(line, where=f"{path}:{number}") for number, line in read_lines(path)]
        return {prompt_key(line): line for line in lines if line}
    if path.name.endswith((".jsonl", ".jsonl.gz")) and _only_prompts(path):
        return _prompts(read_jsonl(path), path)
    return _held_out(source, settings, everything=everything)


def _only_prompts(path: Path) -> bool:
    for _, row in read_jsonl(path):
        return "prompt" in row and not {"completion", "chosen", "label"} & set(row)
    return False


def _text(line: bytes, *, where: str) -> str:
    try:
        return line.decode("utf-8").strip()
    except UnicodeDecodeError as error:
        raise DataError(f"{where}: invalid UTF-8 at byte {error.start}; save the file as UTF-8") from error


def _prompts(rows: Iterable[tuple[int, Mapping[str, Any]]], path: Path) -> dict[str, Asked]:
    prompts: dict[str, Asked] = {}
    for number, row in rows:
        try:
            asked = _with_turns(asked_from_json(row), where=f"{path}:{number}")
        except (KeyError, TypeError, AttributeError) as error:
            raise DataError(f"{path}:{number}: `prompt` must be text or messages with role and content") from error
        prompts[str(row.get("id") or row.get("prompt_id") or prompt_key(as_prompt(asked).text))] = asked
    return prompts


def _with_turns(asked: Asked, *, where: str) -> Asked:
    """Return a prompt whose text spells the turns of a chat as these turns. Raises DataError for broken ones."""
    prompt = as_prompt(asked)
    if not isinstance(prompt.text, str):
        return asked
    try:
        turns = spelled_turns(prompt.text)
        return asked if turns is None else as_asked(replace(prompt, text=parse_messages(turns, column="prompt")))
    except RefusalError as refused:
        raise DataError(f"{where}: {refused.message}") from refused


def _held_out(source: str, settings: FeedbackSettings, *, everything: bool) -> dict[str, Asked]:
    # Prompts are prompts whether the answers have labels or scores: any label does for the latter.
    opened = open_rows(source, settings, pairs=False, middle=0.0)
    rows = [row for row in opened if not isinstance(row, Refusal)]
    groups = np.array([group_number(row) for row in rows], np.int64)
    share = held_out_share(settings, len(np.unique(groups)))
    if not rows or everything or share == 0:
        return {group_of(row): prompt_of(row) for row in rows}
    conversations = np.array([conversation_number(row) for row in rows], np.int64)
    selected = split(groups, conversations, validation=share, seed=settings.split_seed)
    return {group_of(row): prompt_of(row) for row, held in zip(rows, selected, strict=True) if held}

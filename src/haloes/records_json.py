"""
Records as JSON-ready values, and the way back.

There are millions of them, so `row_to_json` leaves out fields at their default; `results_json.numbers_to_json`, for
measured numbers, writes every field.
"""

from collections.abc import Callable, Mapping
from dataclasses import MISSING, fields
from typing import Any, get_args

from haloes.errors import DataError
from haloes.records import (
    MESSAGE_KEYS,
    Asked,
    Completion,
    Judgement,
    Message,
    Prompt,
    Sampling,
    Text,
    Verdict,
    as_asked,
    as_prompt,
)


def row_to_json(record: object) -> dict[str, Any]:
    """Return a record as JSON-ready values, without fields at their default and without the place it was read from."""
    out: dict[str, Any] = {}
    for f in fields(record):  # type: ignore[arg-type]
        value = getattr(record, f.name)
        # A file that is copied is still the same feedback, so its path and lines are no part of what is written.
        if f.name == "where" or value == f.default:
            continue
        out[f.name] = _plain(value)
    return out


def _plain(value: object) -> object:
    if isinstance(value, Message):
        return message_to_json(value)
    if isinstance(value, Sampling):
        return row_to_json(value)
    if isinstance(value, tuple):
        return [_plain(item) for item in value]
    if isinstance(value, Mapping):
        return {key: _plain(item) for key, item in value.items()}
    return value


def message_to_json(message: Message) -> dict[str, Any]:
    """Return a turn as the mapping that chat templates, servers and files have of it."""
    turn: dict[str, Any] = {"role": message.role, "content": message.content}
    if message.tool_calls:
        turn["tool_calls"] = _plain(message.tool_calls)
    for key, value in message.extra:
        turn[key] = _plain(value)
    return turn


def message_from_json(turn: Mapping[str, Any]) -> Message:
    """Rebuild a turn from what `message_to_json` returned."""
    extra = tuple((key, value) for key, value in turn.items() if key not in MESSAGE_KEYS)
    return Message(turn["role"], turn["content"], tuple(turn.get("tool_calls") or ()), extra)


def text_to_json(text: Text) -> object:
    """Return a prompt or completion as JSON-ready values: a string, or a list of messages."""
    return _plain(text)


def text_from_json(value: Any) -> Text:
    """Rebuild a prompt or completion from what `text_to_json` returned."""
    if isinstance(value, str):
        return value
    return tuple(map(message_from_json, value))


def asked_to_json(asked: Asked) -> dict[str, Any]:
    """Return a prompt, and what belongs to it, as named values."""
    prompt = as_prompt(asked)
    given = {"tools": _plain(prompt.tools), "chat_template_kwargs": prompt.chat_template_kwargs}
    return {"prompt": text_to_json(prompt.text), **{name: value for name, value in given.items() if value}}


def asked_from_json(row: Mapping[str, Any]) -> Asked:
    """Rebuild a prompt from what `asked_to_json` returned, other names beside it."""
    tools = tuple(row.get("tools") or ())
    return as_asked(Prompt(text_from_json(row["prompt"]), tools, row.get("chat_template_kwargs")))


def completion_from_json(row: Mapping[str, Any], *, where: str, model: str = "") -> Completion:
    """
    Rebuild a `Completion` from what `row_to_json` returned; unknown fields are ignored.

    Args:
        row: a line of a file of completions.
        where: the file and its line, for error messages.
        model: name of the model where the row has none.

    Raises:
        DataError: a field is missing, or its value is not what it must be.
    """
    for name in ("prompt_id", "prompt", "completion"):
        if name not in row:
            raise DataError(f"{where}: this is not an answer: it has no {name!r}")
    if not isinstance(row["completion"], str):
        raise DataError(f"{where}: completion must be text, got {type(row['completion']).__name__}")
    try:
        prompt = text_from_json(row["prompt"])
    except (KeyError, TypeError, AttributeError) as error:
        raise DataError(f"{where}: prompt must be text or messages with role and content") from error
    # The rest is lenient: completions may come from other tools, which know nothing of seeds and decoding settings.
    seed, tokens = row.get("seed"), row.get("num_tokens", 0)
    return Completion(
        prompt_id=str(row["prompt_id"]),
        prompt=prompt,
        completion=row["completion"],
        model=str(row.get("model", model)),
        num_tokens=tokens if isinstance(tokens, int) else 0,
        finished=row.get("finished", True) is not False,
        reasoning=str(row.get("reasoning") or ""),
        seed=seed if isinstance(seed, int) else None,
        sampling=sampling_from_json(row.get("sampling"), where=where),
        tools=tuple(row.get("tools") or ()),
        chat_template_kwargs=row.get("chat_template_kwargs"),
    )


def sampling_from_json(value: object, *, where: str) -> Sampling | None:
    """
    Rebuild a `Sampling` from what `row_to_json` returned; None for None.

    Raises DataError for anything but the fields of a `Sampling`.
    """
    if value is None:
        return None
    kinds = {"engine": str, "model": str, "max_new_tokens": int, "temperature": int | float, "top_p": int | float}
    if not isinstance(value, Mapping):
        raise DataError(f"{where}: sampling must be named fields, got {type(value).__name__}")
    values = {f.name: value[f.name] for f in fields(Sampling) if f.name in value}
    for name, kind in (kinds | {"control": str}).items():
        if name not in values and name not in {"model", "control"}:
            raise DataError(f"{where}: sampling has no {name!r}")
        if name in values and (not isinstance(values[name], kind) or isinstance(values[name], bool)):
            raise DataError(f"{where}: sampling.{name} cannot be {values[name]!r}")
    if not isinstance(values.get("chat_template_kwargs", {}) or {}, Mapping):
        raise DataError(f"{where}: sampling.chat_template_kwargs cannot be {values['chat_template_kwargs']!r}")
    return Sampling(**values)


def judgement_from_json(row: Mapping[str, Any], *, where: str) -> Judgement:
    """
    Rebuild a `Judgement` from what `row_to_json` returned; unknown fields are ignored.

    Args:
        row: a line of a file of judgements.
        where: the file and its line, for error messages.

    Raises:
        DataError: a field is missing, or its value is not what it must be.
    """
    values = {f.name: row[f.name] for f in fields(Judgement) if f.name in row}
    missing = [f.name for f in fields(Judgement) if f.default is MISSING and f.name not in values]
    if missing:
        raise DataError(f"{where}: this is not a judgement: it has no {missing[0]!r}")
    for name, value in values.items():
        if not _JUDGEMENT_CHECKS.get(name, _is_any)(value):
            raise DataError(f"{where}: {name} cannot be {value!r} in a judgement")
    return Judgement(**values)


def _is_text(value: object) -> bool:
    return isinstance(value, str)


def _is_any(value: object) -> bool:
    return value is None or isinstance(value, str | int | float)


def _is_share(value: object) -> bool:
    return value is None or (isinstance(value, int | float) and not isinstance(value, bool) and 0 <= value <= 1)


_JUDGEMENT_CHECKS: Mapping[str, Callable[[object], bool]] = {
    **dict.fromkeys(("prompt_id", "candidate", "baseline", "judge", "reply", "reason", "template"), _is_text),
    "candidate_first": lambda value: isinstance(value, bool),
    "one_order": lambda value: isinstance(value, bool),
    "verdict": lambda value: value is None or value in get_args(Verdict),
    "preference": _is_share,
}

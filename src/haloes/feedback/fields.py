"""The values that every format carries beside prompts and completions: label, score, weight, tools, ids."""

import json
from collections.abc import Iterable, Mapping
from typing import Any, TypeAlias

from haloes.feedback.labels import parse_label, parse_score
from haloes.feedback.messages import clean_json, clean_text
from haloes.feedback.refusals import Reason, RefusalError, short_repr
from haloes.feedback.times import iso_time

RawRow: TypeAlias = Mapping[str, Any]
"""A row as its file holds it, with the columns renamed as the user asked."""

_LEAST_WEIGHT = 1e-9
_SHARED = frozenset({"id", "group", "conversation", "user", "source", "weight", "tools", "chat_template_kwargs"})
_REMARKS = ("comment", "hindsight")
_MEDIA_COLUMNS = frozenset({"images", "image", "videos", "video", "audios", "audio"})


def required_value(row: RawRow, column: str) -> Any:
    """
    Return the value of a column that the format needs; it may be null.

    Raises:
        RefusalError: The row does not have the column.
    """
    if column not in row:
        raise RefusalError("missing column", f"the row has no {column}", column=column)
    return row[column]


def parse_rating(row: RawRow, *, label_columns: Iterable[str] = ("label",)) -> dict[str, Any]:
    """
    Parse the label and the score of a row into fields of `Feedback`: at least one of the two.

    Raises:
        RefusalError: It has neither, or one of them is not what it should be.
    """
    rating: dict[str, Any] = {}
    for column in label_columns:
        if not _is_blank(row.get(column)):
            rating["label"] = parse_label(row[column])
            break
    if not _is_blank(row.get("score")):
        rating["score"] = parse_score(row["score"])
    if not rating:
        names = " or ".join(label_columns)
        raise RefusalError(
            "no label", f"the row has neither a {names} nor a score: nobody rated this answer", column="label"
        )
    return rating


def parse_finished(row: RawRow, column: str = "finished") -> bool | None:
    """
    Return whether the completion that the column is about came to its end; None where the row does not say.

    Raises:
        RefusalError: It says something else than true or false.
    """
    value = row.get(column)
    if value is None:
        return None
    if not isinstance(value, bool):
        raise RefusalError("wrong type", f"{column} must be true or false, got {short_repr(value)}", column=column)
    return value


def parse_shared_fields(row: RawRow, *, models: Iterable[str] = ("model",)) -> dict[str, Any]:
    """
    Parse the fields that `Feedback` and `Pair` have in common, and the names of the models that answered.

    They are id, group, conversation, user, source, weight, tools, chat_template_kwargs, rated_at, comment, hindsight.

    Args:
        row: The row.
        models: Columns that name a model.

    Raises:
        RefusalError: One of them is not what it should be, or the row comes with images, audio or video.
    """
    shared: dict[str, Any] = {}
    for column, value in row.items():
        if column in _MEDIA_COLUMNS and value:
            raise RefusalError(
                "multimodal content", f"the row has {column}; only text can be trained on", column=column
            )
        if column not in _SHARED or _is_blank(value):
            continue
        if column == "weight":
            shared[column] = _weight(value)
        elif column == "tools":
            shared[column] = parse_tools(value)
        elif column == "chat_template_kwargs":
            shared[column] = parse_template_kwargs(value)
        else:
            shared[column] = _name(value, column=column)
    # Nothing of these is trained, and columns of such names hold all kinds of things elsewhere: what is no text says
    # nothing here, and costs no row.
    for name in (*models, *_REMARKS):
        if isinstance(value := row.get(name), str) and value.strip():
            shared[name] = clean_text(value, subject=name, column=name)
    if (time := iso_time(row.get("rated_at"))) is not None:
        shared["rated_at"] = time
    return shared


def parse_tools(value: object) -> tuple[Mapping[str, Any], ...]:
    """
    Parse tool definitions: a list of objects, or a text that holds one as JSON (LLaMA-Factory, ms-swift).

    Raises:
        RefusalError: It is neither.
    """
    tools = value
    if isinstance(value, str):
        try:
            tools = json.loads(value) if value.strip() else []
        except (ValueError, RecursionError) as error:
            raise RefusalError(
                "wrong type", f"tools is {short_repr(value)}, which is not JSON", column="tools"
            ) from error
    if not isinstance(tools, list | tuple) or not all(isinstance(tool, Mapping) for tool in tools):
        raise RefusalError(
            "wrong type", f"tools is {short_repr(value)}, not a list of tool definitions", column="tools"
        )
    return tuple(clean_json(tool, subject="tools", column="tools") for tool in tools)


def parse_template_kwargs(value: object) -> Mapping[str, Any] | None:
    """
    Parse values of the chat template's variables: an object, or a text that holds one as JSON. None for an empty one.

    Raises:
        RefusalError: It is neither.
    """
    kwargs = value
    if isinstance(value, str):
        try:
            kwargs = json.loads(value)
        except (ValueError, RecursionError):
            kwargs = None
    if not isinstance(kwargs, Mapping):
        raise RefusalError(
            "wrong type",
            f'chat_template_kwargs is {short_repr(value)}, not an object such as {{"enable_thinking": false}}',
            column="chat_template_kwargs",
        )
    cleaned: dict[str, Any] = clean_json(kwargs, subject="chat_template_kwargs", column="chat_template_kwargs")
    return cleaned or None


def _is_blank(value: object) -> bool:
    return value is None or (isinstance(value, str) and not value.strip())


def _name(value: object, *, column: str) -> str:
    """Parse an id or another name: text, or a whole number as text."""
    if isinstance(value, str):
        return clean_text(value, subject=f"the {column}", column=column)
    # A column of whole numbers with gaps arrives as floats from Parquet and pandas.
    if isinstance(value, float) and value.is_integer():
        return str(int(value))
    if isinstance(value, int) and not isinstance(value, bool):
        return str(value)
    message = (
        f"{column} is {short_repr(value)}, neither text nor a whole number; leave the column out (--columns {column}=)"
    )
    raise RefusalError("wrong type", message, column=column)


def _weight(value: object) -> float:
    """Parse a weight: a positive finite number."""
    try:
        weight = parse_score(value)
    except RefusalError as refused:
        reason: Reason = "NaN" if refused.reason == "NaN" else "weight"
        raise RefusalError(reason, f"weight {short_repr(value)} is not a finite number", column="weight") from refused
    # A weight of 0 would count the row among the labels without training on it.
    if weight <= 0:
        message = f"weight {short_repr(value)} is not positive; leave the row out instead of weighing it with 0"
        raise RefusalError("weight", message, column="weight")
    # A step multiplies and adds weights in float32, where those beyond would become infinite or nothing.
    if not _LEAST_WEIGHT <= weight <= 1 / _LEAST_WEIGHT:
        message = f"weight {short_repr(value)} is not between {_LEAST_WEIGHT:g} and {1 / _LEAST_WEIGHT:g}"
        raise RefusalError("weight", message, column="weight")
    return weight

"""
Records of Argilla's version 1: feedback data sets on the hub, text classification, and text to text.

- On the hub a question is a column of responses, [{"user_id": ..., "value": ..., "status": "submitted"}], beside which
  stand "QUESTION-suggestion" and "QUESTION-suggestion-metadata".
- In text classification `annotation` is what a person chose about `inputs`, and `prediction` is a model's choice.
- In text to text `text` is the prompt, `prediction` the answer, and `annotation` what a person wrote instead.
"""

from collections.abc import Iterator, Mapping
from typing import Any

from haloes.feedback.fields import RawRow
from haloes.feedback.importers.task import Entry
from haloes.feedback.importers.values import as_id, as_list, as_map, as_text, at, first_of, parsed

_SUGGESTION = "-suggestion"
_RESPONSE = frozenset({"user_id", "value", "status"})
_RECORD = frozenset({"annotation", "prediction", "status"})
_DONE = (None, "submitted", "Validated")


def is_of_version_1(row: RawRow) -> bool:
    """Return whether a row is a record of version 1, of any task."""
    return _is_one_text(row) or any(map(_is_question, row.values()))


def task_of_version_1(row: RawRow) -> Mapping[str, Any]:
    """Return the fields of a record: what is asked and answered, without what was said of it."""
    if not _is_one_text(row):
        own = {name for name, value in row.items() if _is_question(value)} | {"external_id", "metadata", "id", "status"}
        return {name: value for name, value in row.items() if name not in own and _SUGGESTION not in name}
    inputs = as_map(row.get("inputs"))
    if inputs or "multi_label" in row:
        return inputs or {"text": row.get("text")}
    return {"prompt": row.get("text"), "response": _first(row.get("prediction"), "text")}


def entries_of_version_1(row: RawRow) -> Iterator[Entry | str]:
    """Yield what people, and models, said of a record, or the status of what was not submitted."""
    task, model = as_id(first_of(row, "id", "external_id")), as_text(at(row, "metadata", "model"))
    if _is_one_text(row):
        yield from _annotation(row, task, model)
        return
    for name, value in row.items():
        if _is_question(value):
            for each in as_list(value):
                status = at(each, "status")
                if status not in _DONE:
                    yield str(status)
                else:
                    user = as_id(at(each, "user_id"))
                    yield Entry(name=name, value=at(each, "value"), user=user, task=task, model=model)
        elif name.endswith(_SUGGESTION) and value is not None:
            agent = as_text(at(row, f"{name}-metadata", "agent"))
            question = name.removesuffix(_SUGGESTION)
            yield Entry(name=question, value=parsed(value), voter="model", user=agent, task=task, model=model)


def _annotation(row: RawRow, task: str | None, model: str | None) -> Iterator[Entry | str]:
    """Yield the choice of a person, or the text that they wrote instead; and a model's choice."""
    is_choice = bool(as_map(row.get("inputs"))) or "multi_label" in row
    user, time = as_text(row.get("annotation_agent")), row.get("event_timestamp")
    if row.get("annotation") is None:
        pass
    elif row.get("status") not in _DONE:
        yield str(row.get("status"))
    else:
        name = "annotation" if is_choice else "correction"
        yield Entry(name=name, value=_choice(row["annotation"]), user=user, task=task, time=time, model=model)
    if is_choice and (guess := _first(row.get("prediction"), "label")) is not None:
        agent = as_text(row.get("prediction_agent"))
        yield Entry(name="annotation", value=guess, voter="model", user=agent, task=task, model=model)


def _is_one_text(row: RawRow) -> bool:
    return row.keys() >= _RECORD and ("text" in row or "inputs" in row)


def _is_question(value: object) -> bool:
    return any(as_map(each).keys() >= _RESPONSE for each in as_list(value))


def _choice(value: object) -> object:
    """Return a choice, also where several could have been made and one was."""
    chosen = as_list(value)
    return chosen[0] if len(chosen) == 1 else value


def _first(predictions: object, name: str) -> object:
    """Return the label or text that a model found most likely: of [[value, score], ...], or of objects with both."""
    best = next(iter(as_list(predictions)), None)
    return at(best, name) if isinstance(best, Mapping) else next(iter(as_list(best)), None)

"""
Argilla: records as `to_list()` or the API give them, flat ones (columns such as "thumbs.responses"), and version 1's.

Each annotator's submitted response is a vote of that person: nothing is averaged, so that people who disagree can be
told apart. Suggestions are a model's verdicts.
"""

from collections.abc import Iterator, Mapping
from contextlib import suppress
from typing import Any

from haloes.feedback.fields import RawRow
from haloes.feedback.importers.argilla_version_1 import entries_of_version_1, is_of_version_1, task_of_version_1
from haloes.feedback.importers.contract import Imported, Importer, LeftOut
from haloes.feedback.importers.export import Export
from haloes.feedback.importers.rules import each_row
from haloes.feedback.importers.scale import Scales, scales_of
from haloes.feedback.importers.task import Entry, read_task, verdicts
from haloes.feedback.importers.values import as_id, as_list, as_map, as_text, at, first_of
from haloes.feedback.refusals import RefusalError
from haloes.records import Where

_RESPONSES = ".responses"


def _recognise(export: Export) -> str | None:
    if export.with_columns("fields", "responses"):
        return "Argilla records"
    if any(f"{name}.status" in row for row in export.head() for name in row if name.endswith(_RESPONSES)):
        return "Argilla records (flat)"
    return "Argilla records (version 1)" if any(map(is_of_version_1, export.head())) else None


def _read(export: Export) -> Iterator[Imported]:
    scales = scales_of(_values(export))
    return each_row(export.rows(), lambda row, where: _votes(row, where, scales))


def _values(export: Export) -> Iterator[tuple[str | None, object]]:
    """Yield what was put down where, in the rows that can be read."""
    for _, row in export.rows():
        with suppress(RefusalError):
            entries = [] if isinstance(row, RefusalError) else _task_of(row)[1]
            yield from ((entry.name, entry.value) for entry in entries if isinstance(entry, Entry))


def _task_of(row: RawRow) -> tuple[Mapping[str, Any], list[Entry | str]]:
    """Return the fields of a record, and its entries."""
    if as_map(row.get("fields")):
        return as_map(row["fields"]), list(_nested(row))
    if is_of_version_1(row):
        return task_of_version_1(row), list(entries_of_version_1(row))
    return _own_columns(row), list(_flat(row))


def _votes(row: RawRow, where: Where, scales: Scales) -> Iterator[Imported]:
    fields, entries = _task_of(row)
    if not entries:
        yield LeftOut("no verdict", where, "nobody responded to the record")
        return
    task = read_task(fields)
    for entry in entries:
        if isinstance(entry, str):
            yield LeftOut("no verdict", where, f"a response was not submitted, but is {entry}")
            continue
        try:
            yield from verdicts(task, entry, where, scales)
        except RefusalError as refused:
            yield LeftOut(refused.reason, where, refused.message)


def _nested(row: RawRow) -> Iterator[Entry | str]:
    """Yield the entries of a record, or the status of a response that was not submitted."""
    task, model = as_id(row.get("id")), as_text(at(row, "metadata", "model"))
    responses = row.get("responses")
    for name, given in as_map(responses).items():
        for each in as_list(given):
            yield Entry(name=name, value=at(each, "value"), user=as_id(at(each, "user_id")), task=task, model=model)
    # The API has a response a person, with the values of all questions.
    for each in as_list(responses):
        status = at(each, "status")
        if status not in (None, "submitted"):
            yield str(status)
            continue
        time = first_of(each, "updated_at", "inserted_at")
        for name, given in as_map(at(each, "values")).items():
            yield Entry(
                name=name, value=at(given, "value"), user=as_id(at(each, "user_id")), time=time, task=task, model=model
            )
    suggestions = row.get("suggestions")
    named = list(as_map(suggestions).items()) + [
        (as_text(at(each, "question_name")) or "", each) for each in as_list(suggestions)
    ]
    for name, each in named:
        yield Entry(
            name=name, value=at(each, "value"), voter="model", user=as_id(at(each, "agent")), task=task, model=model
        )


def _flat(row: RawRow) -> Iterator[Entry | str]:
    task, model = as_id(row.get("id")), as_text(row.get("model"))
    for column in row:
        if column.endswith(_RESPONSES):
            name, values = column.removesuffix(_RESPONSES), as_list(row[column])
            users, statuses = (as_list(row.get(f"{column}.{part}")) for part in ("users", "status"))
            # Lists that do not fit would give a person somebody else's vote.
            if any(given and len(given) != len(values) for given in (users, statuses)):
                raise RefusalError(
                    "wrong type", f"{column} has {len(values)} values, and not as many users or statuses"
                )
            for number, value in enumerate(values):
                status = _item(statuses, number)
                if status not in (None, "submitted"):
                    yield str(status)
                else:
                    yield Entry(name=name, value=value, user=as_id(_item(users, number)), task=task, model=model)
        elif column.endswith(".suggestion") and row[column] is not None:
            agent = as_id(row.get(f"{column}.agent"))
            yield Entry(
                name=column.removesuffix(".suggestion"),
                value=row[column],
                voter="model",
                user=agent,
                task=task,
                model=model,
            )


def _item(values: list[Any], number: int) -> Any:
    return values[number] if number < len(values) else None


def _own_columns(row: RawRow) -> Mapping[str, Any]:
    """Return the fields of a flat record: the columns that are not Argilla's own."""
    return {
        name: value for name, value in row.items() if "." not in name and name not in ("id", "status", "_server_id")
    }


ARGILLA = Importer(
    name="argilla",
    product="Argilla",
    files="one JSON file of records",
    how="dataset.records.to_json(path), or the API's list of records with responses",
    votes="words such as up/down or good/bad; numbers are scores; two answers a comparison; each annotator has a vote",
    recognise=_recognise,
    read=_read,
)

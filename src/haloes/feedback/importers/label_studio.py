"""
Label Studio: tasks with their annotations (JSON export), or the flat JSON-MIN.

Choices and Rating are votes, Pairwise is a comparison, and a TextArea called a correction is one; other controls say
nothing that can be trained on. Predictions are a model's verdicts.
"""

from collections.abc import Iterator, Mapping

from haloes.feedback.fields import RawRow
from haloes.feedback.importers.contract import Imported, Importer, LeftOut, Voter
from haloes.feedback.importers.export import Export
from haloes.feedback.importers.rules import each_row
from haloes.feedback.importers.scale import Scales, scales_of
from haloes.feedback.importers.task import Entry, Task, is_of_task, read_task, verdicts
from haloes.feedback.importers.values import as_id, as_list, as_map, as_number, as_text, at, first_of, parsed
from haloes.feedback.labels import known_label
from haloes.feedback.preferences import named_side
from haloes.feedback.refusals import RefusalError
from haloes.records import Where

_MIN = ("annotation_id", "annotator", "lead_time")
_OWN = frozenset({*_MIN, "id", "created_at", "updated_at", "agreement"})
_SCORES = ("rating", "score", "stars")


def _recognise(export: Export) -> str | None:
    # "completions" until version 1.0.
    if export.with_columns("annotations", "data") or export.with_columns("completions", "data"):
        return "Label Studio tasks"
    return "Label Studio tasks (JSON-MIN)" if export.with_columns(*_MIN) else None


def _read(export: Export) -> Iterator[Imported]:
    scales = scales_of(_values(export))
    return each_row(export.rows(), lambda row, where: _votes(row, where, scales))


def _values(export: Export) -> Iterator[tuple[str | None, object]]:
    """Yield what was put down in which control, or column, as far as it may be a number."""
    for _, row in export.rows():
        if isinstance(row, RefusalError):
            continue
        for annotation in as_list(first_of(row, "annotations", "completions")):
            for result in as_list(at(annotation, "result")):
                yield as_text(at(result, "from_name")), _said(as_map(at(result, "value")))
        if not as_map(row.get("data")):
            yield from ((name, value) for name, value in row.items() if isinstance(value, str | int | float))


def _votes(row: RawRow, where: Where, scales: Scales) -> Iterator[Imported]:
    if data := as_map(row.get("data")):
        task = read_task(data)
        for annotation in as_list(first_of(row, "annotations", "completions")):
            yield from _annotation(annotation, row, where, task, scales, voter="human")
        for prediction in as_list(row.get("predictions")):
            yield from _annotation(prediction, row, where, task, scales, voter="model")
    else:
        yield from _flat(row, where, scales)


def _annotation(
    annotation: object, row: RawRow, where: Where, task: Task, scales: Scales, *, voter: Voter
) -> Iterator[Imported]:
    if at(annotation, "was_cancelled") is True:
        yield LeftOut("no verdict", where, "an annotator skipped the task")
        return
    by = at(annotation, "completed_by")
    user = as_id(by) or as_id(first_of(by, "id", "email")) or as_text(at(annotation, "model_version"))
    for result in as_list(at(annotation, "result")):
        entry = Entry(
            name=as_text(at(result, "from_name")) or "label",
            value=_said(as_map(at(result, "value"))),
            voter=voter,
            user=user,
            task=as_id(row.get("id")),
            time=first_of(annotation, "updated_at", "created_at"),
            model=as_text(at(row, "data", "model")),
        )
        yield from _told(task, entry, where, scales)


def _told(task: Task, entry: Entry, where: Where, scales: Scales) -> Iterator[Imported]:
    try:
        yield from verdicts(task, entry, where, scales)
    except RefusalError as refused:
        yield LeftOut(refused.reason, where, refused.message)


def _said(value: Mapping[str, object]) -> object:
    """Return what a control says: its one choice or text, its stars, its side."""
    for name in ("choices", "text", "selected", "rating"):
        if name in value:
            given = value[name]
            return given[0] if isinstance(given, list) and len(given) == 1 else given
    return value


def _flat(row: RawRow, where: Where, scales: Scales) -> Iterator[Imported]:
    fields = {name: value for name, value in row.items() if name not in _OWN}
    said = {name: found for name, value in fields.items() if (found := _flat_value(name, value)) is not None}
    # A choice that haloes does not know looks like any text: feedback.words may.
    said = said or {name: value for name, value in fields.items() if as_text(value) and not is_of_task(name)}
    if not said:
        yield LeftOut("no verdict", where, "no column of the task is a vote")
        return
    task = read_task({name: value for name, value in fields.items() if name not in said})
    by = row.get("annotator")
    for name, value in said.items():
        entry = Entry(
            name=name,
            value=value,
            user=as_id(by) or as_id(first_of(by, "id", "email")),
            task=as_id(row.get("id")),
            time=first_of(row, "updated_at", "created_at"),
        )
        yield from _told(task, entry, where, scales)


def _flat_value(name: str, value: object) -> object:
    """Return what a column of JSON-MIN says, if it is a control; None for a field of the task."""
    value = parsed(value)
    if isinstance(value, Mapping) and "choices" in value:
        return _said(value)
    if isinstance(value, list) and value and at(value[0], "rating") is not None:
        return at(value[0], "rating")
    # A CSV has numbers as texts.
    is_score = any(word in name.casefold() for word in _SCORES) and as_number(value) is not None
    if isinstance(value, str) and not is_score:
        said = known_label(value) is not None or named_side(value) is not None
        return value if said else None
    return value if is_score else None


LABEL_STUDIO = Importer(
    name="label-studio",
    product="Label Studio",
    files="one JSON file: JSON or JSON-MIN",
    how="in Label Studio: Project › Export › JSON",
    votes="choices such as Good/Bad or Thumbs up/Thumbs down; Rating is a score; Pairwise is a comparison",
    recognise=_recognise,
    read=_read,
)

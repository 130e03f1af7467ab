"""Exports of other tools that are not read yet, recognised by their columns so that the message can name them."""

from collections.abc import Iterable, Mapping

from haloes.feedback.fields import RawRow

_SIGNS: tuple[tuple[str, frozenset[str]], ...] = (
    ("an Open WebUI export", frozenset({"data", "meta", "snapshot"})),
    ("an Open WebUI export", frozenset({"type", "data", "meta", "version", "user_id"})),
    ("already tokenised data", frozenset({"prompt_input_ids"})),
    ("already tokenised data", frozenset({"completion_input_ids"})),
    ("already tokenised data", frozenset({"input_ids", "labels"})),
)


def recognise_export(rows: Iterable[RawRow]) -> str | None:
    """
    Return the name of the export that the rows come from, if it is one that is not read yet; None otherwise.

    One page of an API's answer, with the rows under `data`, is recognised too.
    """
    for row in rows:
        for columns in _column_sets(row):
            for name, signs in _SIGNS:
                if signs <= columns:
                    return name
    return None


def _column_sets(row: RawRow) -> Iterable[set[str]]:
    yield set(row)
    page = row.get("data")
    if isinstance(page, list) and page and isinstance(page[0], Mapping):
        yield set(page[0])

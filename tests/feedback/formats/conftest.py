"""Reading one row with one format."""

from collections.abc import Callable, Mapping
from typing import Any, TypeAlias

import pytest

from haloes.feedback.formats.contract import Format
from haloes.feedback.refusals import RefusalError
from haloes.records import Record, Refusal, Where

ReadRow: TypeAlias = Callable[[Format, Mapping[str, Any]], list[Record]]


@pytest.fixture(scope="session")
def read_row() -> ReadRow:
    """The records of a row; a row that is refused as a whole gives its refusal."""

    def read(known: Format, row: Mapping[str, Any]) -> list[Record]:
        where = Where("f.jsonl", 1)
        try:
            return list(known.parse(row, where))
        except RefusalError as refused:
            return [refused.at(where)]

    return read


@pytest.fixture(scope="session")
def reason(read_row: ReadRow) -> Callable[[Format, Mapping[str, Any]], str]:
    """Why a row is refused."""

    def why(known: Format, row: Mapping[str, Any]) -> str:
        (record,) = read_row(known, row)
        assert isinstance(record, Refusal)
        return record.reason

    return why

"""A system prompt that the feedback lacks, from a file of its own."""

from collections.abc import Iterable, Iterator
from dataclasses import replace
from pathlib import Path

from haloes.errors import DataError
from haloes.feedback.messages import with_system
from haloes.records import Record, Refusal
from haloes.store import open_bytes, os_cause

_LONGEST = 1 << 20


def read_system(path: str) -> str:
    """
    Return the system prompt that a file holds, without line breaks at its ends.

    Raises:
        DataError: The file cannot be read, is no text, is blank, or longer than a megabyte.
    """
    try:
        if not Path(path).is_file():
            raise DataError(f"feedback.system: {path}: there is no such file; give a text file with the system prompt")
        with open_bytes(path) as stream:
            text = stream.read(_LONGEST + 1).decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise DataError(f"feedback.system: {path}: byte {error.start} is not UTF-8; save it as UTF-8") from error
    except (OSError, ValueError) as error:
        raise DataError(f"feedback.system: {path}: cannot be read: {os_cause(error)}") from error
    if len(text) > _LONGEST:
        raise DataError(
            f"feedback.system: {path}: it is longer than {_LONGEST:,} characters, which no system prompt is"
        )
    if not text.strip():
        raise DataError(f"feedback.system: {path}: it is blank; give a text file with the system prompt")
    return text.strip("\r\n")


def put_system_first(records: Iterable[Record], system: str) -> Iterator[Record]:
    """Yield the records, with the system prompt before each prompt that has none of its own."""
    for record in records:
        if isinstance(record, Refusal) or (not isinstance(record.prompt, str) and record.prompt[0].role == "system"):
            yield record
        else:
            yield replace(record, prompt=with_system(record.prompt, system))

"""Read a JSON array element by element: memory holds one element and one chunk of the file, never the whole array."""

import re
from collections.abc import Iterator
from typing import TextIO

from haloes.errors import DataError

_CHUNK = 1 << 16
_MAX_ELEMENT = 1 << 26
_BLANK = " \t\n\r"
_NOT_BLANK = re.compile(r"[^ \t\n\r]")

# Everything up to the next mark that gives the array its shape: a bracket, or between elements a comma. Whole strings
# are passed over; a run that ends at a quote ends at a string that the buffer cuts off. The quantifiers are possessive,
# so that a string that does not end is given up in one pass.
_STRING = r'"[^"\\]*+(?:\\.[^"\\]*+)*+"'
_RUN_BETWEEN = re.compile(rf'(?:[^"\[\]{{}},]++|{_STRING})*+', re.DOTALL)
_RUN_WITHIN = re.compile(rf'(?:[^"\[\]{{}}]++|{_STRING})*+', re.DOTALL)


def elements(stream: TextIO, *, path: str, chunk: int = _CHUNK) -> Iterator[tuple[int, str]]:
    """
    Yield the JSON text of each element of the array that a file holds, with the line on which the element begins.

    Elements are told apart by brackets and strings alone; whether an element's text is JSON is left to the caller.

    Args:
        stream: The file, at its start.
        path: Name of the file in messages.
        chunk: Number of characters to read at a time.

    Raises:
        DataError: The file holds no array, or the array is not properly ended or separated; with file and line.
    """
    buffer = _Buffer(stream, path=path, chunk=chunk)
    if buffer.next_mark() != "[":
        raise DataError(f"{path}:{buffer.line}: a JSON array must begin with [")
    buffer.start += 1
    first = True
    while True:
        text, end = _until_separator(buffer)
        blank = not text.strip(_BLANK)
        if blank and (end == "," or not first):
            line = buffer.line + text.count("\n")
            raise DataError(f"{path}:{line}: broken JSON: an element is missing before {end!r}")
        if not blank:
            element = text.lstrip(_BLANK)
            yield buffer.line + text.count("\n", 0, len(text) - len(element)), element
        buffer.line += text.count("\n")
        first = False
        if end == "]":
            break
    if rest := buffer.next_mark():
        raise DataError(f"{path}:{buffer.line}: broken JSON: {rest!r} after the end of the array")


class _Buffer:
    """The part of the file that is in memory; `start` is the position up to which it has been consumed."""

    def __init__(self, stream: TextIO, *, path: str, chunk: int) -> None:
        self.stream = stream
        self.path = path
        self.chunk = chunk
        self.text = ""
        self.start = 0
        self.line = 1

    def grow(self) -> bool:
        """Drop what was consumed and read more; return False at the end of the file."""
        unused = self.text[self.start :]
        # As much again as the element has so far: the number of copies of a long element grows with its logarithm.
        more = self.stream.read(max(self.chunk, len(unused)))
        self.text, self.start = unused + more, 0
        if len(self.text) > _MAX_ELEMENT:
            raise DataError(
                f"{self.path}:{self.element_line()}: broken JSON: the element that begins here does not end, or is "
                f"longer than {_MAX_ELEMENT:,} characters"
            )
        return bool(more)

    def element_line(self) -> int:
        """Return the line on which the next element begins, behind blanks."""
        return self.line + self.text.count("\n", self.start, self.skip_blanks())

    def skip_blanks(self) -> int:
        """Return the position of the next character that is not blank, or the end of the buffer."""
        match = _NOT_BLANK.search(self.text, self.start)
        return match.start() if match else len(self.text)

    def next_mark(self) -> str:
        """Consume blanks and return the first character behind them; "" at the end of the file."""
        while True:
            position = self.skip_blanks()
            self.line += self.text.count("\n", self.start, position)
            self.start = position
            if position < len(self.text):
                return self.text[position]
            if not self.grow():
                return ""


def _until_separator(buffer: _Buffer) -> tuple[str, str]:
    """Consume and return the text up to the next comma or closing bracket of the array itself, and that character."""
    depth = 0
    position = buffer.start
    while True:
        run = (_RUN_WITHIN if depth else _RUN_BETWEEN).match(buffer.text, position)
        position = run.end() if run else position
        mark = buffer.text[position : position + 1]
        # The buffer ends here, or within a string: positions are kept relative to the part that stays.
        if mark in ("", '"'):
            position -= buffer.start
            if not buffer.grow():
                raise DataError(f"{buffer.path}:{buffer.element_line()}: broken JSON: the file ends within the array")
            continue
        position += 1
        if depth == 0 and mark in ",]":
            text = buffer.text[buffer.start : position - 1]
            buffer.start = position
            return text, mark
        depth += 1 if mark in "[{" else -1
        if depth < 0:
            raise DataError(f"{buffer.path}:{buffer.element_line()}: broken JSON: a {mark!r} that nothing opened")

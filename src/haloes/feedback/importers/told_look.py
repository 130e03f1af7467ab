"""
The progress of the first look at an export, which reads all of it before the first record is there.

Importers read rows to join them, some files once and some twice, before they yield the first vote; then votes come in
the order of their file.
"""

from collections.abc import Callable, Generator, Iterator
from dataclasses import replace

from haloes.feedback.containers import NumberedRow
from haloes.feedback.importers.contract import Imported
from haloes.feedback.importers.export import Export, ExportFile
from haloes.progress.contract import Progress

_STAGE = "looking through the export"
_TOLD_EVERY = 256
"""Rows after which a progress is told."""


class ToldLook:
    """Tells a progress how far the first look at an export is."""

    def __init__(self, export: Export, progress: Progress) -> None:
        """Prepare a look; nothing is told before the first row is read."""
        self._progress = progress
        self._has_votes = False
        self._export = replace(export, files=tuple(map(self._told, export.files)))

    def items(self, read: Callable[[Export], Iterator[Imported]]) -> Iterator[Imported]:
        """Yield what an importer reads of the export, and tell how far that is in the first file with votes."""
        lasts = {file.path: file.last_line() for file in self._export.files}
        known = [last for last in lasts.values() if last is not None]
        self._progress.stage(_STAGE, sum(known) if len(known) == len(lasts) else None)
        path, done, in_lines = "", 0, False
        for number, item in enumerate(read(self._export)):
            if not self._has_votes:
                self._has_votes, path = True, item.where.path
                last = lasts.get(path)
                in_lines = last is not None and last > 1
                self._progress.stage(_STAGE, last if in_lines else None)
            at = item.where.line if in_lines and item.where.path == path else number
            if number % _TOLD_EVERY == 0 and at > done:
                self._progress.advance(at - done)
                done = at
            yield item

    def _told(self, file: ExportFile) -> ExportFile:
        return replace(file, opened=self._counted(file.opened))

    def _counted(self, opened: Callable[[], Generator[NumberedRow]]) -> Callable[[], Generator[NumberedRow]]:
        def rows() -> Generator[NumberedRow]:
            for number, row in enumerate(opened(), start=1):
                if number % _TOLD_EVERY == 0 and not self._has_votes:
                    self._progress.advance(_TOLD_EVERY)
                yield row

        return rows

"""An export that was recognised, as records: read by the importer of its tool, and by the rules for all tools."""

from collections.abc import Iterator
from dataclasses import dataclass, field

from haloes.errors import DataError
from haloes.feedback.importers.contract import Importer, Options
from haloes.feedback.importers.export import Export, open_export
from haloes.feedback.importers.rules import FirstLook, as_records, look_first
from haloes.feedback.importers.table import IMPORTERS
from haloes.records import Record


@dataclass(frozen=True, slots=True)
class ExportReader:
    """Reads an export."""

    importer: Importer
    layout: str
    """What was recognised, such as "Open WebUI feedback export (0.12 layout)"."""
    export: Export
    options: Options
    _looks: list[FirstLook] = field(default_factory=list, repr=False)
    """The first look, once it was needed."""

    def records(self) -> Iterator[Record]:
        """Yield the records of the export: `Feedback`, `Pair`, and a `Refusal` for everything that is left out."""
        earlier = self.first_look().earlier
        items = self.importer.read(self.export)
        yield from as_records(items, self.options, earlier=earlier, source=self.importer.name)

    def first_look(self) -> FirstLook:
        """Return which votes are not somebody's last, and what is voted on; one reading serves all later ones."""
        if not self._looks:
            self._looks.append(look_first(self.importer.read(self.export), self.options))
        return self._looks[0]


def find_reader(path: str, *, name: str | None, options: Options) -> ExportReader | None:
    """
    Find the importer for a file or folder; None where it is no export of a known tool.

    Args:
        path: The file or folder.
        name: Name of an importer; None: all are tried.
        options: What the user says of the export.

    Raises:
        DataError: The named importer does not recognise it, or it is an export that lacks what is needed.
    """
    if name is not None and name not in IMPORTERS:
        return None
    export = open_export(path)
    if export is None:
        return None
    for importer in IMPORTERS.values() if name is None else [IMPORTERS[name]]:
        if (layout := importer.recognise(export)) is not None:
            return ExportReader(importer, layout, export, options)
    if name is not None:
        known = IMPORTERS[name]
        raise DataError(f"{path}: this is no export of {known.product}: {known.files} is wanted; {known.how}")
    return None

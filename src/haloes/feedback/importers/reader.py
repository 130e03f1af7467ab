"""An export that was recognised, as records: read by the importer of its tool, and by the rules for all tools."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace

from haloes.errors import DataError
from haloes.feedback.importers.contract import Importer, Options, Unrated
from haloes.feedback.importers.export import Export, open_export
from haloes.feedback.importers.rules import FirstLook, as_records, look_first, rated_answers
from haloes.feedback.importers.table import IMPORTERS
from haloes.feedback.importers.told_look import ToldLook
from haloes.feedback.raters.chance_of_rating import ChanceOfRating, chance_of_rating
from haloes.feedback.raters.shown_answers import ShownAnswers
from haloes.progress.contract import NullProgress, Progress
from haloes.records import Record
from haloes.results import ShownAndRated


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
    _chances: list[ChanceOfRating] = field(default_factory=list, repr=False)
    """Which answers are rated, once it was needed."""

    def records(self) -> Iterator[Record]:
        """
        Yield the records of the export: `Feedback`, `Pair`, and a `Refusal` for everything that is left out.

        Raises:
            DataError: Rows are to weigh by how likely such answers are rated, and this cannot be known.
        """
        factors = self._factors() if self.options.reweight else {}
        earlier = self.first_look().earlier
        items = self.importer.read(self.export)
        yield from as_records(items, self.options, earlier=earlier, source=self.importer.name, factors=factors)

    def first_look(self, progress: Progress | None = None) -> FirstLook:
        """Return which votes are not somebody's last, and what is voted on; one reading serves all later ones."""
        if not self._looks:
            told = ToldLook(self.export, progress or NullProgress())
            self._looks.append(look_first(told.items(self.importer.read), self.options))
        return self._looks[0]

    def shown(self) -> ShownAndRated | None:
        """Return which of the answers that were shown are rated; None where the export holds no unrated ones."""
        if not self._chances and not self._holds_unrated():  # before the rated ones are read again
            return None
        found = self._chance()
        if found is None or found.shown.num_rated == found.shown.num_shown:
            return None
        return replace(found.shown, is_applied=self.options.reweight, shown_if=self.importer.shown_if)

    def _holds_unrated(self) -> bool:
        unrated = () if self.importer.unrated is None else self.importer.unrated(self.export)
        return any(isinstance(each, Unrated) for each in unrated)

    def _chance(self) -> ChanceOfRating | None:
        """Compare rated with unrated answers, in a reading of both; once serves all."""
        if self.importer.unrated is not None and not self._chances:
            earlier = self.first_look().earlier
            rated = rated_answers(self.importer.read(self.export), self.options, earlier=earlier)
            self._chances.append(chance_of_rating(ShownAnswers.of(rated, self.importer.unrated(self.export))))
        return self._chances[0] if self._chances else None

    def _factors(self) -> Mapping[int, float]:
        found = self._chance()
        if found is None or found.shown.too_little:
            alone = f"exports of {self.importer.product} do not show which other answers people saw"
            raise cannot_reweight(self.export.path, alone if found is None else found.shown.too_little)
        return found.factors


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


def cannot_reweight(path: str, why: str) -> DataError:
    """Return the error for a file whose rows are to weigh by how likely such answers are rated, and why they cannot."""
    return DataError(
        f"{path}: feedback.reweight=rated weighs rows by how likely such an answer is rated, as the answers show that "
        f"nobody rated: {why}; leave it out"
    )

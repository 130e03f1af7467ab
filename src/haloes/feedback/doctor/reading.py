"""Say how a file is read: its format, and of comparisons which values mean which answer, with an example to check."""

from collections.abc import Iterator, Mapping

from haloes.feedback.columns import rename
from haloes.feedback.doctor.render import fact_line
from haloes.feedback.importers.reader import ExportReader
from haloes.feedback.personal import kinds_in_words
from haloes.feedback.read import FeedbackSource
from haloes.feedback.refusals import RefusalError, short_repr
from haloes.records import Pair, Where, plain_text


def replaced_lines(replaced: Mapping[str, int]) -> Iterator[str]:
    """Yield the line that says how much personal data gave way to placeholders; none where none did."""
    if replaced:
        yield fact_line("private", f"replaced by placeholders: {kinds_in_words(replaced)}")


def reading_lines(source: FeedbackSource) -> Iterator[str]:
    """Yield the lines that say how the rows are read."""
    reader = source.reader
    yield fact_line("format", source.read_as)
    if isinstance(reader, ExportReader):
        return
    preference = reader.format.preference
    if preference is None:
        return
    reading = reader.reading
    yield fact_line("", f"{reading.columns.get(preference) or preference}: {reading.scale.describe()}")
    # Which way round a scale goes is the user's word for it: one row shows what follows, before anything is trained.
    for line, raw in source.raw_rows():
        record = next(reader.records(raw, Where(source.path, line)), None)
        if isinstance(record, Pair) and not isinstance(raw, RefusalError):
            verdict, chosen = rename(raw, reading.columns).get(preference), str(record.chosen)
            better = next((name for name, value in raw.items() if isinstance(value, str) and value == chosen), None)
            words = short_repr(plain_text(record.chosen))
            which = f"{better} is the better answer" if better else f"the better answer is {words}"
            said = "" if verdict is None else f", {short_repr(verdict)}"
            yield fact_line("", f"for example {Where(source.path, line)}{said}: {which}")
            return

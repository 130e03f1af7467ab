"""What to know of a tool's export before training on it: the system prompt and the answers that it does not hold."""

import shlex
from collections.abc import Iterator

from haloes.feedback.doctor.findings import DataAdvice, Findings
from haloes.feedback.importers.reader import ExportReader
from haloes.feedback.read import FeedbackSource

_SHOWN = 5
_MISSING = "answer not in the export"


def export_advice(source: FeedbackSource, findings: Findings) -> Iterator[DataAdvice]:
    """Yield advice on a tool's export; none on other feedback."""
    if not isinstance(source.reader, ExportReader):
        return
    importer = source.reader.importer
    if not importer.has_system and source.system is None:
        yield DataAdvice(
            severity="note",
            name="no system prompt",
            finding=f"the system prompt of the model's own settings is not in an export of {importer.product}",
            meaning="the answers are trained as if there had been none",
            action="if there was one, give it: --system FILE (feedback.system)",
        )
    metrics = source.reader.first_look().metrics
    if len(metrics) > 1 and source.options.metric is None:
        names = list(metrics)
        shown = ", ".join(f"{name!r} ({metrics[name]})" for name in names[:_SHOWN])
        yield DataAdvice(
            severity="warning",
            name="several metrics",
            finding=f"the verdicts are on {len(metrics)} different things: {shown}{', ...' if names[_SHOWN:] else ''}",
            meaning="all are trained on alike, and one answer may be good in one way and bad in another",
            action=f"choose one: --set feedback.metric={shlex.quote(names[0])}",
        )
    missing = findings.refusals.get(_MISSING)
    if missing is not None and 2 * missing.num > findings.num_read:
        yield DataAdvice(
            severity="warning",
            name="votes without answers",
            finding=f"{missing.num} of {findings.num_read} votes are on answers that are not in the export",
            meaning="most of what people said is lost",
            action=f"give {importer.files}. {importer.how}",
        )

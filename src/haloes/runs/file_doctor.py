"""The doctor's look at a feedback file as the settings say that it is read."""

from dataclasses import dataclass, replace

from haloes.feedback.doctor.advice import advise, worst_first
from haloes.feedback.doctor.columns import column_advice
from haloes.feedback.doctor.examine import examine
from haloes.feedback.doctor.exports import export_advice
from haloes.feedback.doctor.findings import DataAdvice, Findings
from haloes.feedback.doctor.reading import reading_lines, replaced_lines
from haloes.progress.contract import Progress
from haloes.runs.config import RunConfig
from haloes.runs.feedback_rows import Rows, feedback_source, open_for_doctor, tell_reading
from haloes.runs.held_out import held_out_advice


@dataclass(frozen=True, slots=True, kw_only=True)
class FileExamination:
    """The contents of a feedback file, and what they mean for training."""

    rows: Rows
    """The rows, to be read again."""
    reading: tuple[str, ...]
    """Lines that say how the file is read."""
    findings: Findings
    advice: tuple[DataAdvice, ...]
    """Advice, the worst first."""


def examine_file(config: RunConfig, *, progress: Progress) -> FileExamination:
    """
    Examine the feedback file of a configuration, and what training would hold out of it; tell how far the reading is.

    Raises DataError where the file as a whole cannot be read, ConfigError for settings that do not fit it.
    """
    source = feedback_source(config.feedback.source, config.feedback)
    rows = open_for_doctor(config.feedback, source)
    findings = examine(tell_reading(rows, progress, "reading feedback"))
    if findings.taste is not None:
        progress.stage("comparing with answers that nobody rated")
        findings = replace(findings, taste=replace(findings.taste, shown=source.shown()))
    about_source = [*column_advice(source), *export_advice(source, findings)]
    advice = worst_first([*advise(findings), *about_source, *held_out_advice(config, findings.prompts)])
    reading = [*reading_lines(source), *replaced_lines(rows.scrubbed)]
    return FileExamination(rows=rows, reading=tuple(reading), findings=findings, advice=tuple(advice))

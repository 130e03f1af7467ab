"""Examine and convert feedback."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from haloes.api.arguments import (
    Columns,
    FeedbackLike,
    PathLike,
    ProgressLike,
    argument_settings,
    as_files,
    configured,
    path_of,
    showing,
)

if TYPE_CHECKING:
    from haloes.feedback.doctor.findings import DataAdvice, Findings
    from haloes.guide.recommend import Recommendation
    from haloes.runs.config import RunConfig
    from haloes.runs.convert import Written
    from haloes.runs.token_doctor import TokenReport


@dataclass(frozen=True, slots=True, kw_only=True)
class Diagnosis:
    """The contents of a feedback file, and its faults."""

    reading: tuple[str, ...]
    """Lines that say how the file is read: its format, and of comparisons which answer is chosen."""
    findings: "Findings"
    """Counts of rows, labels, prompts, lengths and faults."""
    advice: "tuple[DataAdvice, ...]"
    """Advice for training that follows from them, the worst first."""
    tokens: "TokenReport | None"
    """The rows as tokens of a model; None where no model was named, or no row can be used."""
    errors: tuple[str, ...]
    """Why `haloes.train` would not start with this file; empty where it would."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Conversion:
    """Counts of what was written as canonical records, and of what was left out."""

    path: Path
    num_written: int
    refused: Mapping[str, int]
    """Number of rows that were left out, by reason, the most frequent first."""
    replaced: Mapping[str, int] = field(default_factory=dict)
    """Personal data that gave way to placeholders (`feedback.scrub`), by kind."""
    export: str | None = None
    """The layout of the tool's export that was recognised; None for a file of any other kind."""


def doctor(
    feedback: FeedbackLike,
    *,
    model: PathLike | None = None,
    columns: Columns | None = None,
    system: PathLike | None = None,
    scrub: bool = False,
    settings: Mapping[str, Any] | None = None,
    progress: ProgressLike = "auto",
) -> Diagnosis:
    """
    Find what a feedback file holds and what is wrong with it, with file and line and what to do.

    Example:
        diagnosis = haloes.doctor("thumbs.jsonl")
        print(diagnosis.findings.num_accepted, diagnosis.errors)
        for advice in diagnosis.advice:
            print(advice.severity, advice.finding, advice.action)

    Args:
        feedback: a file of any format, a saved data set, a set's name on the hub, or rows in memory: a DataFrame of
            pandas or polars, an Arrow table, a `datasets.Dataset`, a list of dicts or of records.
        model: also look at the tokens as this model would be trained on them.
        columns: which column is what, where names differ.
        system: a file with the system prompt, for rows that have none: exports of chats often lack it.
        scrub: put placeholders such as [EMAIL] for e-mail addresses, phone numbers, keys and the like.
        settings: settings of the sections feedback and tokens, such as {"tokens": {"max_length": 1024}}.
        progress: told how far the reading is; shown in a terminal or notebook if left out, None for silence.

    Returns:
        What was found; `errors` says why training would not start.

    Raises:
        UserError: the file as a whole, the settings or the model cannot be used.
    """
    from haloes.runs.feedback_rows import tell_reading
    from haloes.runs.file_doctor import examine_file

    with as_files(feedback) as (source, _), showing(progress, patience=2.0) as shown:
        config = configured(
            None, argument_settings(feedback=source, model=model, columns=columns, system=system, scrub=scrub), settings
        )
        found = examine_file(config, progress=shown)
        tokens = None
        # The tokenizer is loaded only if it is asked for: looking at a file needs no model and no torch.
        if model is not None and found.findings.num_accepted:
            from haloes.runs.token_doctor import examine_tokens

            encoding = tell_reading(found.rows, shown, "encoding feedback")
            tokens = examine_tokens(config.model.start, encoding, config.tokens, reasoning=config.feedback.reasoning)
    errors = training_errors(config, found.findings, found.advice, tokens)
    return Diagnosis(reading=found.reading, findings=found.findings, advice=found.advice, tokens=tokens, errors=errors)


def convert(
    feedback: FeedbackLike,
    out: PathLike,
    *,
    to: Literal["single", "pairs"] = "single",
    columns: Columns | None = None,
    system: PathLike | None = None,
    scrub: bool = False,
    settings: Mapping[str, Any] | None = None,
    progress: ProgressLike = "auto",
) -> Conversion:
    """
    Write feedback of any format as canonical records (JSONL, or Parquet by its name), which TRL reads too.

    Example:
        conversion = haloes.convert("thumbs.jsonl", "pairs.jsonl", to="pairs")
        print(conversion.num_written, dict(conversion.refused))

    Args:
        feedback: a file of any format, a saved data set, a set's name on the hub, or rows in memory: a DataFrame of
            pandas or polars, an Arrow table, a `datasets.Dataset`, a list of dicts or of records.
        out: the file to write: .jsonl, .jsonl.gz or .parquet.
        to: single answers with a label (pairs are taken apart), or pairs (answers to the same prompt are matched).
        columns: which column is what, where names differ.
        system: a file with the system prompt, for rows that have none: exports of chats often lack it.
        scrub: put placeholders such as [EMAIL] for e-mail addresses, phone numbers, keys and the like.
        settings: settings of the section feedback, such as {"feedback": {"labels_from": {"rule": "mean"}}}.
        progress: told how far the reading is; shown in a terminal or notebook if left out, None for silence.

    Returns:
        How many records were written, and how many rows were left out for which reason.

    Raises:
        DataError: the feedback cannot be read, or no row of it can be used; nothing is written then.
        ConfigError: a setting is wrong, or the ending of `out` is none of these.
    """
    from haloes.runs.convert import write_records

    with as_files(feedback) as (source, _), showing(progress, patience=2.0) as shown:
        config = configured(
            None, argument_settings(feedback=source, columns=columns, system=system, scrub=scrub), settings
        )
        written = write_records(config.feedback, path_of(out), pairs=to == "pairs", progress=shown)
    return _conversion(path_of(out), written)


def _conversion(out: Path, written: "Written") -> Conversion:
    return Conversion(
        path=out,
        num_written=written.num,
        refused=dict(written.refused.most_common()),
        replaced=written.replaced,
        export=written.export,
    )


def import_feedback(
    tool: str,
    out: PathLike,
    *,
    since: str = "30d",
    score: str | None = None,
    to: Literal["single", "pairs"] = "single",
    system: PathLike | None = None,
    scrub: bool = False,
    settings: Mapping[str, Any] | None = None,
    progress: ProgressLike = "auto",
) -> Conversion:
    """
    Fetch the feedback of a tool's server, and write it as canonical records (`haloes import`).

    What the server gave is kept in a folder beside `out`: the same call goes on where it was stopped, and needs no
    server once all is there. Keys are read from the environment, and stand in no file.

    Example:
        conversion = haloes.import_feedback("langfuse", "thumbs.jsonl", since="30d", score="user-feedback")
        print(conversion.num_written, dict(conversion.refused))

    Args:
        tool: "langfuse" (LANGFUSE_PUBLIC_KEY, LANGFUSE_SECRET_KEY, LANGFUSE_HOST).
        out: the file to write: .jsonl, .jsonl.gz or .parquet.
        since: how far back: "12h", "30d", "8w", or a date such as "2026-11-01".
        score: name of the score that is meant, where there are several (feedback.metric).
        to: single answers with a label (corrections are taken apart), or pairs.
        system: a file with the system prompt, for rows that have none.
        scrub: put placeholders such as [EMAIL] for personal data in `out`; the server's pages are kept as they are.
        settings: settings of the section feedback, such as {"feedback": {"voters": ["human", "model"]}}.
        progress: told how far the fetching is; shown in a terminal or notebook if left out, None for silence.

    Returns:
        How many records were written, and how many rows were left out for which reason.

    Raises:
        ConfigError: a key is missing, a setting is wrong, or there are scores of several names and none was chosen.
        RunError: the server gives nothing usable; what was fetched is kept.
        DataError: no row can be used; nothing is written then.
    """
    from haloes.runs.import_feedback import import_records

    chosen = {} if score is None else {"metric": score}
    options = argument_settings(system=system, scrub=scrub).get("feedback", {})
    with showing(progress, patience=2.0) as shown:
        config = configured(None, {"feedback": {**options, **chosen}}, settings)
        done = import_records(tool, Path(out), config.feedback, since=since, pairs=to == "pairs", progress=shown)
    return _conversion(Path(out), done.written)


def recommend(
    feedback: FeedbackLike,
    *,
    columns: Columns | None = None,
    settings: Mapping[str, Any] | None = None,
    progress: ProgressLike = "auto",
) -> "Recommendation":
    """
    Say which losses apply to feedback and which suits it, with weights, beta, reasons and sources.

    Example:
        recommended = haloes.losses.recommend("thumbs.jsonl")
        print([(step.topic, step.what) for step in recommended.advice], recommended.command)

    Args:
        feedback: as for `haloes.train`.
        columns: which column is what, where names differ.
        settings: settings of the section feedback, such as {"feedback": {"labels_from": {"rule": "mean"}}}.
        progress: told how far the reading is; shown in a terminal or notebook if left out, None for silence.

    Returns:
        What the feedback holds, the losses that apply, and advice in steps.

    Raises:
        DataError: there is nothing in it to train on, or it cannot be read.
    """
    from haloes.guide.recommend import recommend_losses

    with as_files(feedback) as (source, _), showing(progress, patience=2.0) as shown:
        config = configured(None, argument_settings(feedback=source, columns=columns), settings)
        return recommend_losses(config.feedback, shown)


def training_errors(
    config: "RunConfig", findings: "Findings", advice: "Sequence[DataAdvice]", tokens: "TokenReport | None"
) -> tuple[str, ...]:
    """Return why `haloes.train` would not start with feedback of these findings; empty where it would."""
    from haloes.runs.feedback_rows import fatal_reasons, too_many_empty

    errors = [item.finding for item in advice if item.severity == "error"]
    errors += [] if tokens is None else tokens.errors
    # Training stops at the first row that cannot be encoded, and so does this.
    if tokens is not None and not tokens.errors and tokens.num_refused and not config.feedback.skip_refused:
        errors.append(f"{tokens.num_refused} row(s) cannot be turned into tokens")
    refused = {reason: tally.num for reason, tally in findings.refusals.items()}
    if not config.feedback.skip_refused and (reasons := fatal_reasons(refused, findings.num_read)):
        count = sum(refused[reason] for reason in reasons)
        why = too_many_empty(refused, findings.num_read)
        errors.append(f"{count} row(s) cannot be used ({', '.join(sorted(reasons))}{f'; {why}' if why else ''})")
    return tuple(errors)

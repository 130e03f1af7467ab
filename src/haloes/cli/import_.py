"""`haloes import`: feedback from a tool's server as canonical records."""

from pathlib import Path
from typing import Annotated, Literal

from cyclopts import Parameter

from haloes.cli.flags import Settings


def import_(
    tool: Annotated[str, Parameter(name=["TOOL"])],
    /,
    *,
    out: Annotated[Path, Parameter(name=["--out", "-o"])],
    since: str = "30d",
    score: str | None = None,
    to: Literal["single", "pairs"] = "single",
    system: str | None = None,
    scrub: bool = False,
    settings: Settings = (),
) -> None:
    """Fetch the feedback of a tool's server, and write it as canonical records.

    What the server gave is kept in a folder beside the file, so that the same command goes on where it was stopped, and
    needs no server once all is there. Keys are read from the environment, and stand in no file.

    Parameters
    ----------
    tool
        langfuse: keys in LANGFUSE_PUBLIC_KEY and LANGFUSE_SECRET_KEY, the server in LANGFUSE_HOST.
    out
        The file to write: .jsonl, .jsonl.gz or .parquet. Pages are kept beside it, in NAME.TOOL.
    since
        How far back: 12h, 30d, 8w, or a date such as 2026-11-01.
    score
        Name of the score that is meant, where there are several (feedback.metric).
    to
        Single answers with a label (corrections are taken apart), or pairs (answers to the same prompt are matched).
    system
        A file with the system prompt, for rows that have none (feedback.system).
    scrub
        Put placeholders such as [EMAIL] for e-mail addresses, phone numbers, keys and the like (feedback.scrub) in
        OUT; the server's pages are kept as they are.
    settings
        Settings of the section feedback, such as feedback.voters='[human, model]'.
    """
    import haloes.api.feedback
    from haloes.cli.views.output import say
    from haloes.progress.display import Display
    from haloes.runs.feedback_rows import left_out
    from haloes.runs.read_settings import parse_settings

    try:
        conversion = haloes.api.feedback.import_feedback(
            tool,
            out,
            since=since,
            score=score,
            to=to,
            system=system,
            scrub=scrub,
            settings=parse_settings(settings),
            progress=Display(patience=2.0),
        )
    except KeyboardInterrupt as stopped:
        raise KeyboardInterrupt("stopped; the same command goes on with the pages that are there") from stopped
    say(f"{conversion.num_written} records written to {out}{left_out(conversion.refused)}")
    for kind, count in conversion.replaced.items():
        say(f"  replaced: {count} x {kind}")

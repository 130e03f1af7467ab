"""`haloes convert`: any feedback file as canonical records."""

from pathlib import Path
from typing import Annotated, Literal

from cyclopts import Parameter

from haloes.cli.flags import Settings


def convert(
    source: Annotated[str, Parameter(name=["FEEDBACK"])],
    out: Annotated[Path, Parameter(name=["OUT"])],
    /,
    *,
    to: Literal["single", "pairs"] = "single",
    columns: str | None = None,
    system: str | None = None,
    scrub: bool = False,
    settings: Settings = (),
) -> None:
    """Write any feedback file as canonical records (JSONL, or Parquet by its name), which TRL reads too.

    Parameters
    ----------
    source
        A feedback file of any format, a saved data set, or a set's name on the hub.
    out
        The file to write: .jsonl, .jsonl.gz or .parquet.
    to
        Single answers with a label (pairs are taken apart), or pairs (answers to the same prompt are matched).
    columns
        Which column is what, where names differ: completion=answer,label=thumb. Our names are prompt, completion,
        label, score; chosen, rejected; a, b, preference; messages, system; conversation, user, group, weight, margin.
    system
        A file with the system prompt, for rows that have none: exports of chats often lack it (feedback.system).
    scrub
        Put placeholders such as [EMAIL] for e-mail addresses, phone numbers, keys and the like (feedback.scrub).
    settings
        Settings of the section feedback, such as feedback.labels_from='{rule: threshold, tau: 3}'.
    """
    import haloes.api.feedback
    from haloes.cli.views.output import say
    from haloes.progress.display import Display
    from haloes.runs.feedback_rows import left_out
    from haloes.runs.read_settings import parse_settings

    conversion = haloes.api.feedback.convert(
        source,
        out,
        to=to,
        columns=columns,
        system=system,
        scrub=scrub,
        settings=parse_settings(settings),
        progress=Display(patience=2.0),
    )
    if conversion.export is not None:
        say(f"{source}: {conversion.export}")
    say(f"{conversion.num_written} records written to {out}{left_out(conversion.refused)}")
    for kind, count in conversion.replaced.items():
        say(f"  replaced: {count} x {kind}")

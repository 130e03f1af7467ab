"""`haloes convert`: any feedback file as canonical records."""

from pathlib import Path
from typing import Annotated, Literal

from cyclopts import Parameter


def convert(
    source: Annotated[str, Parameter(name=["FEEDBACK"])],
    out: Annotated[Path, Parameter(name=["OUT"])],
    /,
    *,
    to: Literal["single", "pairs"] = "single",
    columns: str | None = None,
    settings: Annotated[tuple[str, ...], Parameter(name=["--set", "-s"], negative=())] = (),
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
        Which column is what, where names differ: completion=answer,label=thumb.
    settings
        Settings of the section feedback, such as feedback.labels_from='{rule: threshold, tau: 3}'.
    """
    from haloes.cli.flags import flag_settings
    from haloes.cli.views.output import say
    from haloes.runs.config import make_config, parse_settings
    from haloes.runs.convert import write_records

    config = make_config(flag_settings(source=source, columns=columns), parse_settings(settings))
    written, refused = write_records(config, out, pairs=to == "pairs")
    say(f"{written} records written to {out}")
    for reason, count in refused.most_common():
        say(f"  left out: {count} x {reason}")

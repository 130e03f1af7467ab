"""`haloes export`: a run's model as a plain transformers folder."""

from pathlib import Path
from typing import Annotated, Literal

from cyclopts import Parameter


def export(
    run: Annotated[Path, Parameter(name=["RUN"])],
    out: Annotated[Path, Parameter(name=["FOLDER"])],
    /,
    *,
    dtype: Literal["auto", "float32", "bfloat16", "float16"] = "auto",
) -> None:
    """Merge a run's adapter into its base model, as a plain folder for transformers.

    Parameters
    ----------
    run
        The run's folder.
    out
        A new folder for the merged model, its tokenizer and its model card.
    dtype
        What the weights are saved in; "auto" is what the base model's are.
    """
    import haloes.api.runs
    from haloes.cli.views.output import say

    say(f"The merged model is in {haloes.api.runs.export(run, out, dtype=dtype)}")
    from haloes.runs.export import merge_note  # here, as it brings torch in

    note = merge_note(run)
    if note is not None:
        say(note)

"""`haloes init`: a settings file and example rows to begin with."""

from pathlib import Path
from typing import Annotated

from cyclopts import Parameter


def init(folder: Annotated[Path, Parameter(name=["FOLDER"])] = Path(), /) -> None:
    """Write a settings file with every setting explained, and a few example rows of each kind of feedback.

    Nothing is overwritten.

    Parameters
    ----------
    folder
        Where to; the current folder if left out.
    """
    from haloes.cli.views.output import say, say_lines
    from haloes.runs.starter import write_starter

    settings, *examples = write_starter(folder)
    say(f"{settings}: every setting with its default and what it means")
    say_lines(map(str, examples))
    thumbs = next(path for path in examples if path.stem == "thumbs")
    say("To begin, with an example or with a file of your own:")
    say_lines([f"haloes doctor {thumbs}", f"haloes train {thumbs} --config {settings}"])

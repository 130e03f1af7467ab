"""`haloes demo`: the main job on feedback that ships with haloes."""

import shlex
import shutil
import sys
from pathlib import Path

from haloes.cli.flags import Out, Settings


def demo(
    *,
    out: Out = None,
    settings: Settings = (),
) -> None:
    """Align SmolLM2-135M-Instruct with feedback that ships with haloes, and show what changed.

    Parameters
    ----------
    out
        The run's folder; runs/demo-<number> if left out.
    settings
        Any setting as section.key=value.
    """
    from haloes.cli.views.output import say
    from haloes.cli.views.run import show_run
    from haloes.progress.display import Display
    from haloes.recipes.demo.recipe import demo_config
    from haloes.runs.align import align
    from haloes.runs.read_settings import parse_settings
    from haloes.runs.run_folder import numbered_run_dir

    with Display() as progress:
        run = align(demo_config(parse_settings(settings)), out or numbered_run_dir("demo"), progress=progress)
    show_run(run)
    if run.is_main:
        say("\nNext, feedback of your own: CSV, JSONL or Parquet, with a prompt, an answer and a thumb in each row.")
        say(f"    {own_feedback_command()}")


def own_feedback_command() -> str:
    """Return the command for a newcomer's next run, with the path to haloes where the shell would not find it."""
    # After `make demo` it is in .venv/bin, which is on no PATH.
    typed = Path(sys.argv[0])
    name = "haloes" if typed.name != "haloes" or shutil.which("haloes") else shlex.quote(str(typed))
    return f"{name} train feedback.csv"

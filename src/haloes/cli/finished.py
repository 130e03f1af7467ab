"""A run on the terminal: carried out with progress, then what came out of it."""

from pathlib import Path
from typing import Any

from haloes.cli.views.output import say, show
from haloes.run_files import MODEL


def carry_out(config: Any, run_dir: Path, *, resume: bool, allow_changes: bool = False) -> None:
    """Train, measure and summarise; on Ctrl-C say how to go on."""
    from haloes.cli.views.progress import TerminalDisplay
    from haloes.cli.views.run import summary_lines
    from haloes.errors import Interrupted
    from haloes.models.kind import is_classifier
    from haloes.runs.align import align

    try:
        with TerminalDisplay() as display:
            run = align(config, run_dir, resume=resume, allow_changes=allow_changes, display=display)
    except Interrupted as stopped:
        message = f"{stopped}, and saved. Go on with: haloes resume {run_dir}"
        raise KeyboardInterrupt(message) from stopped
    if not run.is_main:
        return
    show(summary_lines(run.run_dir))
    if run.was_finished:
        say(f"The run was finished before, with all of its {run.num_steps} steps: nothing was left to do.")
    made = run.run_dir / MODEL
    if is_classifier(made):
        say(f"The reward model is in {made}. Let it judge: haloes judge ANSWERS --judge reward --model {run.run_dir}")
    else:
        say(f"The model is in {made}; merge it into a plain one with: haloes export {run.run_dir} FOLDER")

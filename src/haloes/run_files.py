"""Names of the files in a run's folder, and the one test of whether a folder is a run's."""

from pathlib import Path

from haloes.errors import RunError

CONFIG, DATA, ENVIRONMENT = "config.yaml", "data.json", "environment.json"
"""The resolved configuration, the facts of the feedback, and the machine and versions."""
MANIFEST = "manifest.json"
"""Hashes of the files that are read again when the run is resumed."""
METRICS, SCORES, WARNINGS, CALIBRATION = "metrics.jsonl", "scores.jsonl", "warnings.json", "calibration.json"
"""Numbers of each step, numbers at the end, what a reader has to know, and how sure a reward model was."""
SAMPLES, RATINGS, HELD_OUT = "samples.jsonl", "ratings.jsonl", "held_out.jsonl"
"""Answers before and after training, what the rater said of them, and the held-out rows with their rewards."""
LOGGED_ANSWERS = "logged_answers.jsonl"
"""Scores: how likely the model before training finds the answers of the held-out rows."""
JUDGEMENTS, EVALUATION, REPORT = "judgements.jsonl", "evaluation.json", "report.html"
"""Files that `haloes judge` and `haloes eval` add by default, and the page that shows all of it."""
EXPORTS = "exports.jsonl"
"""How files that the model was converted to compared with it."""
REFUSALS = "refusals.jsonl"
"""What a judge said of whether each answer refuses (`haloes refusals`)."""
COLLECTED = "collected.db"
"""Answers and votes that `haloes serve` keeps."""
PROCESSES = "processes"
"""Folder: what the processes beside the first printed, where `haloes train --processes N` started them."""

MODEL, CHECKPOINTS, BEST = "model", "checkpoints", "best"
"""Folders: the trained model or adapter, the newest checkpoints, and the best one where the run keeps it."""
ENCODED, WATCHED, BENCHMARKS, CODE = "data", "watched", "benchmarks", "code"
"""Folders: encoded feedback, answers and judgements of the judge that watched, answers to benchmarks, and copies of the
user's own losses and raters."""


def is_run(folder: Path) -> bool:
    """Return whether a folder is a run's: training writes the configuration before its first step."""
    return (folder / CONFIG).is_file()


def is_trained_run(folder: Path) -> bool:
    """Return whether a folder is a run's and has a trained model in it."""
    return is_run(folder) and (folder / MODEL).is_dir()


def check_is_run(run_dir: Path) -> None:
    """
    Raise RunError for a folder that holds nothing of a run, such as a model's; a folder that does not exist passes.

    A run that lost its configuration can still be shown, so any of the files that are shown will do.
    """
    shown = (CONFIG, METRICS, SCORES, SAMPLES, HELD_OUT)
    if run_dir.is_dir() and not any((run_dir / name).exists() for name in shown):
        raise RunError(f"{run_dir} holds no run (no {CONFIG}); give the folder that `haloes train` wrote")

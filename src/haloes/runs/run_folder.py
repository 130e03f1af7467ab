"""The run folder: what was done, with what, and what came out, all as plain files."""

import hashlib
import json
import platform
import re
import sys
from collections.abc import Iterable, Mapping
from dataclasses import asdict
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from itertools import count
from pathlib import Path
from typing import Any

from haloes.errors import DataError, RunError
from haloes.feedback.weights import ClassWeights
from haloes.judging.table import deciding_settings
from haloes.locks import LOCK
from haloes.report.card import write_card
from haloes.report.page import write_report
from haloes.run_files import CHECKPOINTS, CODE, CONFIG, DATA, ENVIRONMENT, MODEL, REPORT, SCORES, is_run
from haloes.runs.config import RunConfig, as_mapping
from haloes.runs.config_layers import config_of_file
from haloes.runs.own_rows import with_own_rows
from haloes.runs.parts import PartClock, Parts, begin_part, end_part, total_seconds
from haloes.runs.read_settings import read_yaml
from haloes.store import read_json, write_json, write_text
from haloes.training.identity import changed_names, refuse_changes

_FINISHED = "finished_steps"
SOURCE = "source of the "
"""What the user's own code is called in a run's identity, before what it is to the run."""
_FREE = {
    "microbatch_tokens",
    "microbatch_examples",
    "gradient_checkpointing",
    "activation_offload",
    "reference_cache",
    "validate_every",
    "checkpoint_every",
    "save_while_training",
    "keep_checkpoints",
    "threads",
    "shard",
    "shard_over",
    "kl_budget",
    "repeats_budget",
}
"""Settings of training that do not change what is computed, but for rounding: they may change when a run is resumed."""


def write_config(run_dir: Path, config: RunConfig) -> None:
    """Save the resolved configuration; `read_config` makes the same from it."""
    import yaml

    write_text(run_dir / CONFIG, yaml.safe_dump(as_mapping(config), sort_keys=False, allow_unicode=True))


def read_config(run_dir: Path, *overrides: Mapping[str, Any]) -> RunConfig:
    """Read the configuration that a run was started with, with overrides. Raises RunError where there is none."""
    if not is_run(run_dir):
        if (run_dir / CHECKPOINTS).is_dir():
            raise RunError(
                f"{run_dir} has lost its {CONFIG}: write one there with the settings that the run was started with (in "
                f"another folder the same `haloes train` writes it), and `haloes resume {run_dir}` goes on"
            )
        raise RunError(f"{run_dir} holds no run (no {CONFIG}); `haloes train` starts one")
    return with_own_rows(config_of_file(run_dir / CONFIG, *overrides), run_dir)


def configuration_hash(config: RunConfig) -> str:
    """Hash all settings that decide the result; not what only decides memory, what is written when, or who rates."""
    # What is free is taken out, and all else counts: a new setting decides the result until somebody says otherwise.
    content = as_mapping(config)
    content["train"] = {key: value for key, value in content["train"].items() if key not in _FREE}
    content["samples"] = {key: value for key, value in content["samples"].items() if key not in {"rater", "batch_size"}}
    content["watch"] = {key: value for key, value in content["watch"].items() if key != "judge"}
    if config.watch.judge is not None:
        content["watch"]["judge"] = deciding_settings(str(config.watch.judge.get("kind")), config.watch.judge)
    # The rows themselves are hashed apart: a file may be moved, but not changed.
    content["feedback"] = {
        key: value for key, value in content["feedback"].items() if key not in {"source", "validation"}
    }
    return hashlib.sha256(json.dumps(content, sort_keys=True, default=str).encode()).hexdigest()


def digest(parts: Iterable[str]) -> str:
    """Return one hash of several texts."""
    return hashlib.sha256("\0".join(parts).encode()).hexdigest()


def write_environment(run_dir: Path, identity: Mapping[str, str], **more: object) -> None:
    """Write versions, machine and fingerprints over what an earlier part of the run wrote; None removes an entry."""
    import torch

    content = {
        "haloes": installed("haloes"),
        "torch": torch.__version__,
        "transformers": installed("transformers"),
        "peft": installed("peft"),
        "python": platform.python_version(),
        "platform": platform.platform(),
        "command": " ".join(["haloes", *sys.argv[1:]]),
        "started": datetime.now(UTC).isoformat(timespec="seconds"),
        **_environment(run_dir),
        "fingerprints": dict(identity),
        **more,
    }
    write_json(run_dir / ENVIRONMENT, {name: value for name, value in content.items() if value is not None})


def finished_steps(run_dir: Path) -> int | None:
    """Return how many steps a finished run took; None where there is something left to do."""
    if not all((run_dir / name).exists() for name in (SCORES, MODEL, REPORT)):
        return None
    steps = _environment(run_dir).get(_FINISHED)
    return steps if isinstance(steps, int) else None


def mark_finished(run_dir: Path, identity: Mapping[str, str], clock: PartClock, *, steps: int) -> None:
    """Write the last of a run: how long all its parts took, its pages, and that nothing is left to do."""
    # In this order: the report tells how long the run took, and only a run with a report counts as finished.
    parts = end_part(_parts(run_dir), started=clock.started, seconds=clock.seconds)
    write_environment(run_dir, identity, parts=parts, seconds=total_seconds(parts))
    write_pages(run_dir)
    write_environment(run_dir, identity, **{_FINISHED: steps})


def mark_started(run_dir: Path, identity: Mapping[str, str], clock: PartClock, **more: object) -> None:
    """Write the first of a run, new or resumed: what it runs on, and that it is not finished."""
    import torch

    threads = torch.get_num_threads()
    parts = begin_part(_parts(run_dir), run_dir, started=clock.started, threads=threads)
    open_ended = {"seconds": None, _FINISHED: None}
    write_environment(run_dir, identity, threads=threads, parts=parts, **open_ended, **more)


def mark_stopped(run_dir: Path, clock: PartClock) -> None:
    """Write how long the part of a run took that was stopped."""
    if parts := _parts(run_dir):
        ended = end_part(parts, started=clock.started, seconds=clock.seconds)
        write_json(run_dir / ENVIRONMENT, {**_environment(run_dir), "parts": ended})


def _parts(run_dir: Path) -> Parts:
    """Return the parts of a run so far; none of a new one, or of a run of before they were written."""
    parts = _environment(run_dir).get("parts")
    return parts if isinstance(parts, list) else []


def _environment(run_dir: Path) -> dict[str, Any]:
    """Return what was written of machine, versions and parts; nothing where there is no such file."""
    path = run_dir / ENVIRONMENT
    if not path.is_file():
        return {}
    advice = "remove it and resume; only versions and the times of earlier parts are lost with it"
    try:
        content = read_json(path)
    except DataError as error:
        raise RunError(f"{error}; {advice}") from error
    if (
        not isinstance(content, dict)
        or not isinstance(content.get("fingerprints", {}), dict)
        or not _are_parts(content)
    ):
        raise RunError(f"{path} is not what the run wrote: {advice}")
    return content


def _are_parts(content: Mapping[str, Any]) -> bool:
    """Return whether the parts of a run are there as they were written, or none are."""
    try:
        return all(
            datetime.fromisoformat(part["started"]) and float(part.get("seconds", 0.0)) >= 0
            for part in content.get("parts", [])
        )
    except (TypeError, ValueError, KeyError, AttributeError):
        return False


def check_identity(run_dir: Path, identity: Mapping[str, str]) -> None:
    """Refuse to resume what is no longer the same run. Raises RunError naming what changed."""
    earlier = _earlier_identity(run_dir)
    if "configuration" in changed_names(earlier, identity) and (unknown := _unknown_then(run_dir)):
        raise RunError(
            f"{run_dir} was begun by an older haloes, which did not know {', '.join(unknown)}: this one would compute "
            "something else. Finish it with that version, start a new run, or go on all the same: --allow-changes"
        )
    sources = any(name.startswith(SOURCE) for name in changed_names(earlier, identity))
    kept = f"(it is in {run_dir / CODE})" if sources and (run_dir / CODE).is_dir() else ""
    refuse_changes(earlier, identity, was=f"{run_dir} was started with", kept=kept)


def _unknown_then(run_dir: Path) -> list[str]:
    """Return the settings that a run's own file does not name, in which a run writes all that there are."""
    written = read_yaml(run_dir / CONFIG) if is_run(run_dir) else {}
    known = as_mapping(RunConfig())
    # A loss has hyperparameters of its own.
    sections = {name: written.get(name) for name in known if name != "loss"}
    return [
        f"{section}.{name}"
        for section, there in sections.items()
        for name in known[section]
        if isinstance(there, Mapping) and name not in there
    ]


def changes(run_dir: Path, identity: Mapping[str, str]) -> list[str]:
    """Return a sentence for each thing in which a run goes on otherwise than it was started; none of a new run."""
    return [f"the run was started with another {name}" for name in changed_names(_earlier_identity(run_dir), identity)]


def _earlier_identity(run_dir: Path) -> Mapping[str, str]:
    identity: dict[str, str] = _environment(run_dir).get("fingerprints", {})
    return identity


def installed(package: str) -> str:
    """Return the installed version of a package."""
    try:
        return version(package)
    except PackageNotFoundError:
        return "not installed"


def write_class_weights(run_dir: Path, weights: ClassWeights) -> None:
    """Write the class weights that were taken from the data into `data.json`."""
    write_json(run_dir / DATA, {**read_json(run_dir / DATA), "weights": asdict(weights)})


def write_pages(run_dir: Path) -> Path:
    """Write the report and, where there is a model, its card, from what the folder holds; return the report's path."""
    if (run_dir / MODEL).is_dir():
        write_card(run_dir, run_dir / MODEL)
    return write_report(run_dir)


def known_experiment(path: Path) -> dict[str, Any] | None:
    """
    Read what the folder of several runs was started with; None where there is no such experiment yet.

    Raises RunError where the folder holds something else.
    """
    if path.exists():
        content: dict[str, Any] = read_json(path)
        return content
    out = path.parent
    # Somebody else's files are never mixed with ours.
    if out.exists() and (not out.is_dir() or any(path.name != LOCK for path in out.iterdir())):
        raise RunError(f"{out} is not empty and holds no such experiment; give another folder")
    return None


def claim_experiment(path: Path, mine: Mapping[str, Any]) -> None:
    """
    Write down what the file's folder is of, or make sure that it is the same as before.

    Args:
        path: a JSON file in the experiment's folder.
        mine: everything that decides what is kept there and taken again, by the name that a user knows it by.

    Raises:
        RunError: the folder holds something else; it says what is not the same.
    """
    earlier, plain = known_experiment(path), json.loads(json.dumps(mine, default=dict))
    changed = [name for name, value in plain.items() if earlier is not None and earlier.get(name) != value]
    if changed:
        raise RunError(
            f"{path.parent} was started with another {' and '.join(changed)}; "
            "restore the original, or give another folder"
        )
    write_json(path, plain)


def new_run_dir(config: RunConfig) -> Path:
    """Return the first of runs/<feedback>-<loss>-1, -2 ... that does not exist."""
    source = Path(config.feedback.source).name.split(".")[0] or "run"
    loss = str(config.loss.get("name", "loss")).rpartition(":")[2]
    return numbered_run_dir(re.sub(r"[^A-Za-z0-9_-]+", "-", f"{source}-{loss}"))


def numbered_run_dir(stem: str) -> Path:
    """Return the first of runs/<stem>-1, -2 ... that does not exist."""
    return next(path for n in count(1) if not (path := Path("runs") / f"{stem}-{n}").exists())

"""Types of the calls' arguments, and the configuration that arguments become."""

import hashlib
import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

from haloes.records import Feedback, Pair
from haloes.training.settings import Auto

if TYPE_CHECKING:
    from haloes.losses._contract import Loss
    from haloes.progress.contract import Progress
    from haloes.runs.config import RunConfig

PathLike: TypeAlias = str | Path
FeedbackLike: TypeAlias = str | Path | Iterable[Feedback | Pair]
"""A file, a saved data set, a set's name on the hub, or records."""
ConfigLike: TypeAlias = str | Path | Mapping[str, Any]
"""A YAML file with settings, or nested mappings such as {"train": {"lr": 1e-4}}."""
Columns: TypeAlias = str | Mapping[str, str | None]
"""Which column is what: "completion=answer,label=thumb", or the same as a mapping."""
ProgressLike: TypeAlias = "Progress | Literal['auto'] | None"
"""
Shows how far the work is: "auto" a `haloes.Display` where somebody sees it (in a terminal or a notebook) and nothing
elsewhere; None nothing at all; or anything with the methods of `haloes.Progress`.
"""
JudgeName: TypeAlias = Literal["http", "local", "reward", "reward-model", "rule"]


def argument_settings(
    *,
    feedback: FeedbackLike | None = None,
    model: PathLike | None = None,
    loss: "Loss[Any] | str | None" = None,
    validation: FeedbackLike | None = None,
    columns: Columns | None = None,
    lr: float | Auto | None = None,
    epochs: float | Auto | None = None,
    batch_size: int | Auto | None = None,
) -> dict[str, Any]:
    """Return the arguments that were given as nested mappings like those of a configuration file."""
    sections: dict[str, dict[str, Any]] = {
        "feedback": {
            "source": _feedback_path(feedback),
            "validation": _feedback_path(validation),
            "columns": _columns(columns),
        },
        "model": {"name": None if model is None else str(model)},
        "loss": _loss_section(loss),
        "train": {"lr": lr, "epochs": epochs, "batch_size": batch_size},
    }
    given = {name: without_none(section) for name, section in sections.items()}
    return {name: section for name, section in given.items() if section}


def configured(config: ConfigLike | None, given: Mapping[str, Any], settings: Mapping[str, Any] | None) -> "RunConfig":
    """Return the configuration with the arguments over it, and the settings over both."""
    from haloes.runs.config import config_of_file, make_config

    if config is None or isinstance(config, Mapping):
        return make_config(config or {}, given, settings or {})
    return config_of_file(Path(config), given, settings or {})


@contextmanager
def showing(progress: ProgressLike) -> "Iterator[Progress]":
    """Yield the progress that the work tells; a `haloes.Display` is closed at the end."""
    from haloes.progress.contract import NullProgress
    from haloes.progress.display import Display, display_if_seen

    shown = display_if_seen() if progress == "auto" else progress
    if shown is None:
        shown = NullProgress()
    with shown if isinstance(shown, Display) else nullcontext():
        yield shown


def without_none(arguments: Mapping[str, Any]) -> dict[str, Any]:
    """Return the arguments that were given."""
    return {name: value for name, value in arguments.items() if value is not None}


def as_path(path: PathLike | None) -> Path | None:
    """Return the argument as a path, if it was given."""
    return None if path is None else Path(path)


def as_paths(paths: PathLike | Sequence[PathLike]) -> tuple[Path, ...]:
    """Return one path or several as a tuple."""
    return (Path(paths),) if isinstance(paths, str | Path) else tuple(map(Path, paths))


def _feedback_path(feedback: FeedbackLike | None) -> str | None:
    """Return the feedback as a file; records are kept in the cache, under a name that is their content's hash."""
    if feedback is None or isinstance(feedback, str | Path):
        return None if feedback is None else str(feedback)
    from haloes.models.cache import cache_dir
    from haloes.records import row_to_json
    from haloes.store import write_jsonl

    # A run is resumed from its configuration, which names files: records must outlive the process that has them.
    rows = [row_to_json(record) for record in feedback]
    name = hashlib.sha256(json.dumps(rows, sort_keys=True).encode()).hexdigest()[:32]
    path = cache_dir() / "feedback" / f"{name}.jsonl"
    path.parent.mkdir(parents=True, exist_ok=True)
    write_jsonl(path, rows)
    return str(path)


def _columns(columns: Columns | None) -> dict[str, str | None] | None:
    from haloes.feedback.columns import parse_columns

    if isinstance(columns, str):
        return parse_columns(columns)
    return None if columns is None else dict(columns)


def _loss_section(loss: "Loss[Any] | str | None") -> dict[str, Any]:
    if loss is None or isinstance(loss, str):
        return {"name": loss}
    from haloes.losses.make import loss_settings  # here, as it brings torch in

    return loss_settings(loss)

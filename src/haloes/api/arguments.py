"""Types of the calls' arguments, and the configuration that arguments become."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, nullcontext
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any, Literal, Protocol, TypeAlias

from haloes.errors import ConfigError
from haloes.records import Feedback, Pair
from haloes.training.settings import Auto

if TYPE_CHECKING:
    from haloes.losses._contract import Loss
    from haloes.progress.contract import Progress
    from haloes.runs.config import RunConfig
    from haloes.runs.measure import Rater


class ArrowLike(Protocol):
    """Anything that gives its rows as an Arrow stream, as DataFrames and tables do."""

    def __arrow_c_stream__(self, requested_schema: object | None = None) -> object:
        """Return the stream as a PyCapsule."""
        ...


PathLike: TypeAlias = str | Path
FeedbackLike: TypeAlias = str | Path | Iterable[Feedback | Pair | Mapping[str, Any]] | ArrowLike
"""
A file, a saved data set or a set's name on the hub; or rows in memory (`haloes.feedback.in_memory`): a DataFrame of
pandas or polars, an Arrow table, a `datasets.Dataset`, dicts, records.
"""
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
JudgeLike: TypeAlias = JudgeName | Callable[[Any, str, str], Any]
"""A judge's name; or a function, called with (prompt, first, second) as that of the judge "rule"."""
RaterLike: TypeAlias = str | Callable[[Any, str, bool], tuple[bool, str]]
"""A function, called with (prompt, completion, finished), that returns (liked, reason); or its name."""


@contextmanager
def as_files(feedback: FeedbackLike | None, validation: FeedbackLike | None = None) -> Iterator[list[str | None]]:
    """Yield both as names of files, folders or data sets; rows in memory lie in temporary files meanwhile."""
    from haloes.feedback.in_memory import write_in_memory

    with ExitStack() as files:
        names: list[str | None] = []
        for given, part in ((feedback, "feedback"), (validation, "validation")):
            if given is None or isinstance(given, str | Path):
                names.append(None if given is None else str(given))
            else:
                folder = Path(files.enter_context(TemporaryDirectory(prefix="haloes-rows-")))
                names.append(str(write_in_memory(given, folder, part=part)))
        yield names


def argument_settings(
    *,
    feedback: PathLike | None = None,
    model: PathLike | None = None,
    init: PathLike | None = None,
    loss: "Loss[Any] | str | None" = None,
    validation: PathLike | None = None,
    columns: Columns | None = None,
    system: PathLike | None = None,
    scrub: bool = False,
    lr: float | Auto | None = None,
    epochs: float | Auto | None = None,
    batch_size: int | Auto | None = None,
    rater: RaterLike | None = None,
) -> dict[str, Any]:
    """Return the arguments that were given as nested mappings like those of a configuration file."""
    sections: dict[str, dict[str, Any]] = {
        "feedback": {
            "source": None if feedback is None else str(feedback),
            "validation": None if validation is None else str(validation),
            "columns": _columns(columns),
            "system": None if system is None else str(system),
            "scrub": True if scrub else None,
        },
        "model": {"name": None if model is None else str(model), "init": None if init is None else str(init)},
        "loss": _loss_section(loss),
        "train": {"lr": lr, "epochs": epochs, "batch_size": batch_size},
        "samples": {"rater": _rater_name(rater)},
    }
    given = {name: without_none(section) for name, section in sections.items()}
    return {name: section for name, section in given.items() if section}


def configured(config: ConfigLike | None, given: Mapping[str, Any], settings: Mapping[str, Any] | None) -> "RunConfig":
    """
    Return the configuration with the arguments over it, and the settings over both.

    Where it goes on from a run (`model.init`), below it is what is taken over from there.
    """
    for mapping in (config, settings):
        if isinstance(mapping, Mapping) and callable((mapping.get("samples") or {}).get("rater")):
            raise ConfigError("samples.rater is a name in settings; give the function as an argument: rater=function")
    layers = [config, given, settings or {}] if isinstance(config, Mapping) else [given, settings or {}]
    file = None if config is None or isinstance(config, Mapping) else Path(config)
    from haloes.runs.config_layers import config_of_file

    found = config_of_file(file, *layers)
    if found.model.init is None:
        return found
    from haloes.runs.go_on import taken_over

    return config_of_file(file, *layers, under=taken_over(found.model.init))


@contextmanager
def showing(progress: ProgressLike, *, patience: float = 0.0) -> "Iterator[Progress]":
    """
    Yield the progress that the work tells; a `haloes.Display` is closed at the end.

    One of our own says nothing of stages that take less than `patience` seconds.
    """
    from haloes.progress.contract import NullProgress
    from haloes.progress.display import Display, display_if_seen

    shown = display_if_seen(patience=patience) if progress == "auto" else progress
    if shown is None:
        shown = NullProgress()
    with shown if isinstance(shown, Display) else nullcontext():
        yield shown


def given_rater(rater: RaterLike | None, config: "RunConfig") -> "Rater | None":
    """Return the rater that is a function, unless the configuration names another one."""
    return rater if callable(rater) and config.samples.rater == _rater_name(rater) else None


def without_none(arguments: Mapping[str, Any]) -> dict[str, Any]:
    """Return the arguments that were given."""
    return {name: value for name, value in arguments.items() if value is not None}


def path_of(path: PathLike) -> Path:
    """Return the argument as a path. Raises ConfigError for an empty text, which would be the present folder."""
    if path == "":
        raise ConfigError('an empty text is no path; give one, or "." for the present folder. Is a variable not set?')
    return Path(path)


def as_path(path: PathLike | None) -> Path | None:
    """Return the argument as a path, if it was given."""
    return None if path is None else path_of(path)


def as_paths(paths: PathLike | Sequence[PathLike]) -> tuple[Path, ...]:
    """Return one path or several as a tuple."""
    return (path_of(paths),) if isinstance(paths, str | Path) else tuple(map(path_of, paths))


def _rater_name(rater: RaterLike | None) -> str | None:
    from haloes.judging.functions import name_of

    return name_of(rater) if callable(rater) else rater


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

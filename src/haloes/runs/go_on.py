"""`model.init`: training goes on from a finished run, whose base model and adapter a new run takes over."""

from dataclasses import asdict
from pathlib import Path
from typing import Any

from haloes.errors import ConfigError, ModelError, RunError
from haloes.models.embedded import EMBEDDED_NAMES
from haloes.models.kind import is_classifier
from haloes.models.locate import base_name, is_adapter, locate
from haloes.run_files import DATA, ENVIRONMENT, MODEL, is_run
from haloes.runs import run_folder
from haloes.runs.config import ModelSettings
from haloes.store import read_json

BASE = "base model"
"""What the weights beneath an adapter that goes on are called in a run's identity."""


def taken_over(init: str) -> dict[str, Any]:
    """
    Return the settings that a run has from the one that it goes on from, below all that is given.

    Raises:
        RunError: there is no such run, it is not finished, or it trained a reward model.
    """
    folder = _finished(init)
    model = asdict(run_folder.read_config(folder).model)
    location = locate(str(folder / MODEL), weights=False)
    # Where the adapter finds its base, which may have been moved with it; weights that were trained whole are the base.
    name = base_name(location) if is_adapter(location) else location.name
    return {"model": {"name": name, "lora": model["lora"], "quantize": model["quantize"]}}


def check_init(model: ModelSettings) -> None:
    """
    Refuse settings with which training cannot go on from the run that they name.

    Raises:
        ConfigError: the base model or the adapter is another one than that run's.
        RunError: there is no such run, it is not finished, or it trained a reward model.
    """
    if model.init is None:
        return
    run, known = _folder(model.init), taken_over(model.init)["model"]
    instead = f"leave it out, or train a new adapter on the merged model of that run: --model {run}"
    if not _is_same_model(model.name, known["name"]):
        raise ConfigError(f"model.name is {model.name}, and model.init {run} trained {known['name']}; {instead}")
    given = asdict(model)["lora"]
    if given != known["lora"]:
        was = _spelled(known["lora"])
        raise ConfigError(f"model.lora asks for {_spelled(given)}, and model.init {run} trained {was}; {instead}")


def refuse_init(model: ModelSettings, *, where: str) -> None:
    """Raise ConfigError where training would go on from a run, and `where` each training begins with a model."""
    if model.init is not None:
        raise ConfigError(f"model.init has no effect on {where}; give the run's model: --set model.name={model.init}")


def check_base(model: ModelSettings, fingerprint: str | None) -> None:
    """
    Raise ModelError where an adapter goes on beside other weights than it was trained beside.

    Args:
        model: the settings, with the dtype that the model computes in.
        fingerprint: the hash of the weights beneath the adapter; None where no adapter goes on.
    """
    if model.init is None or fingerprint is None:
        return
    run = _folder(model.init)
    before = run_folder.read_config(run).model
    if (before.dtype, before.quantize) != (model.dtype, model.quantize):
        return  # their hashes are others, whatever the weights are
    if _recorded(run) not in {None, fingerprint}:
        raise ModelError(
            f"{model.name} is no longer the model that {run} was trained on: its weights are others now, and the "
            "adapter does not belong to them. Give it back its old contents"
        )


def recorded_weights(model: ModelSettings, run_dir: Path) -> str | None:
    """
    Return the fingerprint with which those of a run's weights are compared, whatever weights it is of.

    It is one that the run itself recorded when it began, or the run that it goes on from; None where neither did.
    """
    return _recorded(run_dir) or (None if model.init is None else _recorded(_folder(model.init)))


def _recorded(run: Path) -> str | None:
    """Return the fingerprint of the weights that a run began with; of those beneath its adapter, if that went on."""
    path = run / ENVIRONMENT
    known = read_json(path).get("fingerprints", {}) if path.is_file() else {}
    found: str | None = known.get(BASE) or known.get("model") or known.get("reference model")
    return found


def lineage(init: str) -> list[dict[str, Any]]:
    """Return a record of each run that training goes on from, the first one first, as far as they are known."""
    run = _folder(init)
    environment, data = (read_json(run / name) if (run / name).is_file() else {} for name in (ENVIRONMENT, DATA))
    record = {
        "run": str(run),
        "loss": run_folder.read_config(run).loss.get("name"),
        "sources": data.get("sources", []),
        "steps": run_folder.finished_steps(run),
    }
    return [*environment.get("goes_on_from", []), record]


def _folder(init: str) -> Path:
    """Return the run's folder where it is named, or its model's."""
    path = Path(init).expanduser()
    return path.parent if path.name == MODEL and is_run(path.parent) else path


def _finished(init: str) -> Path:
    run = _folder(init)
    if not is_run(run):
        raise RunError(
            f"model.init is {init}, which holds no run; give the folder that `haloes train` wrote. An adapter or a "
            "model of other tools is merged and trained on as --model"
        )
    if run_folder.finished_steps(run) is None:
        raise RunError(f"model.init is {init}, and that run is not finished: haloes resume {run}")
    if is_classifier(run / MODEL):
        raise RunError(f"model.init is {init}, which trained a reward model; there is no language model to go on from")
    return run


def _is_same_model(one: str, other: str) -> bool:
    if one == other or {one.lower(), other.lower()} <= set(EMBEDDED_NAMES):
        return True
    paths = Path(one).expanduser(), Path(other).expanduser()
    return all(path.exists() for path in paths) and paths[0].resolve() == paths[1].resolve()


def _spelled(lora: dict[str, Any] | None) -> str:
    if lora is None:
        return "all weights (null)"
    return f"an adapter with {', '.join(f'{key} {value}' for key, value in lora.items())}"

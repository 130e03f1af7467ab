"""The models that a benchmark asks: a run's before and after training, or one model as it is."""

import hashlib
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from haloes.errors import ModelError, RunError
from haloes.models import hub
from haloes.models.embedded import EMBEDDED_NAMES, embedded_path
from haloes.run_files import BENCHMARKS, ENVIRONMENT, MODEL, is_run
from haloes.runs.go_on import BASE
from haloes.runs.run_folder import read_config
from haloes.store import read_json

_IDENTITY = ("*.safetensors", "config.json", "adapter_config.json")


@dataclass(frozen=True, slots=True, kw_only=True)
class Variant:
    """A model that is asked."""

    name: str
    """"before" and "after" of a run; "model" for one on its own."""
    source: str
    """Folder, name or file to load."""
    dtype: str
    digest: str
    """Hash of the files that it is loaded from."""
    weights: str | None = None
    """The fingerprint that its weights must have: a run's start is not just any model of that name."""


def variants(source: str) -> tuple[Path, tuple[Variant, ...]]:
    """
    Return the folder for the answers, and the models that a source stands for.

    Args:
        source: a run's folder; or a model's folder, name on the hub, .gguf file, or "embedded".

    Raises:
        RunError: the run is not finished.
        ModelError: there is no such model.
    """
    run_dir = Path(source)
    if not is_run(run_dir):
        name = re.sub(r"[^A-Za-z0-9_.-]+", "-", Path(source).name or "model")
        return Path(BENCHMARKS) / name, (Variant(name="model", source=source, dtype="auto", digest=_digest(source)),)
    config = read_config(run_dir)
    trained = run_dir / MODEL
    if not trained.is_dir():
        raise RunError(f"{run_dir} has no model yet: finish it with `haloes resume {run_dir}`")
    base = _digest(config.model.name)
    before = Variant(
        name="before",
        source=config.model.start,
        dtype=config.model.dtype,
        digest=base if config.model.init is None else f"{_digest(config.model.init)} on {base}",
        weights=_start_weights(run_dir),
    )
    after = Variant(
        name="after", source=str(trained), dtype=config.model.dtype, digest=f"{_digest(str(trained))} on {base}"
    )
    return run_dir / BENCHMARKS, (before, after)


def load(variant: Variant) -> Any:
    """
    Load the model and its tokenizer (`LoadedModel`).

    Raises:
        RunError: the start model's weights are not those that the run began with.
        ModelError: it cannot be loaded.
    """
    from haloes.models.device import choose_device, choose_dtype
    from haloes.models.fingerprint import weights_fingerprint
    from haloes.models.load import load_model

    device = choose_device("auto")
    loaded = load_model(variant.source, dtype=choose_dtype(variant.dtype, device), device=device)
    known = variant.weights
    if known is not None and weights_fingerprint(loaded.model, like=known) != known:
        raise RunError(
            f"{variant.source} is not the model that the run started from: its weights are others now, and what it "
            'scores would not be the run\'s "before". Give it back its old contents'
        )
    return loaded


def _start_weights(run_dir: Path) -> str | None:
    path = run_dir / ENVIRONMENT
    known = read_json(path).get("fingerprints", {}) if path.exists() else {}
    if BASE in known:
        return None  # the hash is of base and adapter side by side, and here the two are merged
    return known.get("model") or known.get("reference model")


def _digest(name: str) -> str:
    path = Path(name).expanduser()
    if name.lower() in EMBEDDED_NAMES:
        files = [embedded_path()]
    elif path.is_file():
        files = [path]
    elif path.is_dir():
        files = sorted(file for pattern in _IDENTITY for file in path.glob(pattern))
    elif hub.is_hub_name(name):
        files = sorted(file for pattern in _IDENTITY for file in hub.fetch(name, weights=True).glob(pattern))
    else:
        raise ModelError(f'{name}: no such folder; a model is a folder, a .gguf file, a hub name or "embedded"')
    whole = hashlib.sha256()
    for file in files:
        with file.open("rb") as stream:
            whole.update(f"{file.name} {hashlib.file_digest(stream, 'sha256').hexdigest()}\n".encode())
    return whole.hexdigest()[:16]

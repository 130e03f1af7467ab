"""The main job from Python, with the power of the command line."""

import hashlib
import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from haloes.losses._contract import Loss
from haloes.losses.make import loss_settings
from haloes.models.cache import cache_dir
from haloes.records import Feedback, Pair, to_json
from haloes.runs.align import Run, align
from haloes.runs.callbacks import Progress
from haloes.runs.config import config_of_file, make_config
from haloes.store import write_jsonl


def train(
    *,
    feedback: str | Path | Iterable[Feedback | Pair],
    out: str | Path,
    model: str | None = None,
    loss: Loss[Any] | str | None = None,
    validation: str | Path | Iterable[Feedback | Pair] | None = None,
    config: str | Path | Mapping[str, Any] | None = None,
    resume: bool = False,
    allow_changes: bool = False,
    display: Progress | None = None,
) -> Run:
    """
    Align a model with feedback, and measure it on held-out prompts: `haloes train` as a function.

    Args:
        feedback: a file, a saved data set, a set's name on the hub, or records.
        out: the run's folder; a new one, unless the run is resumed.
        model: a folder, a name on the hub, a .gguf file, or "embedded" (the default, SmolLM2-135M-Instruct).
        loss: a loss such as `haloes.KTO(beta=0.1)`, or a name; KTO with class weights from the data if left out.
        validation: held-out feedback; otherwise a tenth of the prompts is held out.
        config: further settings: a YAML file, or nested mappings such as {"train": {"lr": 1e-4}}.
        resume: go on with the run that `out` holds.
        allow_changes: resume even if the data, the tokenizer, the model or the settings are not what they were.
        display: who is told of the progress; nobody if left out.

    Returns:
        The finished run: its folder and its scores.

    Raises:
        UserError: something that the user can put right.
        Interrupted: Ctrl-C; the run was saved and can be resumed.
    """
    given: dict[str, Any] = {"feedback": {"source": _path(feedback)}}
    if validation is not None:
        given["feedback"]["validation"] = _path(validation)
    if model is not None:
        given["model"] = {"name": str(model)}
    made = None if loss is None or isinstance(loss, str) else loss
    if loss is not None:
        given["loss"] = {"name": loss} if isinstance(loss, str) else loss_settings(loss)
    if config is None or isinstance(config, Mapping):
        chosen = make_config(config or {}, given)
    else:
        chosen = config_of_file(Path(config), given)
    return align(chosen, Path(out), loss=made, resume=resume, allow_changes=allow_changes, display=display)


def _path(feedback: str | Path | Iterable[Feedback | Pair]) -> str:
    """The feedback as a file; records are kept in the cache, under a name that is their content's hash."""
    if isinstance(feedback, str | Path):
        return str(feedback)
    rows = [to_json(record) for record in feedback]
    name = hashlib.sha256(json.dumps(rows, sort_keys=True).encode()).hexdigest()[:32]
    path = cache_dir() / "feedback" / f"{name}.jsonl"
    path.parent.mkdir(parents=True, exist_ok=True)
    write_jsonl(path, rows)
    return str(path)

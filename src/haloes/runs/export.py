"""A run's model as a plain folder that any tool of the field loads."""

import shutil
from pathlib import Path
from typing import Literal, TypeAlias, get_args

import torch

from haloes.errors import ConfigError, ModelError, RunError
from haloes.models.kind import is_classifier
from haloes.models.load import load_model, saved_dtype
from haloes.models.older_readers import make_readable
from haloes.models.quiet import quiet
from haloes.report.card import write_card
from haloes.run_files import MODEL
from haloes.runs import run_folder
from haloes.runs.config import ModelSettings
from haloes.runs.new_folder import check_new_folder, new_folder
from haloes.runs.save_ends import save_ends

ExportDtype: TypeAlias = Literal["auto", "float32", "bfloat16", "float16"]


def merge_note(run_dir: Path) -> str | None:
    """Return what to know of the merged model of a run that trained beside a base in four bits; None of others."""
    if run_folder.read_config(run_dir).model.quantize is None:
        return None
    return (
        "The adapter was trained beside the base in four bits and is merged into the base in full precision: what the "
        "merged model says may differ a little from what was measured. To have exactly that, load the base in four "
        f"bits (bitsandbytes NF4, double quantisation) with the adapter in {run_dir / 'model'}"
    )


def export_model(run_dir: Path, out: Path, *, dtype: ExportDtype = "auto") -> Path:
    """
    Merge a run's adapter into its base (or copy a fully tuned or a reward model), with tokenizer and model card.

    The merge is done in float32.

    Args:
        run_dir: a finished run's folder.
        out: a folder that does not exist yet, or is empty.
        dtype: what the weights are saved in; "auto" is the base model's own, and the run's where the base does not say.

    Raises:
        RunError: the run has no model yet, or `out` holds something.
        ModelError: the base model cannot be loaded.
    """
    if dtype not in get_args(ExportDtype):
        raise ConfigError(f"export.dtype is {dtype!r}: give one of {', '.join(get_args(ExportDtype))}")
    config = run_folder.read_config(run_dir)
    if not (run_dir / MODEL).is_dir():
        raise RunError(f"{run_dir} has no model yet: finish it with `haloes resume {run_dir}`")
    check_new_folder(out)
    # A reward model is whole already.
    whole = is_classifier(run_dir / MODEL)
    weights = _auto_dtype(run_dir, config.model) if dtype == "auto" else getattr(torch, dtype)
    loaded = None if whole else load_model(str(run_dir / MODEL), dtype=weights, device="cpu")
    with new_folder(out) as partial:
        if loaded is None:
            shutil.copytree(run_dir / MODEL, partial, dirs_exist_ok=True)
        else:
            with quiet():
                loaded.model.save_pretrained(partial)
                loaded.tokenizer.save_pretrained(partial)
            # The folders of older runs do not say what ends an answer.
            save_ends(loaded.model, loaded.tokenizer, partial)
        make_readable(partial)
        write_card(run_dir, partial)
    return out


def _auto_dtype(run_dir: Path, settings: ModelSettings) -> torch.dtype:
    """Return the dtype of the model that the run began with, or what was trained where that has fewer bits."""
    computed = torch.bfloat16 if settings.dtype == "bfloat16" else torch.float32
    trained_whole = settings.lora is None
    try:
        base = saved_dtype(settings.name if trained_whole else str(run_dir / MODEL))
    except ModelError:
        # It may be gone, and a model that was trained whole needs it no more; an adapter's is told as it is loaded.
        base = None
    if base is None:
        return computed
    # The adapter's base is merged as it is; of a whole model in bfloat16 the other bits of float32 would be zeros.
    return min(base, computed, key=lambda dtype: dtype.itemsize) if trained_whole else base

"""A run's model as a plain folder that any tool of the field loads."""

import shutil
from pathlib import Path

import torch

from haloes.errors import RunError
from haloes.models.kind import is_classifier
from haloes.models.load import load_model
from haloes.models.quiet import quiet
from haloes.report.card import write_card
from haloes.run_files import MODEL
from haloes.runs import run_folder
from haloes.store import give_usual_permissions


def merge_note(run_dir: Path) -> str | None:
    """Return what to know of the merged model of a run that trained beside a base in four bits; None of others."""
    if run_folder.read_config(run_dir).model.quantize is None:
        return None
    return (
        "The adapter was trained beside the base in four bits and is merged into the base in full precision: what the "
        "merged model says may differ a little from what was measured. To have exactly that, load the base in four "
        f"bits (bitsandbytes NF4, double quantisation) with the adapter in {run_dir / 'model'}"
    )


def export_model(run_dir: Path, out: Path) -> Path:
    """
    Merge a run's adapter into its base (or copy a fully tuned or a reward model), with tokenizer and model card.

    The merge is done in float32 and saved in the dtype that the run computed in.

    Args:
        run_dir: a finished run's folder.
        out: a folder that does not exist yet, or is empty.

    Raises:
        RunError: the run has no model yet, or `out` holds something.
        ModelError: the base model cannot be loaded.
    """
    config = run_folder.read_config(run_dir)
    if not (run_dir / MODEL).is_dir():
        raise RunError(f"{run_dir} has no model yet: finish it with `haloes resume {run_dir}`")
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise RunError(f"{out} is there already and not empty; give a new folder")
    dtype = torch.bfloat16 if config.model.dtype == "bfloat16" else torch.float32
    # A reward model is whole already.
    whole = is_classifier(run_dir / MODEL)
    loaded = None if whole else load_model(str(run_dir / MODEL), dtype=dtype, device="cpu")
    # Renamed at the end: a folder that was killed half-written is never taken for a model.
    partial = out.with_name(out.name + ".partial")
    shutil.rmtree(partial, ignore_errors=True)
    try:
        if loaded is None:
            shutil.copytree(run_dir / MODEL, partial)
        else:
            with quiet():
                loaded.model.save_pretrained(partial)
                loaded.tokenizer.save_pretrained(partial)
        write_card(run_dir, partial)
        give_usual_permissions(partial)
        if out.exists():
            out.rmdir()
        return partial.rename(out)
    except OSError as error:
        raise RunError(
            f"{out} cannot be written ({error.strerror or error}); free some space or choose another place"
        ) from error
    finally:
        shutil.rmtree(partial, ignore_errors=True)

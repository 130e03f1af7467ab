"""Names on the Hugging Face hub: fetched into the hub's own cache as a folder, then loaded like any other folder."""

import re
from functools import partial
from pathlib import Path
from typing import Any

from haloes.errors import ModelError
from haloes.models.quiet import quiet

SMALL_FILES = ("*.json", "*.jinja", "*.model", "*.txt", "*.tiktoken")
"""Configuration and tokenizer."""
WEIGHTS = ("*.safetensors",)
"""Pickled weights are never fetched."""
IGNORED = ("original/*", "onnx/*", "consolidated*", "*/*.safetensors")
"""Second copies of the weights that some repositories hold."""

NAME = re.compile(r"\w[\w.-]*(/\w[\w.-]*)?")


def is_hub_name(name: str) -> bool:
    """Return whether `name` has the form `model` or `owner/model`, which says nothing about whether it exists."""
    return NAME.fullmatch(name) is not None and ".." not in name


def fetch(name: str, *, weights: bool) -> Path:
    """
    Download what is missing of the repository `name` and return its folder in the hub's cache.

    Without a connection, what was fetched before is used. A real download shows the hub's own progress bar on standard
    error (which `HF_HUB_DISABLE_PROGRESS_BARS=1` switches off); nothing is printed otherwise.

    Args:
        name: `owner/model`.
        weights: also the safetensors files, not only configuration and tokenizer.

    Raises:
        ModelError: no such repository, no access to it, or no connection and nothing in the cache.
    """
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import DryRunError, HFValidationError

    wanted = [*SMALL_FILES, *(WEIGHTS if weights else ())]
    download: Any = partial(snapshot_download, name, allow_patterns=wanted, ignore_patterns=list(IGNORED))
    try:
        with quiet():
            try:
                # Asked first, quietly: only a real download may show a bar.
                missing = any(file.will_download for file in download(dry_run=True))
            except DryRunError:  # no connection: perhaps it was fetched before
                missing = False
            if not missing:
                return Path(download())
        return Path(download())
    except (OSError, HFValidationError) as error:
        raise ModelError(_explain(name, error)) from error


def _explain(name: str, error: Exception) -> str:
    from huggingface_hub.errors import GatedRepoError, LocalEntryNotFoundError, RepositoryNotFoundError

    if isinstance(error, GatedRepoError):
        return (
            f"{name}: the hub gives access to this model on request only. Accept its terms there, then: hf auth login"
        )
    if isinstance(error, RepositoryNotFoundError):
        return f"{name}: no such model on the hub, or it is private. Check the name, or log in with: hf auth login"
    if isinstance(error, LocalEntryNotFoundError):
        return (
            f"{name}: there is no folder of this name, and the hub cannot be reached to look for it there. "
            "Check the connection, give the path of a model folder or .gguf file, or use --model embedded."
        )
    return (
        f"{name}: cannot be fetched from the hub ({str(error).splitlines()[0] if str(error) else type(error).__name__})"
    )

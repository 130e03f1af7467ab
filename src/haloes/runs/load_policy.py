"""A model ready to be trained, with the reference of its loss and what is kept of that reference."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

from haloes.errors import ConfigError
from haloes.losses._contract import Needs
from haloes.models.adapters import LoRA
from haloes.models.architecture import window_of
from haloes.models.cache import cache_dir
from haloes.models.fingerprint import weights_fingerprint
from haloes.models.load import load_model, load_tokenizer
from haloes.models.locate import Location, locate
from haloes.models.policy import Policy, make_policy
from haloes.models.reference_cache import ReferenceCache
from haloes.runs.config import ModelSettings
from haloes.training.distributed import Ranks
from haloes.training.settings import TrainSettings


def load_policy(
    settings: ModelSettings,
    needs: Needs,
    *,
    longest: int,
    max_length: int,
    seed: int,
    device: torch.device,
    dtype: torch.dtype,
    keep_start: bool = False,
    in_files: bool = False,
    hashed: Callable[[Any], str] = weights_fingerprint,
) -> Policy:
    """
    Load a model ready to be trained, with the reference that its loss needs.

    Args:
        settings: which model, and what of it is trained.
        needs: what the loss needs.
        longest: tokens of the longest row.
        max_length: `tokens.max_length`, which is named where the longest row does not fit.
        seed: seed of the start of adapters and heads.
        device: where it computes.
        dtype: what it computes in.
        keep_start: keep a reference even if the loss needs none.
        in_files: leave the weights in their files, for processes that share them.
        hashed: as for `make_policy`.

    Raises:
        ConfigError: a row is longer than the model's window, or the reference has another tokenizer.
        ModelError: a model cannot be loaded.
    """
    loaded = load_model(
        settings.name,
        dtype=dtype,
        device=device,
        four_bits=settings.quantize is not None,
        liger=settings.liger,
        in_files=in_files,
    )
    window = window_of(loaded.model)
    if window is not None and longest > window:
        raise ConfigError(
            f"tokens.max_length is {max_length} and the longest row has {longest} tokens, but the window "
            f"of {settings.name} is {window}: set tokens.max_length={window}"
        )
    adapter = None if settings.init is None or settings.lora is None else locate(settings.init, weights=True)
    if adapter is not None:
        _check_tokenizer(settings.start, load_tokenizer(settings.start), settings.name, loaded.tokenizer, "model.init")
    other = None
    if settings.reference is not None:
        beside = load_model(settings.reference, dtype=dtype, device=device, in_files=in_files)
        _check_tokenizer(settings.reference, beside.tokenizer, settings.start, loaded.tokenizer, "model.reference")
        other = beside.model
    return trainable_policy(
        loaded.model,
        needs,
        lora=settings.lora,
        seed=seed,
        reference=needs.any_reference or keep_start,
        reference_model=other,
        adapter=adapter,
        hashed=hashed,
    )


def trainable_policy(
    model: Any,
    needs: Needs,
    *,
    lora: LoRA | None,
    seed: int,
    reference: bool,
    reference_model: Any | None = None,
    adapter: Location | None = None,
    hashed: Callable[[Any], str] = weights_fingerprint,
) -> Policy:
    """
    Make a loaded model trainable with a loss that has these needs.

    Args:
        model: is changed in place.
        needs: what the loss needs.
        lora: adapters, or None to train all weights.
        seed: seed of the start of adapters and heads.
        reference: whether the model before training is kept, which an experiment measures against whatever its loss.
        reference_model: another loaded model in its stead.
        adapter: a trained adapter that is trained further, in place of a new one.
        hashed: as for `make_policy`.
    """
    return make_policy(
        model,
        lora=lora,
        reference=reference,
        seed=seed,
        synced=needs.sync_every is not None,
        values=needs.values,
        rewards=needs.rewards,
        reference_model=reference_model,
        adapter=adapter,
        hashed=hashed,
    )


def reference_folder(fingerprint: str) -> Path:
    """Return where the log-probabilities of a reference are kept, by `Policy.reference_fingerprint`."""
    return cache_dir() / "reference" / fingerprint[:32]


def reference_cache(settings: TrainSettings, policy: Policy, ranks: Ranks) -> ReferenceCache | None:
    """Open what is kept of the reference's log-probabilities, for all processes; None where the run keeps nothing."""
    if not settings.reference_cache:
        return None
    folder = reference_folder(policy.reference_fingerprint)
    cache = ReferenceCache(folder) if ranks.is_main else None
    # The main process's, whatever other runs add to the folder meanwhile: look-ups have to agree.
    known = ranks.gather(b"" if cache is None else cache.to_bytes())[0] if ranks.count > 1 else b""
    return ReferenceCache(folder, known) if cache is None else cache


def _check_tokenizer(name: str, tokenizer: Any, other_name: str, other: Any, setting: str) -> None:
    # The same ids must mean the same text to both, or the log-ratio compares different completions.
    if tokenizer.get_vocab() != other.get_vocab():
        raise ConfigError(
            f"{setting} {name} has another tokenizer than {other_name}, so it cannot "
            "score the same tokens; name a model of the same family"
        )

"""
The end of a run in miniature, before its first step: this model is saved, loaded again, and answers.

Whatever could keep a finished training from becoming a model that answers is found while nothing is lost.
"""

import tempfile
from pathlib import Path
from typing import Any

import torch

from haloes.errors import ModelError, UserError
from haloes.models.architecture import compute_dtype_of
from haloes.models.load import load_model, load_tokenizer
from haloes.models.own_logits import FAILURES, brief
from haloes.models.policy import Policy
from haloes.models.quiet import quiet
from haloes.runs.measure_and_save import save_model
from haloes.sampling.generate import sample
from haloes.tokens.template import Template

REHEARSAL = ".rehearsal-"
"""The beginning of the name of its temporary folder, in the run's."""
_SMALL = 2**28
"""Bytes of weights up to which the whole model is saved and loaded: a second loading of a larger one costs too much."""


def saves_weights(policy: Policy) -> bool:
    """Return whether a rehearsal saves the weights too: those of an adapter, or of a small model."""
    return _bytes(policy) <= _SMALL or policy.model is not policy.scorer.model


def rehearse(policy: Policy, template: Template, run_dir: Path, *, whole: Policy | None) -> None:
    """
    Save the untrained model into a folder beside where it will be, load it again, and answer with a single token.

    An adapter is saved whatever its size. Of a large model that is trained whole the configuration and the tokenizer
    are saved and no weights, and instead of a large model that was loaded the policy itself answers. A reward model was
    tried as it was made (`haloes.models.classifier`).

    Args:
        policy: what answers.
        template: its template, with the tokenizer.
        run_dir: the run's folder.
        whole: what is saved: the policy with all of its weights; None where it `saves_weights` not.

    Raises:
        ModelError: one of these fails; the message says which.
    """
    if policy.reward_head is not None:
        return
    model, done = policy.scorer.model, "saved"
    try:
        # Loading draws random numbers, and the run's own are to be what they are without it.
        with tempfile.TemporaryDirectory(dir=run_dir, prefix=REHEARSAL) as beside, torch.random.fork_rng(devices=[]):
            folder = Path(beside) / "model"
            if whole is not None:
                save_model(whole, template, folder)
            else:
                _save_settings(policy.scorer.model, template.tokenizer, folder)
            done = "loaded again"
            tokenizer = load_tokenizer(str(folder))
            if _bytes(policy) <= _SMALL:
                model = load_model(str(folder), dtype=compute_dtype_of(model), device="cpu").model
            done = "sampled from"
            sample(model, tokenizer, {"rehearsal": "Hello"}, max_new_tokens=1)
    except UserError as error:
        raise ModelError(f"this model could not be {done}, so nothing was trained: {error}") from error
    except FAILURES as error:
        name = type(policy.scorer.model).__name__
        raise ModelError(f"{name} could not be {done}, so nothing was trained ({brief(error)})") from error


def _bytes(policy: Policy) -> int:
    model = policy.scorer.model
    weights: int = sum(parameter.numel() for parameter in model.parameters())
    return weights * int(compute_dtype_of(model).itemsize)


def _save_settings(model: Any, tokenizer: Any, folder: Path) -> None:
    """Save all of a model but its weights."""
    with quiet():
        model.config.save_pretrained(folder)
        if model.can_generate():
            model.generation_config.save_pretrained(folder)
        tokenizer.save_pretrained(folder)

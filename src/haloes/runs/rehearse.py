"""
The end of a run in miniature, before its first step: this model is saved, loaded again, and answers.

Whatever could keep a finished training from becoming a model that answers is found while nothing is lost.
"""

import tempfile
from pathlib import Path
from typing import Any

import torch

from haloes.errors import ModelError, UserError
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


def rehearse(policy: Policy, template: Template, run_dir: Path) -> None:
    """
    Save the untrained model into a folder beside where it will be, load it again, and answer with a single token.

    An adapter is saved whatever its size. Of a large model that is trained whole the configuration and the tokenizer
    are saved and no weights, and instead of a large model that was loaded the policy itself answers. A reward model was
    tried as it was made (`haloes.models.classifier`).

    Raises:
        ModelError: one of these fails; the message says which.
    """
    if policy.reward_head is not None:
        return
    model, done = policy.scorer.model, "saved"
    weights = sum(parameter.nbytes for parameter in policy.scorer.model.parameters())
    try:
        # Loading draws random numbers, and the run's own are to be what they are without it.
        with tempfile.TemporaryDirectory(dir=run_dir, prefix=REHEARSAL) as beside, torch.random.fork_rng(devices=[]):
            folder = Path(beside) / "model"
            if weights <= _SMALL or policy.model is not policy.scorer.model:
                save_model(policy, template, folder)
            else:
                _save_settings(policy.scorer.model, template.tokenizer, folder)
            done = "loaded again"
            tokenizer = load_tokenizer(str(folder))
            if weights <= _SMALL:
                model = load_model(str(folder), dtype=model.dtype, device="cpu").model
            done = "sampled from"
            sample(model, tokenizer, {"rehearsal": "Hello"}, max_new_tokens=1)
    except UserError as error:
        raise ModelError(f"this model could not be {done}, so nothing was trained: {error}") from error
    except FAILURES as error:
        name = type(policy.scorer.model).__name__
        raise ModelError(f"{name} could not be {done}, so nothing was trained ({brief(error)})") from error


def _save_settings(model: Any, tokenizer: Any, folder: Path) -> None:
    """Save all of a model but its weights."""
    with quiet():
        model.config.save_pretrained(folder)
        if model.can_generate():
            model.generation_config.save_pretrained(folder)
        tokenizer.save_pretrained(folder)

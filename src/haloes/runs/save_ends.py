"""What ends an answer, written where other programs look for it, so that they stop where haloes does."""

import copy
from pathlib import Path
from typing import Any

from haloes.models.load import GENERATION
from haloes.sampling.generate import end_of_turn_ids


def save_ends(model: Any, tokenizer: Any, folder: Path) -> None:
    """
    Write the model's generation settings into its folder, with every id at which haloes ends an answer.

    A base model's settings know the end of text only; `generate` would run on after the turn that the chat template
    ends with another mark. An adapter's folder has no such settings of its own.
    """
    ends = sorted(end_of_turn_ids(tokenizer, model.generation_config))
    settings = copy.deepcopy(model.generation_config)
    settings.eos_token_id = ends[0] if len(ends) == 1 else ends
    # Settings that were made from the model's configuration are made again by some versions, without these ends.
    settings._from_model_config = False  # noqa: SLF001 - there is no other way to say that they stand for themselves
    # Not save_pretrained, which refuses combinations of other settings that a base may have come with.
    settings.to_json_file(folder / GENERATION)

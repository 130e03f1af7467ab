"""A model in this process, asked as an exported file is: the run's own, or a GGUF file by transformers' reader."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import Tensor

from haloes.errors import DataError, RunError
from haloes.exports.reader import Step
from haloes.models.load import LoadedModel
from haloes.records import Prompt
from haloes.sampling.decode import choose_way, decode
from haloes.sampling.generate import end_of_turn_ids
from haloes.tokens.encode import make_encoder

_WINDOW = 1 << 30


@dataclass(frozen=True, slots=True)
class TransformersReader:
    """A transformers model with its tokenizer."""

    loaded: LoadedModel

    @property
    def by(self) -> Literal["transformers"]:
        """Return the program's name."""
        return "transformers"

    def prompt_ids(self, prompt: Prompt, *, chat: bool) -> list[int]:
        """Return the ids of a prompt, as haloes makes them with the file's tokenizer."""
        encoder = make_encoder(self.loaded.tokenizer, max_length=_WINDOW)
        if encoder.template.chat is not chat:
            raise RunError(f"the file has {'a' if encoder.template.chat else 'no'} chat template")
        try:
            return encoder.prompt_ids(prompt)
        except DataError as error:
            raise RunError(str(error)) from error

    def greedy(self, ids: Sequence[int], *, most: int) -> list[Step]:
        """Return the likeliest next tokens with the log-probabilities of all tokens."""
        return [
            Step(token, dict(enumerate(logprobs_V.tolist())))
            for token, logprobs_V in greedy_answer(self.loaded, ids, most=most)
        ]

    def stops_at(self, ids: Sequence[int], token: int) -> bool:  # noqa: ARG002 - it does so after all texts alike
        """Return whether the file's tokenizer names this token as an end."""
        return token in self.ends

    @property
    def ends(self) -> frozenset[int]:
        """Return the ids that end an answer."""
        return end_of_turn_ids(self.loaded.tokenizer, self.loaded.model.generation_config)


def greedy_answer(loaded: LoadedModel, ids: Sequence[int], *, most: int) -> list[tuple[int, Tensor]]:
    """Return the likeliest next tokens, each with the log-probabilities (V,) that it was taken by."""
    model: Any = loaded.model
    taken: list[Tensor] = []

    def choose(logits_BV: Tensor, _rows: list[int], _step: int) -> Tensor:
        taken.append(torch.log_softmax(logits_BV[0].float(), dim=-1))
        return logits_BV.argmax(dim=-1)

    ends = end_of_turn_ids(loaded.tokenizer, model.generation_config)
    [answer] = decode(model, [list(ids)], limits=[most], ends=ends, choose=choose, way=choose_way(model))
    return list(zip(answer, taken, strict=True))


def distance(model: Tensor, other: Mapping[int, float]) -> float:
    """
    Return by how many nats the log-probabilities of the same next token differ, on average.

    Args:
        model: the log-probabilities of the run's model, (V,).
        other: those of the file's likeliest tokens, which are compared; each counts by the model's probability.
    """
    known = [token for token in other if token < len(model)]
    if not known:
        return float("inf")
    expected = model[torch.tensor(known)]
    found = torch.tensor([other[token] for token in known])
    weight = expected.exp()
    return float((weight * (expected - found).abs()).sum() / weight.sum())

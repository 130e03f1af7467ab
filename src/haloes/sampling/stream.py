"""One answer as it grows: its words, piece by piece, from a model in this process."""

from collections.abc import Callable
from typing import Any

from torch import Tensor

from haloes.models.architecture import window_of
from haloes.records import Asked, Completion, as_prompt
from haloes.sampling._contract import Decoding
from haloes.sampling.answers import read_answer
from haloes.sampling.generate import end_of_turn_ids, sample_batches
from haloes.tokens.encode import make_encoder

_CUT = "\ufffd"
"""What a tokenizer makes of half a character: its other half comes with the next token."""
_NO_WINDOW = 1 << 30


class Growing:
    """The words of an answer so far."""

    def __init__(self, model: Any, tokenizer: Any, prompt: Asked) -> None:
        """Take the model, its tokenizer, and the prompt that is answered."""
        encoder = make_encoder(tokenizer, max_length=window_of(model) or _NO_WINDOW)
        self._template, self._prompt = encoder.template, encoder.prompt_ids(as_prompt(prompt))
        self._ends = end_of_turn_ids(tokenizer, model.generation_config)
        self._answer: list[int] = []
        self._told = {"words": "", "reasoning": ""}
        self.logprobs: list[float] = []
        """Log-probability of each token, nats, at temperature 1."""

    @property
    def num_prompt(self) -> int:
        """Return the number of the prompt's tokens."""
        return len(self._prompt)

    def add(self, logits_BV: Tensor, token_B: Tensor) -> dict[str, str]:
        """Take the next token, and return what is new: of the "words", of the "reasoning"."""
        token = int(token_B[0])
        self.logprobs.append(float(logits_BV[0].float().log_softmax(dim=-1)[token]))
        self._answer.append(token)
        said = read_answer(self._template, self._prompt, self._answer, self._ends, ended=token in self._ends)
        return self.rest(said.words, said.reasoning, whole=False)

    def rest(self, words: str, reasoning: str, *, whole: bool = True) -> dict[str, str]:
        """Return what of these was not told yet; what may still change is held back until they are `whole`."""
        new = {}
        for name, text in (("words", words), ("reasoning", reasoning)):
            told = self._told[name]
            # A mark of a thought that is not complete yet reads as words; they are told once they stay.
            if text.startswith(told) and len(text) > len(told) and (whole or not text.endswith(_CUT)):
                new[name], self._told[name] = text[len(told) :], text
        return new


def stream(
    model: Any,
    tokenizer: Any,
    prompt: Asked,
    *,
    decoding: Decoding,
    seed: int,
    tell: Callable[[dict[str, str], Growing], None],
) -> Completion:
    """
    Answer a prompt as `sample` does, and tell of each token's words on the way.

    Args:
        model: a transformers causal language model or a peft model around one.
        tokenizer: the model's.
        prompt: what is asked.
        decoding: how the answer is drawn.
        seed: of the draws.
        tell: told after each token of new words ("words", "reasoning"); what it raises ends the answer.

    Raises:
        DataError, ModelError: as `sample`.
    """
    growing = Growing(model, tokenizer, prompt)
    batches = sample_batches(
        model,
        tokenizer,
        {"chat": prompt},
        max_new_tokens=decoding.max_new_tokens,
        temperature=decoding.temperature,
        top_p=decoding.top_p,
        seed=seed,
        batch_size=1,
        watch=lambda logits_BV, token_B: tell(growing.add(logits_BV, token_B), growing),
    )
    ((answer,),) = batches
    tell(growing.rest(answer.completion, answer.reasoning), growing)
    return answer

"""Answers from vLLM, where it is installed: the same token ids as in training go in."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache
from itertools import groupby
from typing import Any

from haloes.errors import ConfigError
from haloes.records import Completion, Sampling, as_prompt
from haloes.sampling._contract import Advance, Ask, Decoding, NoAnswer, ignore_parts
from haloes.sampling.answers import read_answer
from haloes.sampling.generate import end_of_turn_ids
from haloes.tokens.chat_template import control_text
from haloes.tokens.encode import make_encoder
from haloes.tokens.template import Template


@dataclass(frozen=True, slots=True)
class VLLMEngine:
    """A model folder or hub name that vLLM loads itself."""

    path: str
    tokenizer: Any
    """The model's tokenizer; it renders the prompts."""
    name: str
    max_length: int = 4096
    """Tokens of the window that is used."""
    chat_template_kwargs: Mapping[str, Any] | None = None
    """Values of the chat template's variables that were written into the tokenizer's template, for the records."""

    def sampling(self, decoding: Decoding) -> Sampling:
        """Return the record, with the control text that the tokenizer writes."""
        return decoding.by(
            "vllm", self.path, control=control_text(self.tokenizer), chat_template_kwargs=self.chat_template_kwargs
        )

    def answer(
        self, asks: Sequence[Ask], decoding: Decoding, advance: Advance = ignore_parts
    ) -> Iterator[Completion | NoAnswer]:
        """Answer all at once: vLLM batches itself. Raises ConfigError without vLLM, DataError as rendering does."""
        vllm = _vllm()
        encoder = make_encoder(self.tokenizer, max_length=self.max_length)
        ends = end_of_turn_ids(self.tokenizer, None)
        model = _loaded(self.path, self.max_length)
        for seed, of_seed in groupby(sorted(asks, key=lambda ask: ask.seed), key=lambda ask: ask.seed):
            batch = list(of_seed)
            parameters = vllm.SamplingParams(
                temperature=decoding.temperature,
                top_p=decoding.top_p,
                max_tokens=decoding.max_new_tokens,
                seed=seed,
                stop_token_ids=sorted(ends),
            )
            # Token ids and no text: vLLM would render by its own rules, and add a second beginning-of-text token.
            ids = [{"prompt_token_ids": encoder.prompt_ids(ask.prompt)} for ask in batch]
            outputs = model.generate(ids, parameters, use_tqdm=False)
            for ask, given, output in zip(batch, ids, outputs, strict=True):
                advance(1)
                answer = self._completion(ask, given["prompt_token_ids"], output.outputs[0], encoder.template, ends)
                yield replace(answer, seed=seed if decoding.temperature > 0 else None)

    def _completion(
        self, ask: Ask, prompt: list[int], output: Any, template: Template, ends: frozenset[int]
    ) -> Completion:
        given = as_prompt(ask.prompt)
        ended = output.finish_reason == "stop"
        said = read_answer(template, prompt, list(output.token_ids), ends, ended=ended)
        return Completion(
            prompt_id=ask.prompt_id,
            prompt=given.text,
            tools=given.tools,
            chat_template_kwargs=given.chat_template_kwargs,
            completion=said.words.strip(),
            reasoning=said.reasoning,
            model=self.name,
            num_tokens=len(output.token_ids),
            finished=said.finished,
        )


def _vllm() -> Any:
    try:
        import vllm
    except ImportError as error:
        raise ConfigError("vLLM is not installed here (pip install vllm); leave out --engine vllm") from error
    return vllm


# Once a process: vLLM takes most of the GPU's memory and does not give it back.
@cache
def _loaded(path: str, max_length: int) -> Any:
    return _vllm().LLM(model=path, max_model_len=max_length, trust_remote_code=False)

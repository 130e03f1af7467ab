"""Completions of prompts by a model in this process, rendered by the chat template that training uses."""

from collections.abc import Callable, Iterator, Mapping
from collections.abc import Set as AbstractSet
from contextlib import contextmanager
from typing import Any, TypeAlias

import numpy as np
import torch
from torch import Tensor

from haloes.errors import ConfigError, DataError
from haloes.models.architecture import renewal_of, window_of
from haloes.records import Asked, Completion, as_prompt
from haloes.sampling._contract import Advance, Decoding, ignore_parts
from haloes.sampling.answers import read_answer
from haloes.sampling.decode import Choose, choose_way, decode
from haloes.sampling.token_choice import draws, greedy, sample_top_p
from haloes.tokens.chat_template import control_text
from haloes.tokens.encode import make_encoder
from haloes.tokens.template import make_template

Watch: TypeAlias = Callable[[Tensor, Tensor], None]
"""Told of logits (B, V) and the tokens (B,) that were picked from them."""


def sample(
    model: Any,
    tokenizer: Any,
    prompts: Mapping[str, Asked],
    *,
    max_new_tokens: int = 256,
    temperature: float = 0.0,
    top_p: float = 1.0,
    seed: int = 0,
    control: str = "",
    variant: str = "model",
    batch_size: int = 64,
    batch_tokens: int = 16_384,
    advance: Advance = ignore_parts,
) -> list[Completion]:
    """
    Answer each prompt once.

    Messages are rendered by the tokenizer's chat template with its generation prompt; a text is one user message where
    there is a template, and itself where there is none: the same ids as in training (`haloes.tokens`). Sampling
    settings that a model brings along (`generation_config`: repetition penalty, top-k ...) are not applied.

    The answer to a prompt depends on the model, the prompt and, above temperature 0, on (seed, prompt id); not on the
    other prompts, nor on the batching, up to the rounding of the model's arithmetic. In float32 rounding decides only
    between tokens that are as good as equally likely. In bfloat16 it decides often: answers are promised to be equal
    where prompts, settings, batch size and machine are equal, so that the batches are the same ones.

    Args:
        model: a transformers causal language model or a peft model around one; its mode is restored afterwards.
        tokenizer: the model's.
        prompts: prompt id to prompt, with its tools and variables of the chat template where it has any.
        max_new_tokens: most tokens of an answer; where a prompt leaves less room in the model's window, that room.
        temperature: 0 takes the likeliest token each time.
        top_p: nucleus sampling, see `haloes.sampling.token_choice.sample_top_p`.
        seed: of the draws.
        control: text after every prompt: the control token of a model that was trained on them (CSFT).
        variant: what to call the model in the records ("before", "after" ...).
        batch_size: most answers at once.
        batch_tokens: most tokens (prompt and answer, padding included) held in the cache at once.
        advance: told of answers that are done, and of parts of them.

    Returns:
        The answers in the order of the prompts. `num_tokens` counts the token that ends the turn, which the text lacks,
        and those of the thought before the answer, which is in `reasoning`. An answer cut off in its thought is empty.

    Raises:
        ConfigError: a setting is out of range.
        DataError: a prompt fills the model's window, or the chat template refuses it.
        ModelError: messages meet a tokenizer without a chat template.
    """
    answers: dict[str, Completion] = {}
    for batch in sample_batches(
        model,
        tokenizer,
        prompts,
        max_new_tokens=max_new_tokens,
        temperature=temperature,
        top_p=top_p,
        seed=seed,
        control=control,
        variant=variant,
        batch_size=batch_size,
        batch_tokens=batch_tokens,
        advance=advance,
    ):
        answers.update((answer.prompt_id, answer) for answer in batch)
    return [answers[name] for name in prompts]


def sample_batches(
    model: Any,
    tokenizer: Any,
    prompts: Mapping[str, Asked],
    *,
    max_new_tokens: int = 256,
    temperature: float = 0.0,
    top_p: float = 1.0,
    seed: int = 0,
    control: str = "",
    variant: str = "model",
    batch_size: int = 64,
    batch_tokens: int = 16_384,
    advance: Advance = ignore_parts,
    watch: Watch | None = None,
) -> Iterator[list[Completion]]:
    """
    Answer each prompt once, a batch at a time, longest prompts first, as `sample` does with the same arguments.

    `watch` is told of the tokens as they are picked, with the logits they were picked from; what it raises ends it all.

    Raises:
        ConfigError, DataError, ModelError: as `sample`, before the first batch.
    """
    decoding = Decoding(max_new_tokens=max_new_tokens, temperature=temperature, top_p=top_p)
    if batch_size < 1:
        raise ConfigError(f"sample.batch_size must be at least 1, got {batch_size}")
    window = window_of(model) or 1 << 30
    encoder = make_encoder(tokenizer, max_length=window).with_control(control)
    template = encoder.template
    given = {name: as_prompt(prompt) for name, prompt in prompts.items()}
    ids = {name: encoder.prompt_ids(prompt) for name, prompt in prompts.items()}
    limits = {name: _limit(name, len(tokens), max_new_tokens, window) for name, tokens in ids.items()}
    ends = end_of_turn_ids(tokenizer, model.generation_config)
    made = decoding.by("transformers", "", control=control_text(tokenizer) + control)
    with _evaluating(model):
        way, renewal = choose_way(model), renewal_of(model)
        alone = {name for name in ids if not way.together or renewal.touches(len(ids[name]) + limits[name] - 1)}
        for names in _batches(ids, limits, alone=alone, batch_size=batch_size, batch_tokens=batch_tokens):
            choose = _chooser(names, max_new_tokens, temperature=temperature, top_p=top_p, seed=seed)
            choose = choose if watch is None else _watched(choose, watch)
            found = decode(
                model,
                [ids[n] for n in names],
                limits=[limits[n] for n in names],
                ends=ends,
                choose=choose,
                advance=advance,
                way=way,
                renew=renewal,
            )
            yield [
                Completion(
                    prompt_id=name,
                    prompt=given[name].text,
                    tools=given[name].tools,
                    chat_template_kwargs=given[name].chat_template_kwargs,
                    completion=said.words,
                    reasoning=said.reasoning,
                    model=variant,
                    num_tokens=len(answer),
                    finished=said.finished,
                    seed=seed if temperature > 0 else None,
                    sampling=made,
                )
                for name, answer in zip(names, found, strict=True)
                for said in [read_answer(template, ids[name], answer, ends, ended=answer[-1] in ends)]
            ]


def end_of_turn_ids(tokenizer: Any, generation_config: Any) -> frozenset[int]:
    """
    Return the ids at which an answer is over.

    What the model's generation settings name, the tokenizer's end of text, and the mark with which the chat template
    ends an assistant turn: a base model's settings often know only the second, and an answer would run on.
    """
    # One id or a list of them; None without a configuration (vLLM).
    named = getattr(generation_config, "eos_token_id", None)
    ids = set(named) if isinstance(named, list | tuple) else {named}
    ids.add(tokenizer.eos_token_id)
    ids.add(tokenizer.convert_tokens_to_ids(make_template(tokenizer).end_of_turn))
    return frozenset(int(token) for token in ids if token is not None)


def _limit(name: str, num_prompt: int, max_new_tokens: int, window: int) -> int:
    room = window - num_prompt
    if room < 1:
        raise DataError(f"prompt {name!r} has {num_prompt} tokens and fills the model's window of {window}; shorten it")
    return min(max_new_tokens, room)


def _batches(
    ids: Mapping[str, list[int]],
    limits: Mapping[str, int],
    *,
    alone: AbstractSet[str],
    batch_size: int,
    batch_tokens: int,
) -> Iterator[list[str]]:
    """
    Yield prompts of similar length together, and those that go alone by themselves.

    The longest come first, so that what does not fit in memory shows at once.
    """
    batch: list[str] = []
    width = 0
    for name in sorted(ids, key=lambda name: (-len(ids[name]), name)):
        wider = max(width, len(ids[name]) + limits[name])
        # A batch is as wide as its widest row, so its size in the cache is width times rows.
        full = len(batch) == batch_size or not alone.isdisjoint((name, *batch[:1]))
        if batch and (full or wider * (len(batch) + 1) > batch_tokens):
            yield batch
            batch, wider = [], len(ids[name]) + limits[name]
        batch.append(name)
        width = wider
    if batch:
        yield batch


def _chooser(names: list[str], count: int, *, temperature: float, top_p: float, seed: int) -> Any:
    if temperature == 0:
        return lambda logits_BV, _rows, _step: greedy(logits_BV)
    # All draws of an answer up front, by token number: a row keeps its own when others leave the batch.
    table = np.stack([draws(name, seed=seed, count=count) for name in names])

    def choose(logits_BV: Tensor, rows: list[int], step: int) -> Tensor:
        draw_B = torch.from_numpy(table[rows, step]).to(logits_BV.device)
        return sample_top_p(logits_BV, draw_B, temperature=temperature, top_p=top_p)

    return choose


def _watched(choose: Choose, watch: Watch) -> Choose:
    def chosen(logits_BV: Tensor, rows: list[int], step: int) -> Tensor:
        token_B = choose(logits_BV, rows, step)
        watch(logits_BV, token_B)
        return token_B

    return chosen


@contextmanager
def _evaluating(model: Any) -> Iterator[None]:
    training = model.training
    model.eval()
    try:
        yield
    finally:
        model.train(training)

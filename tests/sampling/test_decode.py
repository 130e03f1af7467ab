"""Token by token: whatever cache an architecture keeps, its answers are what the model itself says."""

from typing import Any

import pytest
import torch
from torch import Tensor

from fakes import tiny_model
from haloes.models.architecture import renewal_of
from haloes.models.own_logits import own_distributions
from haloes.sampling.decode import WAYS, Way, choose_way, decode
from haloes.sampling.generate import sample
from haloes.sampling.token_choice import greedy
from length_dependent import DYNAMIC, LONGROPE
from tiny_architectures import tiny_architecture

PROMPTS = [list(range(5, 15)), [40, 3, 77]]


def likeliest(model: Any, prompt: list[int], count: int) -> list[int]:
    """The likeliest continuation, from the model's own logits of the whole text each time."""
    ids = list(prompt)
    for _ in range(count):
        ids.append(int(own_distributions(model, torch.tensor(ids))[-1].argmax()))
    return ids[len(prompt) :]


def choose(logits_BV: Tensor, _: list[int], __: int) -> Tensor:
    return greedy(logits_BV)


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize(
    ("kind", "expected"),
    [
        ("llama", Way()),
        ("gpt_oss", Way()),
        ("qwen3_next", None),
        ("minimax", Way("own", together=False)),
        ("mamba2", None),
        ("deepseek_v32", None),
    ],
)
def test_every_kind_is_decoded_in_a_way_that_says_what_it_says(kind: str, expected: Way | None):
    model = tiny_architecture(kind)

    way = choose_way(model)

    assert way == (expected or way)
    batches = [PROMPTS] if way.together else [[prompt] for prompt in PROMPTS]
    found = [
        answer
        for batch in batches
        for answer in decode(model, batch, limits=[5] * len(batch), ends=frozenset(), choose=choose, way=way)
    ]
    assert found == [likeliest(model, prompt, 5) for prompt in PROMPTS]


def test_without_a_cache_the_answers_are_the_same():
    model = tiny_model()

    found = [decode(model, [p], limits=[6], ends=frozenset(), choose=choose, way=WAYS[-1])[0] for p in PROMPTS]

    assert found == decode(model, PROMPTS, limits=[6, 6], ends=frozenset(), choose=choose)


@pytest.mark.parametrize(
    "fields",
    [
        {"rope_parameters": LONGROPE, "max_position_embeddings": 256},
        {"rope_parameters": DYNAMIC, "max_position_embeddings": 64},
    ],
    ids=["longrope", "dynamic"],
)
def test_an_answer_that_passes_the_length_at_which_positions_change_is_what_the_model_says(fields: dict[str, Any]):
    model = tiny_model(**fields)
    prompt = [7 * i % 250 + 2 for i in range(60)]

    found = decode(model, [prompt], limits=[9], ends=frozenset(), choose=choose, renew=renewal_of(model))

    assert found == [likeliest(model, prompt, 9)]


def test_a_long_prompt_beside_short_ones_leaves_their_answers_what_they_are():
    from fakes import byte_tokenizer

    model = tiny_model(rope_parameters=LONGROPE, max_position_embeddings=256)
    tokenizer = byte_tokenizer(chat_template=None)
    prompts = {"short": "Is it?", "long": "Is it so or is it not? " * 4, "other": "And now?"}

    together = sample(model, tokenizer, prompts, max_new_tokens=5)

    apart = [sample(model, tokenizer, {name: text}, max_new_tokens=5)[0] for name, text in prompts.items()]
    assert [a.completion for a in together] == [a.completion for a in apart]

"""Answers are the model's own, whatever stands beside a prompt in its batch."""

import math
from typing import Any

import pytest
import torch

from fakes import IM_END_ID, KINDS, SYSTEM, byte_tokenizer, tiny_model
from haloes.errors import ConfigError, DataError, ModelError
from haloes.models.attention import NAME
from haloes.models.quiet import quiet
from haloes.records import Completion, Message
from haloes.sampling.generate import end_of_turn_ids, sample

PROMPTS = {"a": "Hi", "b": "Why is the sky blue?", "c": "x", "d": "Name three rivers.", "e": "Ok, and then?"}


def text_of(prompt: str) -> str:
    return f"<|im_start|>system\n{SYSTEM}<|im_end|>\n<|im_start|>user\n{prompt}<|im_end|>\n<|im_start|>assistant\n"


def answers(model: Any, prompts: Any = PROMPTS, **settings: Any) -> dict[str, Completion]:
    found = sample(model, byte_tokenizer(), prompts, **({"max_new_tokens": 24} | settings))
    return {answer.prompt_id: answer for answer in found}


def greedy_without_a_cache(model: Any, prompt: str, count: int) -> list[int]:
    ids = byte_tokenizer()(text_of(prompt))["input_ids"]
    answer: list[int] = []
    while len(answer) < count and IM_END_ID not in answer:
        with torch.no_grad():
            answer.append(int(model(torch.tensor([ids + answer])).logits[0, -1].argmax()))
    return answer


def decoded(ids: list[int]) -> str:
    return byte_tokenizer().decode([token for token in ids if token != IM_END_ID], skip_special_tokens=True)


def ending(model: Any, token: int) -> Any:
    model.generation_config.eos_token_id = [IM_END_ID, token]
    return model


@pytest.mark.parametrize("kind", KINDS)
def test_greedy_answers_are_what_one_forward_a_token_gives(kind: str):
    model = tiny_model(kind, tied=False, seed=4)

    found = answers(model, batch_size=3)

    for name, prompt in PROMPTS.items():
        expected = greedy_without_a_cache(model, prompt, 24)
        assert (found[name].completion, found[name].num_tokens) == (decoded(expected), len(expected))


@pytest.mark.parametrize("temperature", [0.0, 1.0])
def test_an_answer_does_not_depend_on_its_batch(temperature: float):
    model = tiny_model(tied=False, seed=4)
    settings = {"temperature": temperature, "top_p": 0.9, "seed": 3}

    together = answers(model, **settings)
    alone = answers(model, batch_size=1, **settings)
    few_at_once = answers(model, batch_tokens=250, **settings)
    reversed_order = answers(model, dict(reversed(PROMPTS.items())), **settings)

    assert together == alone == few_at_once == reversed_order
    assert len({answer.completion for answer in together.values()}) == len(PROMPTS)


def test_rows_that_end_leave_the_others_as_they_are():
    model = tiny_model(tied=False, seed=4)
    long = {name: greedy_without_a_cache(model, prompt, 24) for name, prompt in PROMPTS.items()}
    end = long["b"][5]

    found = answers(ending(model, end))

    assert found["b"].finished
    assert found["b"].num_tokens == long["b"].index(end) + 1
    assert found["b"].completion == decoded(long["b"][: long["b"].index(end)])
    assert any(not answer.finished for answer in found.values())
    for name, ids in long.items():
        expected = ids[: ids.index(end)] if end in ids else ids
        assert found[name].completion == decoded(expected)


def test_the_same_seed_repeats_and_another_differs():
    model = tiny_model(tied=False)

    assert answers(model, temperature=1.0, seed=1) == answers(model, temperature=1.0, seed=1)
    assert answers(model, temperature=1.0, seed=1) != answers(model, temperature=1.0, seed=2)
    assert answers(model, temperature=1.0, seed=1)["a"].seed == 1
    assert answers(model, seed=1)["a"].seed is None


def test_an_unfinished_answer_says_so():
    found = answers(tiny_model(tied=False, seed=4), max_new_tokens=2)

    assert [(answer.num_tokens, answer.finished) for answer in found.values()] == [(2, False)] * len(PROMPTS)


def test_the_answers_come_in_the_order_of_the_prompts():
    found = sample(tiny_model(), byte_tokenizer(), PROMPTS, max_new_tokens=1, variant="before")

    assert [(answer.prompt_id, answer.prompt, answer.model) for answer in found] == [
        (name, prompt, "before") for name, prompt in PROMPTS.items()
    ]


def test_a_text_is_one_user_message():
    model = tiny_model(tied=False)
    asked = answers(model, {"a": "Hi"})["a"].completion

    assert answers(model, {"a": (Message("user", "Hi"),)})["a"].completion == asked
    assert answers(model, {"a": (Message("system", "Be brief."), Message("user", "Hi"))})["a"].completion != asked


def test_without_a_chat_template_a_text_is_continued_and_messages_are_refused():
    model, bare = tiny_model(tied=False), byte_tokenizer(chat_template=None)
    rendered = answers(model, {"a": "Hi"})["a"]

    assert sample(model, bare, {"a": text_of("Hi")}, max_new_tokens=24)[0].completion == rendered.completion
    with pytest.raises(ModelError, match="no chat template"):
        sample(model, bare, {"a": (Message("user", "Hi"),)})


def test_an_adapter_that_changes_nothing_answers_as_its_base():
    from peft import LoraConfig, get_peft_model

    expected = answers(tiny_model(tied=False))
    with quiet():
        adapted = get_peft_model(tiny_model(tied=False), LoraConfig(r=2, target_modules=["q_proj"]))

    assert answers(adapted) == expected


def test_a_model_set_up_for_packing_answers_the_same():
    expected = answers(tiny_model(tied=False))
    model = tiny_model(tied=False)
    model.set_attn_implementation(NAME)

    assert answers(model) == expected


def test_a_model_in_training_answers_without_dropout_and_stays_in_training():
    model = tiny_model("gpt2", tied=False, dropout=0.5)
    expected = answers(model)

    assert answers(model.train()) == expected
    assert model.training


def test_the_models_own_sampling_settings_are_not_applied():
    expected = answers(tiny_model(tied=False))
    model = tiny_model(tied=False)
    model.generation_config.repetition_penalty = 5.0

    assert answers(model) == expected


def test_progress_is_told_of_parts_of_the_answers_that_add_up_to_them():
    seen: list[float] = []
    found = answers(tiny_model(tied=False), max_new_tokens=4, batch_size=2, advance=seen.append)

    assert all(part > 0 for part in seen)
    assert len(seen) > 3  # there are three batches
    assert sum(seen) == pytest.approx(len(found))


def test_an_answer_ends_at_the_models_window():
    prompt = "x" * 60
    used = len(byte_tokenizer()(text_of(prompt))["input_ids"])
    model = tiny_model("gpt2", tied=False, seed=4, n_positions=used + 7)

    found = answers(model, {"long": prompt, "short": "Hi"})

    assert (found["long"].num_tokens, found["long"].finished) == (7, False)
    assert found["short"].num_tokens == 24
    with pytest.raises(DataError, match=r"prompt 'longer' has \d+ tokens and fills the model's window"):
        answers(model, {"longer": prompt + "x" * 7})


@pytest.mark.parametrize(
    ("setting", "message"),
    [
        ({"max_new_tokens": 0}, "max_new_tokens must be at least 1, got 0"),
        ({"temperature": -1.0}, "temperature must be 0 .* got -1.0"),
        ({"temperature": math.nan}, "temperature must be 0 .* got nan"),
        ({"top_p": 0.0}, "top_p must be above 0 and at most 1, got 0.0"),
        ({"top_p": 1.1}, "top_p must be above 0 and at most 1, got 1.1"),
        ({"batch_size": 0}, "batch_size must be at least 1, got 0"),
    ],
)
def test_settings_out_of_range_are_refused(setting: dict[str, Any], message: str):
    with pytest.raises(ConfigError, match=message):
        answers(tiny_model(), **setting)


def test_no_prompts_give_no_answers():
    assert sample(tiny_model(), byte_tokenizer(), {}) == []


def test_an_answer_is_over_at_every_end_that_is_known():
    model, tokenizer = tiny_model(), byte_tokenizer()
    tokenizer.eos_token = "a"
    model.generation_config.eos_token_id = [7, 8]

    # The settings' two, the tokenizer's own, and the mark with which the chat template ends a turn.
    assert end_of_turn_ids(tokenizer, model.generation_config) == {
        7,
        8,
        tokenizer.convert_tokens_to_ids("a"),
        IM_END_ID,
    }

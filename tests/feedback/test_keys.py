"""Which rows share a prompt, and draws that depend on content only."""

from collections.abc import Mapping
from types import MappingProxyType

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from haloes.feedback.keys import (
    NO_NUMBER,
    completion_key,
    conversation_number,
    group_number,
    group_of,
    number_of,
    row_number,
    seeded_hash,
    seeded_uniform,
    user_number,
    where_of,
)
from haloes.records import Feedback, Message, Pair, Text, Where


def row(prompt: Text = "Why?", completion: Text = "Because.", **rest: object) -> Feedback:
    return Feedback(prompt=prompt, completion=completion, **rest)  # type: ignore[arg-type]


def test_a_text_and_a_single_user_message_are_the_same_prompt() -> None:
    keys = {group_of(row(prompt)) for prompt in ("Why?", "\tWhy? ", (Message("user", " Why?\n"),))}

    assert len(keys) == 1


def test_other_words_another_role_or_another_turn_are_another_prompt() -> None:
    prompts: list[Text] = [
        "Why?",
        "why?",
        (Message("system", "Why?"),),
        (Message("system", "Be kind."), Message("user", "Why?")),
        (Message("user", "Why?"), Message("assistant", "So."), Message("user", "Why?")),
        (Message("user", "Why?", ({"name": "f"},)),),
    ]

    assert len({group_of(row(prompt)) for prompt in prompts}) == len(prompts)


def test_turns_cannot_be_shifted_between_messages() -> None:
    assert group_of(row((Message("user", "a"), Message("user", "b")))) != group_of(row((Message("user", "a\nb"),)))


def test_an_explicit_group_decides() -> None:
    assert group_of(row("Why?", group="q1")) == group_of(row("How?", group="q1")) == "q1"


def test_a_pair_has_the_group_of_its_prompt() -> None:
    assert group_of(Pair(prompt="Why?", chosen="a", rejected="b")) == group_of(row("Why?"))


def test_a_group_is_128_bits_in_hexadecimal() -> None:
    assert len(bytes.fromhex(group_of(row()))) == 16


def test_the_same_answer_to_another_prompt_is_another_answer() -> None:
    assert completion_key(row("Why?", "Yes.")) != completion_key(row("How?", "Yes."))


def test_a_text_and_a_single_assistant_message_are_the_same_answer_whoever_rates_it() -> None:
    message = row("Why?", (Message("assistant", "Yes. "),), label=True, user="ann", score=3.0, id="1")

    assert completion_key(message) == completion_key(row("Why?", " Yes.", label=False, group="q1"))


def test_text_that_is_not_valid_unicode_has_a_group() -> None:
    assert group_of(row("\ud800")) != group_of(row("\ud801"))
    assert number_of("\ud800") != number_of("\ud801")


def test_calls_of_tools_are_part_of_a_prompt_whatever_mapping_holds_them() -> None:
    def calling(call: Mapping[str, object]) -> Text:
        return (Message("user", "Why?"), Message("assistant", "", (call,)))

    plain = group_of(row(calling({"name": "f", "arguments": "{}"})))

    assert group_of(row(calling(MappingProxyType({"arguments": "{}", "name": "f"})))) == plain
    assert group_of(row(calling({"name": "g", "arguments": "{}"}))) != plain


def test_numbers_are_the_same_in_every_process() -> None:
    # Python's own hash of text changes with every start. From coreutils: printf haloes | b2sum -l 64
    assert number_of("haloes") == int.from_bytes(bytes.fromhex("ccdec08b4b91ddd2"), "big", signed=True)


def test_rows_without_conversation_or_user_have_no_number() -> None:
    assert conversation_number(row()) == user_number(row()) == NO_NUMBER
    assert conversation_number(row(conversation="c")) == user_number(row(user="c")) == number_of("c") != NO_NUMBER


def test_a_group_number_fits_an_index_array() -> None:
    array = np.array([group_number(row(str(i))) for i in range(100)], dtype=np.int64)

    assert len(set(array.tolist())) == 100
    assert (array < 0).any()
    assert (array > 0).any()


def test_a_row_number_does_not_see_label_and_score() -> None:
    assert row_number(row(label=True, score=1.0)) == row_number(row(label=False, score=2.0))
    assert row_number(row(user="ann")) != row_number(row(user="bob"))


def test_mixing_is_the_finaliser_of_splitmix64() -> None:
    # The same steps with Python's integers, which cannot overflow.
    salt = number_of("test 7") % 2**64
    z = (5 % 2**64) ^ salt
    z = (z ^ z >> 30) * 0xBF58476D1CE4E5B9 % 2**64
    z = (z ^ z >> 27) * 0x94D049BB133111EB % 2**64
    z ^= z >> 31

    assert seeded_hash(np.array([5]), seed=7, purpose="test").tolist() == [z]


def test_draws_are_uniform_and_unrelated_between_seeds_and_purposes() -> None:
    number_N = np.arange(20_000, dtype=np.int64)
    draws = [seeded_uniform(number_N, seed=seed, purpose=purpose) for seed, purpose in ((0, "a"), (1, "a"), (0, "b"))]

    for draw_N in draws:
        assert np.histogram(draw_N, bins=10, range=(0, 1))[0] == pytest.approx(np.full(10, 2000), abs=250)
    assert np.corrcoef(draws) == pytest.approx(np.eye(3), abs=0.03)


@given(st.lists(st.integers(-(2**63), 2**63 - 1), min_size=1, max_size=20), st.integers())
def test_a_draw_depends_on_its_number_only(numbers: list[int], seed: int) -> None:
    together = seeded_uniform(np.array(numbers, dtype=np.int64), seed=seed, purpose="x").tolist()

    assert together == [seeded_uniform(np.array([n], dtype=np.int64), seed=seed, purpose="x").item() for n in numbers]
    assert all(0 <= draw < 1 for draw in together)


def test_a_row_made_in_memory_is_named_by_its_position() -> None:
    assert str(where_of(row(), position=3)) == "row:3"
    assert str(where_of(row(where=Where("a.jsonl", 9)), position=3)) == "a.jsonl:9"

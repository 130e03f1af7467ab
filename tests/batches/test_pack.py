"""Packing to a token budget."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from haloes.batches.pack import busiest, pack, pack_by_prompt

lengths_of = st.lists(st.integers(1, 40), max_size=40)
budgets = st.integers(1, 60)
mosts = st.none() | st.integers(1, 6)
some_ranks = st.integers(1, 5)


@given(lengths_of, budgets, mosts, some_ranks)
def test_every_example_is_in_one_micro_batch(lengths: list[int], budget: int, most: int | None, ranks: int):
    packed = pack(lengths, budget=budget, most=most, ranks=ranks)

    assert sorted(i for members in packed for i in members) == list(range(len(lengths)))
    assert all(members == sorted(members) and members for members in packed)


@given(lengths_of, budgets, mosts, some_ranks)
def test_the_budget_is_exceeded_only_by_a_single_longer_example(
    lengths: list[int], budget: int, most: int | None, ranks: int
):
    for members in pack(lengths, budget=budget, most=most, ranks=ranks):
        assert sum(lengths[i] for i in members) <= budget or len(members) == 1


@given(lengths_of, budgets, st.integers(1, 6), some_ranks)
def test_no_micro_batch_holds_more_examples_than_allowed(lengths: list[int], budget: int, most: int, ranks: int):
    assert all(len(members) <= most for members in pack(lengths, budget=budget, most=most, ranks=ranks))


@given(lengths_of, budgets, mosts, some_ranks)
def test_there_is_a_micro_batch_for_every_rank_while_there_are_examples(
    lengths: list[int], budget: int, most: int | None, ranks: int
):
    packed = pack(lengths, budget=budget, most=most, ranks=ranks)

    assert len(packed) >= min(ranks, len(lengths))


@given(lengths_of, budgets, mosts, some_ranks)
def test_the_same_arguments_give_the_same_micro_batches(lengths: list[int], budget: int, most: int | None, ranks: int):
    fields = {"budget": budget, "most": most, "ranks": ranks}

    assert pack(lengths, **fields) == pack(np.array(lengths, np.int64).tolist(), **fields)


@given(lengths_of, budgets)
def test_few_micro_batches_are_made(lengths: list[int], budget: int):
    packed = pack(lengths, budget=budget)
    fitting = [members for members in packed if sum(lengths[i] for i in members) <= budget]

    # Two that would fit into one are never left: the fullest half of the budget bounds their number.
    assert len(fitting) <= 2 * sum(lengths[i] for members in fitting for i in members) / budget + 1


def test_micro_batches_are_filled_equally():
    # 9 + 2, 8 + 3, 6 + 5: three times 11, by the longest first.
    assert pack([2, 3, 5, 6, 8, 9], budget=11) == [[0, 5], [1, 4], [2, 3]]


def test_a_long_example_does_not_widen_the_others_micro_batches():
    assert pack([50, 6, 6, 6], budget=10) == [[0], [1], [2], [3]]


def test_examples_one_by_one():
    assert pack([3, 9, 4], budget=100, most=1) == [[1], [2], [0]]


def test_nothing_is_no_micro_batch():
    assert pack([], budget=10, ranks=2) == []


prompts_of = st.lists(st.tuples(st.integers(0, 5), st.integers(1, 30)), max_size=40)


@given(prompts_of, budgets, mosts, some_ranks)
def test_examples_of_one_prompt_count_it_once_and_keep_within_the_budget(
    examples: list[tuple[int, int]], budget: int, most: int | None, ranks: int
):
    prompts, answers = [p for p, _ in examples], [n for _, n in examples]
    prompt_lengths = [7 + p for p in prompts]
    packed = pack_by_prompt(prompts, prompt_lengths, answers, budget=budget, most=most, ranks=ranks)

    assert sorted(i for members in packed for i in members) == list(range(len(examples)))
    assert len(packed) >= min(ranks, len(examples))
    for members in packed:
        shared = sum({prompts[i]: prompt_lengths[i] for i in members}.values())
        assert shared + sum(answers[i] for i in members) <= budget or len(members) == 1
        assert most is None or len(members) <= most


def test_answers_to_one_prompt_go_together():
    assert pack_by_prompt([1, 2, 1, 2], [10] * 4, [5, 5, 5, 5], budget=20) == [[0, 2], [1, 3]]


def test_answers_to_one_prompt_that_do_not_fit_together_are_parted():
    assert pack_by_prompt([1, 1, 1], [10] * 3, [5, 5, 5], budget=20) == [[0, 1], [2]]


def test_examples_go_one_by_one_where_ranks_would_be_idle_or_their_number_is_limited():
    assert pack_by_prompt([1, 1, 1], [10] * 3, [5, 5, 5], budget=99, ranks=3) == [[0], [1], [2]]
    assert pack_by_prompt([1, 1, 1], [10] * 3, [5, 5, 5], budget=99, most=1) == [[0], [1], [2]]


@given(lengths_of, budgets, mosts, some_ranks)
def test_every_rank_has_as_many_micro_batches_while_there_are_examples(
    lengths: list[int], budget: int, most: int | None, ranks: int
):
    packed = pack(lengths, budget=budget, most=most, ranks=ranks)
    fitting = sum(length <= budget for length in lengths)

    assert not len(packed) % ranks or len(packed) == len(lengths) or not fitting


@pytest.mark.parametrize(("ranks", "examples"), [(8, 128), (16, 256)])
def test_ranks_are_busy_nearly_all_of_the_time(ranks: int, examples: int):
    # Answers of about 1,000 tokens in micro-batches of 16,384: 8 to 10 of them for 8 ranks kept those busy 61 %.
    rng = np.random.default_rng(0)
    shares = []
    for _ in range(20):
        lengths = rng.integers(600, 1400, examples).tolist()
        packed = pack(lengths, budget=16_384, ranks=ranks)
        shares.append(sum(lengths) / (ranks * busiest(packed, lengths, ranks)))

    assert min(shares) > 0.98


def test_prompts_are_parted_where_that_ends_sooner():
    # Three prompts with two answers each over two ranks: whole, one rank has two prompts and the other one waits.
    prompts, answers = [1, 1, 2, 2, 3, 3], [30] * 6

    packed = pack_by_prompt(prompts, [2] * 6, answers, budget=99, ranks=2)
    assert [len(members) for members in packed] == [3, 3]

    # With long prompts it ends sooner whole: 2 (100 + 2 * 30) tokens instead of 3 (100 + 30).
    packed = pack_by_prompt(prompts, [100] * 6, answers, budget=160, ranks=2)
    assert sorted(packed) == [[0, 1], [2, 3], [4, 5]]

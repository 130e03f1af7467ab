"""What every step holds: each example once an epoch, labels spread evenly, and nothing that depends on how one asks."""

from collections import Counter
from random import Random

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from haloes.batches.schedule import Schedule
from haloes.errors import ConfigError, DataError


def make(
    desirable: list[bool],
    *,
    batch_size: int = 4,
    epochs: float = 2,
    seed: int = 0,
    fingerprint: str = "data",
    group: list[int] | None = None,
    mismatched: bool = False,
    prompts_together: bool = False,
) -> Schedule:
    return Schedule(
        fingerprint=fingerprint,
        desirable=np.array(desirable, np.bool_),
        group=np.array(group if group is not None else range(len(desirable)), np.int64),
        batch_size=batch_size,
        epochs=epochs,
        seed=seed,
        mismatched=mismatched,
        prompts_together=prompts_together,
    )


def examples(schedule: Schedule) -> list[list[int]]:
    return [schedule.step(i).examples.tolist() for i in range(schedule.num_steps)]


labels = st.lists(st.booleans(), min_size=1, max_size=60)
sizes = st.integers(1, 12)
seeds = st.integers(0, 5)


@given(labels, sizes, seeds)
def test_every_epoch_holds_every_example_once(desirable: list[bool], batch_size: int, seed: int):
    schedule = make(desirable, batch_size=batch_size, epochs=3, seed=seed)
    steps = examples(schedule)

    assert schedule.num_steps == 3 * schedule.steps_per_epoch
    for epoch in range(3):
        of_epoch = steps[epoch * schedule.steps_per_epoch : (epoch + 1) * schedule.steps_per_epoch]
        assert sorted(i for step in of_epoch for i in step) == list(range(len(desirable)))
        assert {schedule.step(epoch * schedule.steps_per_epoch).epoch} == {epoch}


@given(labels, sizes, seeds)
def test_steps_are_as_few_and_as_equal_as_the_batch_size_allows(desirable: list[bool], batch_size: int, seed: int):
    schedule = make(desirable, batch_size=batch_size, epochs=1, seed=seed)
    held = [len(step) for step in examples(schedule)]

    assert len(held) == -(-len(desirable) // batch_size)
    assert max(held) <= batch_size
    assert max(held) - min(held) <= 1


@given(labels, sizes, seeds)
def test_each_label_is_spread_over_the_steps_as_evenly_as_it_goes(desirable: list[bool], batch_size: int, seed: int):
    schedule = make(desirable, batch_size=batch_size, epochs=1, seed=seed)
    steps = examples(schedule)

    for label in (True, False):
        held = [sum(desirable[i] is label for i in step) for step in steps]
        assert max(held) - min(held) <= 1
        if desirable.count(label) >= len(steps):
            assert min(held) >= 1


@given(labels, sizes, seeds)
def test_with_prompts_together_labels_are_spread_and_epochs_complete_all_the_same(
    desirable: list[bool], batch_size: int, seed: int
):
    fields = {"batch_size": batch_size, "epochs": 2, "seed": seed, "group": [i // 3 for i in range(len(desirable))]}
    schedule = make(desirable, prompts_together=True, **fields)
    steps = examples(schedule)

    for counts in ([sum(desirable[i] for i in step) for step in steps], [len(step) for step in steps]):
        for epoch in (counts[: schedule.steps_per_epoch], counts[schedule.steps_per_epoch :]):
            assert max(epoch) - min(epoch) <= 1
    assert sorted(i for step in steps[: schedule.steps_per_epoch] for i in step) == list(range(len(desirable)))


def test_with_prompts_together_the_two_halves_of_a_pair_come_in_one_step():
    schedule = make(
        [True, False] * 64, batch_size=8, group=[i // 2 for i in range(128)], mismatched=True, prompts_together=True
    )
    for step in map(schedule.step, range(schedule.num_steps)):
        assert sorted(step.examples[step.examples % 2 == 0] + 1) == sorted(step.examples[step.examples % 2 == 1])
        assert not (step.examples // 2 == step.mismatched // 2).any()
    first, second = (
        [{i // 2 for i in step} for step in part] for part in (examples(schedule)[:16], examples(schedule)[16:])
    )
    assert first != second


def test_with_prompts_together_the_answers_to_a_prompt_are_in_one_step_or_two():
    schedule = make([True] * 120, batch_size=12, epochs=1, group=[i // 5 for i in range(120)], prompts_together=True)
    steps = examples(schedule)

    for prompt in range(24):
        assert sum(any(i // 5 == prompt for i in step) for step in steps) <= 2


def test_a_block_of_one_label_and_then_the_other_comes_out_mixed():
    schedule = make([True] * 320 + [False] * 320, batch_size=32, epochs=1)

    assert [sum(i < 320 for i in step) for step in examples(schedule)] == [16] * 20


@given(labels, sizes, seeds, st.randoms(use_true_random=False))
def test_a_step_is_the_same_in_any_order_of_asking(desirable: list[bool], batch_size: int, seed: int, random: Random):
    group = [i // 2 for i in range(len(desirable))]
    mismatched = len(set(group)) > 1
    fields = {"batch_size": batch_size, "seed": seed, "group": group, "mismatched": mismatched}
    schedule = make(desirable, **fields)
    order = list(range(schedule.num_steps)) * 2
    random.shuffle(order)

    asked = make(desirable, **fields)
    for i in order:
        one, other = asked.step(i), schedule.step(i)
        assert (one.index, one.epoch) == (other.index, other.epoch) == (i, i // schedule.steps_per_epoch)
        assert np.array_equal(one.examples, other.examples)
        assert np.array_equal(one.mismatched, other.mismatched)


@pytest.mark.parametrize("change", [{"seed": 1}, {"fingerprint": "other data"}])
def test_seed_and_data_decide_the_order_and_the_partners(change: dict):
    one, other = (make([True, False] * 20, mismatched=True, **fields) for fields in ({}, change))

    assert examples(one) != examples(other)
    pairs = [
        {(x, y) for i in range(s.num_steps) for x, y in zip(s.step(i).examples, s.step(i).mismatched, strict=True)}
        for s in (one, other)
    ]
    assert pairs[0] != pairs[1]


def test_epochs_are_shuffled_anew():
    schedule = make([True, False] * 30, batch_size=6, epochs=2)
    first, second = examples(schedule)[:10], examples(schedule)[10:]

    assert {frozenset(step) for step in first} != {frozenset(step) for step in second}


def test_examples_of_both_labels_stand_in_random_order_in_a_step():
    step = make([True] * 50 + [False] * 50, batch_size=100).step(0)

    assert step.examples[:50].tolist() != sorted(step.examples.tolist())[:50]
    assert 10 < sum(step.examples[:50] < 50) < 40


def test_every_example_meets_many_companions_over_the_epochs():
    schedule = make([True, False] * 10, batch_size=4, epochs=40)
    beside_zero = Counter(i for step in examples(schedule) if 0 in step for i in step if i != 0)

    assert set(beside_zero) == set(range(1, 20))


@pytest.mark.parametrize(
    ("epochs", "steps"),
    [(1, 10), (2, 20), (0.5, 5), (0.51, 6), (1.0 + 1e-12, 10), (0.1 + 0.2, 3), (1e-9, 1), (1e-15, 1)],
)
def test_a_fraction_of_an_epoch_is_rounded_up_to_a_whole_step(epochs: float, steps: int):
    assert make([True] * 40, batch_size=4, epochs=epochs).num_steps == steps


def test_a_loss_without_a_reference_point_gets_no_partners():
    step = make([True] * 8).step(0)

    assert step.mismatched.shape == (0,)


@given(st.lists(st.tuples(st.booleans(), st.integers(0, 6)), min_size=2, max_size=40), sizes, seeds)
def test_partners_never_answer_the_same_prompt(rows: list[tuple[bool, int]], batch_size: int, seed: int):
    group = [g for _, g in rows]
    if len(set(group)) == 1:
        group[0] += 1
    schedule = make([d for d, _ in rows], batch_size=batch_size, seed=seed, group=group, mismatched=True)

    for i in range(schedule.num_steps):
        step = schedule.step(i)
        assert len(step.mismatched) == len(step.examples)
        assert all(group[x] != group[y] for x, y in zip(step.examples, step.mismatched, strict=True))
        if max(Counter(group[x] for x in step.examples).values()) * 2 <= len(step.examples):
            assert sorted(step.mismatched) == sorted(step.examples)


def test_data_on_one_prompt_has_no_reference_point():
    with pytest.raises(DataError, match="all rows answer the same prompt"):
        make([True, False, True], group=[7, 7, 7], mismatched=True)

    make([True, False, True], group=[7, 7, 7], mismatched=False)


def test_nothing_to_train_on_is_refused():
    with pytest.raises(DataError, match="no examples"):
        make([])


@pytest.mark.parametrize(
    ("fields", "says"),
    [
        ({"batch_size": 0}, r"train\.batch_size must be at least 1, got 0"),
        ({"epochs": 0}, r"train\.epochs must be positive, got 0"),
        ({"epochs": float("nan")}, r"train\.epochs must be positive, got nan"),
    ],
)
def test_settings_out_of_range_are_refused(fields: dict, says: str):
    with pytest.raises(ConfigError, match=says):
        make([True, False], **fields)

"""What is advised where a run does not fit."""

from dataclasses import replace

from haloes.planning.advice import Options, advise
from haloes.planning.cost_model import ModelSize, StepLoad, memory

SIZES = ModelSize(
    weights=1000,
    trained=1000,
    blocks=600,
    head=0,
    width=4,
    vocabulary=0,
    layers=10,
    key_values=0,
    queries=20,
)
ADAPTERS = replace(SIZES, weights=1100, trained=100)
# 4000 of weights, 4000 of a reference, 8000 of moments, 4000 of gradients, 100,000 of activations.
LOAD = StepLoad(itemsize=4, moments=8, reference=1000, chunk=1, tokens=1000, positions=0, kept=100.0)
OPTIONS = Options(budget=1000, longest=200, longest_sequence=200, max_length=512, batch_size=32, with_lora=ADAPTERS)


def settings(limit: int, load: StepLoad = LOAD, options: Options = OPTIONS) -> list[str]:
    return [change.setting for change in advise(SIZES, load, options, limit=limit)]


def test_nothing_is_advised_where_it_fits():
    assert settings(120_000) == []


def test_smaller_micro_batches_come_first_and_are_as_large_as_they_may_be():
    assert settings(71_000) == ["train.microbatch_tokens=500"]
    assert settings(46_000) == ["train.microbatch_tokens=250"]


def test_the_numbers_are_those_of_the_changed_run():
    (change,) = advise(SIZES, LOAD, OPTIONS, limit=71_000)

    assert change.peak == change.together == 20_000 + 50_000


def test_a_micro_batch_is_never_smaller_than_the_longest_row():
    first, second = advise(SIZES, replace(LOAD, kept=400.0), OPTIONS, limit=70_000)

    assert first.setting == "train.microbatch_tokens=125"
    assert first.together == 20_000 + 200 * 400
    assert second.setting == "train.gradient_checkpointing=true"
    # Alone: 1000 tokens with 10 layers' inputs of 16 bytes and a tenth of 400; together: 200 such tokens.
    assert (second.peak, second.together) == (20_000 + 1000 * 200, 20_000 + 200 * 200)


def test_changes_are_gathered_until_they_fit_together():
    found = advise(SIZES, replace(LOAD, kept=10_000.0), OPTIONS, limit=255_000)

    assert [change.setting for change in found] == [
        "train.microbatch_tokens=125",
        "train.gradient_checkpointing=true",
    ]
    assert found[-1].together == 20_000 + 200 * (160 + 1000)


def test_adapters_and_bfloat16_are_the_last_resort_for_weights():
    found = advise(SIZES, replace(LOAD, tokens=0), OPTIONS, limit=5000)

    assert [change.setting for change in found] == ["model.lora={rank: 16}", "model.dtype=bfloat16"]
    # 1100 weights, and for 100 of them a gradient and two moments.
    assert found[0].together == 4400 + 400 + 800
    assert found[1].together == 2200 + 400 + 400 + 800


def test_adapters_are_not_advised_to_who_has_them():
    assert "model.lora={rank: 16}" not in settings(1000, options=replace(OPTIONS, with_lora=None))


def test_rows_longer_than_a_micro_batch_may_be_cut():
    long = replace(OPTIONS, budget=100, longest=1000, longest_sequence=500, with_lora=None)

    found = advise(SIZES, replace(LOAD, checkpointing=True, itemsize=2), long, limit=1)
    assert [change.setting for change in found] == ["tokens.max_length=256"]
    assert found[0].peak == memory(SIZES, replace(LOAD, checkpointing=True, itemsize=2, tokens=512)).peak


def test_fewer_answers_at_once_where_sampling_is_the_peak():
    sampled = replace(LOAD, tokens=0, answers=32, answer_tokens=100)
    sizes = replace(SIZES, key_values=10)

    found = advise(sizes, sampled, OPTIONS, limit=8000 + 40_000)
    # 8000 of weights and reference, and an answer takes 100 tokens of 10 numbers.
    assert [(change.setting, change.peak) for change in found] == [("samples.batch_size=8", 8000 + 32_000)]

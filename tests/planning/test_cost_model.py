"""Memory, operations and time of a run, against sums done by hand."""

from dataclasses import replace

import pytest

from haloes.planning.cost_model import (
    Layout,
    ModelSize,
    Rates,
    StepLoad,
    Workload,
    activations,
    forward_operations,
    head_chunk,
    layout_of,
    memory,
    seconds,
    training_operations,
)

FULL = ModelSize(
    weights=1000,
    trained=1000,
    blocks=600,
    head=400,
    width=4,
    vocabulary=100,
    layers=5,
    key_values=40,
    queries=20,
    head_trained=True,
)
ADAPTERS = replace(FULL, weights=1100, trained=100, head_trained=False)
STEP = StepLoad(itemsize=4, moments=8, reference=1000, chunk=10, tokens=50, positions=30, kept=80.0)


def test_full_tuning_in_float32_holds_weights_reference_moments_and_gradients():
    found = memory(FULL, STEP)

    assert found.parts["weights"] == 4000
    assert found.parts["reference"] == 4000
    assert found.parts["trained copy (float32)"] == 0  # they are the weights themselves
    assert found.parts["optimizer"] == 8000
    assert found.parts["gradients"] == 4000
    assert found.parts["activations"] == 50 * 80
    # 10 positions of 100 logits, the gradients of 30 hidden states of 4 numbers, and that of 400 weights.
    assert found.parts["output layer"] == 4000 + 30 * 4 * 4 + 1600
    assert found.training == 4000 + 4000 + 8000 + 4000 + 4000 + 6080


def test_in_bfloat16_weights_halve_and_what_is_trained_has_a_float32_copy():
    found = memory(FULL, replace(STEP, itemsize=2))

    assert found.parts["weights"] == found.parts["reference"] == 2000
    assert found.parts["trained copy (float32)"] == 4000
    assert found.parts["optimizer"] == 8000
    assert found.parts["gradients"] == 4000


def test_with_adapters_only_they_have_gradients_and_moments():
    found = memory(ADAPTERS, replace(STEP, reference=0))

    assert found.parts["weights"] == 4400
    assert found.parts["reference"] == 0
    assert found.parts["optimizer"] == 800
    assert found.parts["gradients"] == 400


def test_the_gradients_of_a_single_micro_batch_take_the_place_of_its_activations():
    # 4000 bytes of activations (50 tokens of 80) go as 4000 bytes of gradients come.
    assert memory(FULL, replace(STEP, several=False)).parts["gradients"] == 0
    assert memory(FULL, replace(STEP, several=False, tokens=20)).parts["gradients"] == 4000 - 1600


def test_rmsprop_keeps_one_number_a_weight():
    assert memory(FULL, replace(STEP, moments=4)).parts["optimizer"] == 4000


def test_checkpointing_keeps_what_enters_each_layer_and_one_layer_s_activations():
    # 50 tokens: 5 layers' inputs of 4 numbers of 4 bytes, and a fifth of 80 bytes.
    assert activations(FULL, replace(STEP, checkpointing=True)) == 50 * (5 * 4 * 4 + 16)


def test_offloading_keeps_one_layer_s_activations():
    assert activations(FULL, replace(STEP, offload=True)) == 50 * 16
    assert activations(FULL, replace(STEP, offload=True, checkpointing=True)) == 50 * 16


def test_weights_in_four_bits_take_half_a_byte_and_their_scales():
    # 600 of 1100 numbers.
    assert memory(ADAPTERS, replace(STEP, four_bits=600)).parts["weights"] == 500 * 4 + 309


def test_logits_are_held_a_chunk_at_a_time_and_never_more_than_there_are():
    few = replace(STEP, positions=3)

    assert head_chunk(ADAPTERS, few) == 3 * 100 * 4 + 3 * 4 * 4
    # In bfloat16 a copy in that dtype stands beside the float32 logits.
    assert head_chunk(ADAPTERS, replace(few, itemsize=2)) == 3 * 100 * 6 + 3 * 4 * 2


def test_the_cache_of_keys_and_values_counts_while_sampling_and_not_while_training():
    answering = replace(STEP, answers=8, answer_tokens=25)
    found = memory(FULL, answering)

    assert found.parts["keys and values while sampling"] == 8 * 25 * 40 * 4
    assert found.training == memory(FULL, STEP).training
    assert found.sampling == 4000 + 4000 + 32_000
    assert found.peak == 40_000


def test_answers_while_training_are_sampled_beside_the_optimizer():
    found = memory(FULL, replace(STEP, answers=8, answer_tokens=25, sampled_while_training=True))

    assert found.sampling == 4000 + 4000 + 32_000 + 8000


def test_what_a_probe_found_beside_the_parts_is_added_to_its_own_moment():
    found = memory(FULL, replace(STEP, base=7, other=100, slack=0.5, other_sampling=10))

    assert found.training == memory(FULL, STEP).training + 107 + 50 * 80 // 2
    assert found.sampling == memory(FULL, STEP).sampling + 17


def test_each_token_looks_at_itself_and_what_is_before_it():
    # 1 + 2 + 3 + 4, and 1 + 2.
    assert layout_of([4, 2], [[], []], 5) == Layout(tokens=6, seen=13, positions=5)


def test_a_shared_beginning_is_laid_out_once_and_seen_by_all_that_follow():
    # A prompt of 3 (1 + 2 + 3), then completions of 2 that see it: each (3 + 1) + (3 + 2).
    assert layout_of([3, 2, 2], [[], [0], [0]], 4) == Layout(tokens=7, seen=6 + 9 + 9, positions=4)


def test_a_forward_pass_is_two_operations_a_weight_and_token():
    blocks, attention, head = forward_operations(FULL, Layout(tokens=10, seen=55, positions=6))

    assert blocks == 2 * 600 * 10
    assert attention == 4 * 20 * 55  # a product with the keys and one with the values
    assert head == 2 * 400 * 6


def test_full_tuning_costs_three_forward_passes():
    layout = Layout(tokens=10, seen=55, positions=6)

    assert training_operations(FULL, layout, full=True) == 3 * sum(forward_operations(FULL, layout))


def test_frozen_matrices_cost_one_product_backwards():
    layout = Layout(tokens=10, seen=55, positions=6)
    blocks, attention, head = forward_operations(ADAPTERS, layout)

    assert training_operations(ADAPTERS, layout, full=False) == 2 * blocks + 3 * attention + 2 * head


def test_below_the_lowest_adapter_there_is_no_backward_pass():
    layout = Layout(tokens=10, seen=55, positions=6)
    blocks, attention, head = forward_operations(ADAPTERS, layout)

    upper_half = replace(ADAPTERS, trained_share=0.5)
    assert training_operations(upper_half, layout, full=False) == 1.5 * blocks + 2 * attention + 2 * head


def test_time_is_work_times_rates():
    rates = Rates(
        reading=3.0,
        loading=5.0,
        training_token=0.1,
        scoring_token=0.02,
        update=0.5,
        prefill=2.0,
        answer_token=0.25,
        saved_byte=0.001,
    )
    work = Workload(
        steps=10,
        training_tokens=1000,
        reference_tokens=2000,
        validation_tokens=300,
        validations=2,
        looks=5,
        look_tokens=100,
        answer_batches=3,
        new_tokens=9,
        saved_bytes=4000,
    )

    assert seconds(work, rates) == pytest.approx(
        {
            "reading and tokenising": 3.0,
            "loading the model": 5.0,
            "reference": 40.0,
            "training steps": 100 + 5,
            "validations": 2 * 300 * 0.02,
            "looks at the divergence": 5 * 100 * 0.02,
            "answers (at most)": 3 * (2 + 8 * 0.25),
            "saving": 4.0,
        }
    )

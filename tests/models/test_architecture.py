"""Facts that architectures spell differently, and positions that depend on the longest sequence of a pass."""

from typing import Any

import torch

from fakes import tiny_model
from haloes.models.architecture import body_of, forget_lengths, renewal_of, text_model_of, thresholds_of, window_of
from length_dependent import DYNAMIC, LONGROPE
from tiny_architectures import tiny_architecture


def test_the_body_is_found_where_a_class_names_another_attribute():
    llama4 = tiny_architecture("llama4_text")

    assert not hasattr(llama4, llama4.base_model_prefix)
    assert body_of(llama4) is llama4.model


def test_the_text_model_is_a_part_of_the_body_where_there_is_a_tower():
    gemma, llama = tiny_architecture("gemma3"), tiny_model()

    assert text_model_of(gemma) is gemma.model.language_model
    assert text_model_of(llama) is body_of(llama)


def test_thresholds_are_all_lengths_that_the_config_names():
    model = tiny_model(sliding_window=32, attention_chunk_size=600, rope_parameters=LONGROPE)

    assert thresholds_of(model) == [32, 64, 600]
    assert thresholds_of(tiny_model()) == []


def test_a_config_with_other_values_in_each_layer_names_none():
    assert window_of(tiny_architecture("gemma4_text")) == 256
    assert thresholds_of(tiny_architecture("gemma4_text")) == [16]


def test_longrope_changes_all_positions_once_and_dynamic_scaling_with_every_token():
    longrope, dynamic = (renewal_of(tiny_model(**fields)) for fields in (LONGROPE_FIELDS, DYNAMIC_FIELDS))

    assert [length for length in range(60, 70) if longrope(length)] == [65]
    assert [length for length in range(60, 70) if dynamic(length)] == [65, 66, 67, 68, 69]
    assert renewal_of(tiny_model()).above is None
    assert not renewal_of(tiny_model())(10_000)


LONGROPE_FIELDS: dict[str, Any] = {"rope_parameters": LONGROPE, "max_position_embeddings": 256}
DYNAMIC_FIELDS: dict[str, Any] = {"rope_parameters": DYNAMIC, "max_position_embeddings": 64}


def test_what_a_long_sequence_leaves_in_dynamic_positions_is_forgotten():
    model = tiny_model(**DYNAMIC_FIELDS)
    ids = torch.arange(70)[None]
    with torch.no_grad():
        fresh = model(input_ids=ids).logits
        model(input_ids=torch.arange(200)[None])
        stale = model(input_ids=ids).logits
        forget_lengths(model)
        again = model(input_ids=ids).logits

    assert not torch.allclose(stale, fresh, atol=1e-3)
    assert torch.equal(again, fresh)

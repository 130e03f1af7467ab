"""Sizes of a tiny Llama, against sums done by hand."""

from pathlib import Path

from haloes.models.adapters import LoRA
from haloes.planning.model_size import sizes_by_name
from tiny_runs import save_model

VOCABULARY, WIDTH, INNER, HEADS, KEY_HEADS, SIZE = 258, 32, 48, 4, 2, 8
BLOCK = 2 * WIDTH * HEADS * SIZE + 2 * WIDTH * KEY_HEADS * SIZE + 3 * WIDTH * INNER
NORMS = 2 * 2 * WIDTH + WIDTH
WEIGHTS = VOCABULARY * WIDTH + 2 * BLOCK + NORMS


def test_all_weights_are_counted_once_though_the_output_layer_is_the_embeddings(tmp_path: Path):
    sizes = sizes_by_name(str(save_model(tmp_path)), None)

    assert sizes.weights == sizes.trained == WEIGHTS
    assert sizes.blocks == 2 * BLOCK
    assert sizes.head == VOCABULARY * WIDTH
    assert (sizes.width, sizes.vocabulary, sizes.layers) == (WIDTH, VOCABULARY, 2)
    assert sizes.key_values == 2 * 2 * KEY_HEADS * SIZE  # keys and values in two layers
    assert sizes.queries == 2 * HEADS * SIZE
    assert sizes.head_trained


def test_an_output_layer_of_its_own_is_no_block(tmp_path: Path):
    sizes = sizes_by_name(str(save_model(tmp_path, tied=False)), None)

    assert sizes.weights == WEIGHTS + VOCABULARY * WIDTH
    assert sizes.blocks == 2 * BLOCK


def test_adapters_are_what_is_trained(tmp_path: Path):
    sizes = sizes_by_name(str(save_model(tmp_path)), LoRA(rank=4))

    # rank times (inputs + outputs) of q, k, v, o, gate, up and down.
    of_a_block = 4 * (64 + 48 + 48 + 64 + 3 * (WIDTH + INNER))
    assert sizes.trained == 2 * of_a_block
    assert sizes.weights == WEIGHTS + 2 * of_a_block
    assert sizes.blocks == 2 * BLOCK
    assert sizes.trained_share == 1.0
    assert not sizes.head_trained


def test_the_backward_pass_ends_at_the_lowest_adapter(tmp_path: Path):
    assert sizes_by_name(str(save_model(tmp_path)), LoRA(rank=4, layers=[1])).trained_share == 0.5


def test_a_value_head_is_trained_too(tmp_path: Path):
    sizes = sizes_by_name(str(save_model(tmp_path)), None, values=True)

    assert sizes.trained == WEIGHTS + 2 * (WIDTH * WIDTH + WIDTH) + WIDTH + 1

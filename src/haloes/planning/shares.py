"""
What a process of a run holds in memory, by arithmetic alone: everything, or its share of weights that lie in shards.

The parts of one that holds everything are those of `haloes.planning.cost_model.memory`; those of shards follow from how
FSDP2 (`torch.distributed.fsdp.fully_shard`) treats a model whose layers are units of their own.
"""

from collections.abc import Mapping

from haloes.planning.cost_model import FLOAT32, ModelSize, StepLoad, head_chunk, memory

_LAYERS = 3
"""Layers' worth of weights at once: the one at work, and the next, which is there twice while it is fetched."""


def whole_parts(sizes: ModelSize, load: StepLoad) -> Mapping[str, int]:
    """Return the bytes by part of a process that holds everything."""
    apart = {"keys and values while sampling", "program", "other"}
    return {name: size for name, size in memory(sizes, load).parts.items() if name not in apart}


def shard_parts(sizes: ModelSize, load: StepLoad, *, over: int) -> Mapping[str, int]:
    """
    Return the bytes by part of one of `over` processes, each of which holds an equal part of every weight.

    What is trained lies in float32 shards, which are the weights; what is frozen lies in the compute dtype.
    """
    frozen = 0 if sizes.head_trained else sizes.weights - sizes.trained
    layer = sizes.blocks // max(sizes.layers, 1)
    outside = sizes.weights - sizes.blocks - (0 if sizes.head_trained else sizes.trained)
    return {
        "weights": frozen * load.itemsize // over,
        "reference": load.reference * load.itemsize // over,
        "trained copy (float32)": sizes.trained * FLOAT32 // over,
        "optimizer": sizes.trained * load.moments // over,
        "gradients": sizes.trained * FLOAT32 // over,
        "whole for a moment": _whole(layer, outside, load.itemsize, trained=sizes.head_trained),
        "activations": whole_parts(sizes, load)["activations"],
        "output layer": head_chunk(sizes, load),
    }


def _whole(layer: int, outside: int, itemsize: int, *, trained: bool) -> int:
    """
    Return the bytes of weights and gradients that are whole at the worst moment of a step.

    FSDP2 gathers a unit into one buffer and copies its weights out of it, so that it is there twice meanwhile; and it
    adds up the gradients of a unit from a float32 copy of all of them. A reference is whole when the model is not.

    Args:
        layer: numbers of a layer.
        outside: numbers outside of the layers, which are one unit: embeddings, output layer, last norm.
        itemsize: bytes of a number while it is computed with.
        trained: whether all weights have gradients; else only adapters, which are small.
    """
    first = 2 * outside * itemsize
    amid = (outside + _LAYERS * layer) * itemsize + (layer * FLOAT32 if trained else 0)
    last = outside * (2 * itemsize + FLOAT32) if trained else 0
    return max(first, amid, last)


def kept_by_shape(sizes: ModelSize, itemsize: int) -> float:
    """
    Return about how many bytes a token leaves for the backward pass in a model with the layers of Llama.

    Counted from transformers' layers without fused kernels: two norms keep their input in float32, the normalised
    values and the product with their weights; attention keeps queries, keys, values and its result, the gated MLP four
    times its inner width. Where a trial can be run, `haloes plan` counts instead.
    """
    layers = max(sizes.layers, 1)
    queries, keys_values = sizes.queries / layers, sizes.key_values / layers
    # A layer's matrices: queries and result, keys and values, and three of the MLP.
    inner = max(0.0, sizes.blocks / layers - sizes.width * (2 * queries + keys_values)) / (3 * max(sizes.width, 1))
    norms = 2 * sizes.width * (2 * itemsize + (0 if itemsize == FLOAT32 else FLOAT32))
    return layers * (norms + itemsize * (2 * queries + keys_values + 4 * inner))

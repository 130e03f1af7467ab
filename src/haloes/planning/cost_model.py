"""
The cost model of a training run: bytes by part, seconds by part, floating-point operations of a step, all as sums.

Nothing is measured here: what only a model and a machine can tell (bytes that a token leaves for the backward pass,
seconds a token takes) is an argument. The operations are those of the cost model in design/008-plan.md.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from haloes.models.activation_memory import kept_activation_bytes

FLOAT32 = 4
FOUR_BITS = 0.516
"""Bytes of a number in NF4: half a byte, and a doubly quantised scale for 64 numbers."""
CACHE_RECORD = 24
"""Bytes that the reference cache takes for a sequence, on disk."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelSize:
    """Size of a model, in numbers (not bytes)."""

    weights: int
    """All parameters, adapters included, each counted once."""
    trained: int
    """Those of the weights that are trained."""
    blocks: int
    """The matrices that every token goes through: neither embeddings nor the output layer nor adapters."""
    head: int
    """The output layer: vocabulary times width."""
    width: int
    """Size of a hidden state."""
    vocabulary: int
    layers: int
    key_values: int
    """Numbers that a token leaves in the cache of keys and values while answers are sampled, over all layers."""
    queries: int
    """Numbers of a token's queries, over all layers: heads times their size times layers."""
    trained_share: float = 1.0
    """Share of the layers that the backward pass goes through: less than 1 where only upper layers have adapters."""
    head_trained: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class StepLoad:
    """A step's load: the micro-batch that goes through the model at once, and how it is trained."""

    itemsize: int
    """Bytes of a number in the compute dtype."""
    moments: int
    """Bytes that the optimizer keeps for each trained number: 8 for AdamW, 4 for RMSprop."""
    four_bits: int = 0
    """Numbers of the model that are kept in four bits."""
    reference: int = 0
    """Numbers of a reference that is kept beside the model, in the compute dtype."""
    chunk: int
    """Positions that the output layer is applied to at once."""
    tokens: int = 0
    """Tokens of the largest micro-batch, as it is laid out."""
    positions: int = 0
    """Its trained tokens, to which the output layer is applied."""
    kept: float = 0.0
    """Bytes that a token keeps for the backward pass, without checkpointing."""
    checkpointing: bool = False
    offload: bool = False
    """Whether activations wait for the backward pass in host memory."""
    several: bool = True
    """Whether steps have several micro-batches, so that gradients and activations are in memory together."""
    answers: int = 0
    """Answers that are sampled at once."""
    answer_tokens: int = 0
    """Tokens of each of them, prompt included."""
    sampled_while_training: bool = False
    base: int = 0
    """Bytes of the process before the model is loaded; 0 on a GPU."""
    other: int = 0
    """Bytes beyond all that is counted here, whatever the micro-batch: libraries that are loaded late."""
    slack: float = 0.0
    """Bytes for each byte of activations: buffers of a moment, and gaps that the allocator leaves between them."""
    other_sampling: int = 0
    """Bytes beyond all that is counted while answers are sampled."""


@dataclass(frozen=True, slots=True)
class MemoryUse:
    """Bytes by part while a step's largest micro-batch is worked on, and their sums."""

    parts: Mapping[str, int]
    training: int
    sampling: int
    """Sum while answers are sampled."""

    @property
    def peak(self) -> int:
        """Return the larger of the two."""
        return max(self.training, self.sampling)


def memory(sizes: ModelSize, load: StepLoad) -> MemoryUse:
    """Return the memory of a run by part. What is held at another time than the step's is not part of `training`."""
    held = {
        "program": load.base,
        "weights": (sizes.weights - load.four_bits) * load.itemsize + int(load.four_bits * FOUR_BITS),
        "reference": load.reference * load.itemsize,
    }
    trained = {
        # Trained in float32 whatever it computes in: an update of 1e-6 of a weight is lost in bfloat16.
        "trained copy (float32)": 0 if load.itemsize == FLOAT32 else sizes.trained * FLOAT32,
        "optimizer": sizes.trained * load.moments,
    }
    gradients, kept = sizes.trained * FLOAT32, activations(sizes, load)
    step = {
        # With a single micro-batch gradients are allocated as the activations are freed: the larger of both counts.
        "gradients": gradients if load.several else max(0, gradients - kept),
        "activations": kept,
        "output layer": head_chunk(sizes, load),
        "other": load.other + int(load.slack * kept),
    }
    answers = load.answers * load.answer_tokens * sizes.key_values * load.itemsize
    # Before training there is no optimizer yet, after it none any more; only validations sample beside it.
    beside = sum(trained.values()) if load.sampled_while_training else 0
    sampling = sum(held.values()) + answers + load.other_sampling + beside
    parts = {**held, **trained, **step}
    return MemoryUse({**parts, "keys and values while sampling": answers}, sum(parts.values()), sampling)


def activations(sizes: ModelSize, load: StepLoad) -> int:
    """Return the bytes that the largest micro-batch keeps for its backward pass; far fewer with checkpointing."""
    token = kept_activation_bytes(
        load.kept,
        layers=sizes.layers,
        inputs=sizes.width * load.itemsize,
        checkpointing=load.checkpointing,
        offload=load.offload,
    )
    return int(load.tokens * token)


def head_chunk(sizes: ModelSize, load: StepLoad) -> int:
    """Return the bytes of a chunk of float32 logits with its copy in the compute dtype, and of the head's gradients."""
    copies = FLOAT32 if load.itemsize == FLOAT32 else FLOAT32 + load.itemsize
    # Logits of all positions are never in memory at once: the output layer goes chunk by chunk.
    logits = min(load.chunk, load.positions) * sizes.vocabulary * copies
    weights = sizes.head * FLOAT32 if sizes.head_trained else 0
    return logits + load.positions * sizes.width * load.itemsize + weights


@dataclass(frozen=True, slots=True, kw_only=True)
class Layout:
    """A micro-batch in the model: tokens as they are laid out, and the keys that they attend to."""

    tokens: int
    seen: int
    """Keys that all queries attend to, together: (n + 1) n / 2 for one sequence of n tokens."""
    positions: int
    """Trained tokens."""


def layout_of(piece_lengths: Sequence[int], prefix_pieces: Sequence[Sequence[int]], positions: int) -> Layout:
    """Count a layout of pieces (`haloes.models.layout.Packed`): each attends to those before it and to itself."""
    # A causal piece of n tokens: all keys before it for each query, and its own triangle with the diagonal.
    seen = sum(
        n * sum(piece_lengths[k] for k in path) + n * (n + 1) // 2
        for n, path in zip(piece_lengths, prefix_pieces, strict=True)
    )
    return Layout(tokens=sum(piece_lengths), seen=seen, positions=positions)


def forward_operations(sizes: ModelSize, layout: Layout) -> tuple[float, float, float]:
    """Return the FLOPs of a forward pass: of the blocks' matrices, of attention, of the output layer."""
    # A multiplication and an addition for each weight and token; attention has two products, with keys and values.
    return (
        2.0 * sizes.blocks * layout.tokens,
        4.0 * sizes.queries * layout.seen,
        2.0 * sizes.head * layout.positions,
    )


def training_operations(sizes: ModelSize, layout: Layout, *, full: bool) -> float:
    """
    Return the FLOPs that a forward and backward pass needs, nothing of them computed twice.

    A trained matrix costs two products backwards and a frozen one one product; attention always two for each of its
    two products forwards. What lies below the lowest trained layer is only computed forwards.
    """
    blocks, attention, head = forward_operations(sizes, layout)
    # Trained: gradients of inputs and of weights. Frozen: of inputs alone, and only down to the lowest adapter.
    back = 2 if full else sizes.trained_share
    return blocks * (1 + back) + attention * (1 + 2 * sizes.trained_share) + head * (3 if sizes.head_trained else 2)


@dataclass(frozen=True, slots=True, kw_only=True)
class Rates:
    """Seconds that things take, as a probe measured them."""

    reading: float
    """Seconds of reading and tokenising the feedback, in all."""
    loading: float
    """Seconds of loading and checking the model, in all."""
    training_token: float
    """Seconds a token of a step's own sequences, mismatched completions included, the reference not."""
    scoring_token: float
    """Seconds a token that is scored without gradient."""
    update: float
    """Seconds of an optimizer step."""
    prefill: float
    """Seconds that a batch of prompts takes before its first answer token."""
    answer_token: float
    """Seconds of each further token of a batch of answers."""
    saved_byte: float
    """Seconds that a byte of a checkpoint takes to be written and hashed."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Workload:
    """Counts of all that a run has to do."""

    steps: int
    training_tokens: int
    """Tokens of all steps' own sequences."""
    reference_tokens: int
    """Tokens that the reference scores: those of the steps and of the validation that are not in its cache yet."""
    validation_tokens: int
    """Tokens of one validation, mismatched completions included."""
    validations: int
    looks: int
    """Looks at the divergence for `train.kl_budget`, on the way; fewer where it ends the run."""
    look_tokens: int
    """Tokens of the forward passes of one look."""
    answer_batches: int
    """Batches of answers, before, while and after the policy is trained."""
    new_tokens: int
    """Most tokens of an answer."""
    saved_bytes: int
    """Bytes of all checkpoints and the model."""


def seconds(work: Workload, rates: Rates) -> dict[str, float]:
    """Return the seconds by part: what there is to do, times how long it takes."""
    return {
        "reading and tokenising": rates.reading,
        "loading the model": rates.loading,
        # A forward pass without gradient, of the policy or of the reference, takes the same time.
        "reference": work.reference_tokens * rates.scoring_token,
        "training steps": work.training_tokens * rates.training_token + work.steps * rates.update,
        "validations": work.validations * work.validation_tokens * rates.scoring_token,
        "looks at the divergence": work.looks * work.look_tokens * rates.scoring_token,
        "answers (at most)": work.answer_batches * (rates.prefill + (work.new_tokens - 1) * rates.answer_token),
        "saving": work.saved_bytes * rates.saved_byte,
    }

"""
What a training run needs, as sums: bytes by part, seconds by part, floating-point operations of a step.

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
    """How large a model is, in numbers (not bytes)."""

    weights: int
    """Of all its parameters, adapters included, each counted once."""
    trained: int
    """Of those that are trained."""
    blocks: int
    """Of the matrices that every token goes through: neither embeddings nor the output layer nor adapters."""
    head: int
    """Of the output layer: vocabulary times width."""
    width: int
    """Of the hidden states."""
    vocabulary: int
    layers: int
    key_values: int
    """That a token leaves in the cache of keys and values while answers are sampled, over all layers."""
    queries: int
    """Of a token's queries, over all layers: heads times their size times layers."""
    trained_share: float = 1.0
    """Share of the layers that the backward pass goes through: less than 1 where only upper layers have adapters."""
    head_trained: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class StepLoad:
    """What goes through the model at once, and how it is trained."""

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
    """Of the largest micro-batch, as it is laid out."""
    positions: int = 0
    """Trained tokens of it: so many times the output layer is applied."""
    kept: float = 0.0
    """Bytes that a token leaves for the backward pass, without checkpointing."""
    checkpointing: bool = False
    offload: bool = False
    """Whether activations wait elsewhere."""
    several: bool = True
    """Whether steps have several micro-batches, so that gradients are there while activations are."""
    answers: int = 0
    """That are sampled at once."""
    answer_tokens: int = 0
    """Of each of them, prompt included."""
    sampled_while_training: bool = False
    base: int = 0
    """Bytes of the process before the model is there; 0 on a GPU."""
    other: int = 0
    """Bytes beyond all that is counted here, whatever the micro-batch: libraries that are loaded late."""
    slack: float = 0.0
    """Bytes for each byte of activations: buffers of a moment, and gaps that the allocator leaves between them."""
    other_sampling: int = 0
    """The same while answers were sampled."""


@dataclass(frozen=True, slots=True)
class MemoryUse:
    """Bytes by part while a step's largest micro-batch is worked on, and in all."""

    parts: Mapping[str, int]
    training: int
    sampling: int
    """In all while answers are sampled."""

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
        "trained copy (float32)": 0 if load.itemsize == FLOAT32 else sizes.trained * FLOAT32,
        "optimizer": sizes.trained * load.moments,
    }
    gradients, kept = sizes.trained * FLOAT32, activations(sizes, load)
    step = {
        # Of a single micro-batch they come into being as the activations go.
        "gradients": gradients if load.several else max(0, gradients - kept),
        "activations": kept,
        "output layer": head_chunk(sizes, load),
        "other": load.other + int(load.slack * kept),
    }
    answers = load.answers * load.answer_tokens * sizes.key_values * load.itemsize
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
    logits = min(load.chunk, load.positions) * sizes.vocabulary * copies
    weights = sizes.head * FLOAT32 if sizes.head_trained else 0
    return logits + load.positions * sizes.width * load.itemsize + weights


@dataclass(frozen=True, slots=True, kw_only=True)
class Layout:
    """What goes through the model: tokens as they are laid out, and what each of them looks at."""

    tokens: int
    seen: int
    """Keys that all queries look at, together: (n + 1) n / 2 for one sequence of n tokens."""
    positions: int
    """Trained tokens."""


def layout_of(documents: Sequence[int], before: Sequence[Sequence[int]], positions: int) -> Layout:
    """Count a layout of pieces (`haloes.models.layout.Packed`): each attends to those before it and to itself."""
    seen = sum(
        n * sum(documents[k] for k in path) + n * (n + 1) // 2 for n, path in zip(documents, before, strict=True)
    )
    return Layout(tokens=sum(documents), seen=seen, positions=positions)


def forward_operations(sizes: ModelSize, layout: Layout) -> tuple[float, float, float]:
    """Return the FLOPs of a forward pass: of the blocks' matrices, of attention, of the output layer."""
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
    back = 2 if full else sizes.trained_share
    return blocks * (1 + back) + attention * (1 + 2 * sizes.trained_share) + head * (3 if sizes.head_trained else 2)


@dataclass(frozen=True, slots=True, kw_only=True)
class Rates:
    """How long things take, as a probe measured them."""

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
    """How much there is to do."""

    steps: int
    training_tokens: int
    """Of all steps' own sequences."""
    reference_tokens: int
    """That the reference scores: those of the steps and of the validation that are not in its cache yet."""
    validation_tokens: int
    """Of one validation, mismatched completions included."""
    validations: int
    answer_batches: int
    """Batches of answers, before and after training and while it goes on."""
    new_tokens: int
    """Most tokens of an answer."""
    saved_bytes: int
    """Of all checkpoints and the model."""


def seconds(work: Workload, rates: Rates) -> dict[str, float]:
    """Return the seconds by part: what there is to do, times how long it takes."""
    return {
        "reading and tokenising": rates.reading,
        "loading the model": rates.loading,
        "reference": work.reference_tokens * rates.scoring_token,
        "training steps": work.training_tokens * rates.training_token + work.steps * rates.update,
        "validations": work.validations * work.validation_tokens * rates.scoring_token,
        "answers (at most)": work.answer_batches * (rates.prefill + (work.new_tokens - 1) * rates.answer_token),
        "saving": work.saved_bytes * rates.saved_byte,
    }

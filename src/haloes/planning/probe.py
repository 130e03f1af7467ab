"""A probe of a run: a few real steps on its own model, rows and largest micro-batches, measured and then forgotten."""

import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, replace
from typing import TypeAlias

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from haloes.batches.collate import packed_rows, read_pair, sequences_of
from haloes.batches.schedule import Schedule, Step
from haloes.models.activation_memory import counting
from haloes.models.layout import Packed
from haloes.models.policy import Policy
from haloes.planning.cost_model import Layout, layout_of
from haloes.planning.machine import Peak
from haloes.sampling.decode import decode
from haloes.tokens.store import TokenStore
from haloes.training.completion_logps import Pass, ReferenceScores, ReferenceSource, SequencePairs
from haloes.training.job import TrainJob, make_stepper
from haloes.training.optimizer import Masters, make_optimizer
from haloes.training.settings import settled
from haloes.training.step import Stepper
from haloes.training.trainer import trainable
from haloes.training.update import update

Lengths: TypeAlias = NDArray[np.int64]

_STEPS, _CANDIDATES = 256, 8
_NEW_TOKENS = 5
"""Enough for the time of a token; the memory of a whole answer follows from its length."""


@dataclass(frozen=True, slots=True)
class Candidates:
    """Micro-batches of a run, each as a step of its own."""

    shortest: Step
    """A single example, to begin with."""
    typical: Step
    largest: Step
    several: bool
    """Whether there are steps with more than one micro-batch."""


@dataclass(frozen=True, slots=True, kw_only=True)
class MicroBatchCost:
    """Time and memory that one micro-batch took."""

    tokens: int
    """Tokens of its own sequences, one by one."""
    layout: Layout
    """These sequences as they went through the model, shared prompts once."""
    mismatched: Layout
    """The mismatched completions alone, since the keys and values of their prompts are in the cache."""
    seconds: float
    """Seconds of the policy's forward and backward pass and of its mismatched completions, without the reference."""
    reference_seconds: float
    reference_tokens: int
    busy: float
    """Processor seconds of this process in each second, while the policy and the reference computed."""
    kept: int
    """Bytes that the forward pass left for the backward pass; 0 where it was not counted."""
    peak: int
    """Most bytes held meanwhile."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SamplingCost:
    """Time and memory that a batch of answers took."""

    answers: int
    prefill: float
    """Seconds before the first token."""
    token: float
    """Seconds of each further token."""
    peak: int
    tokens: int
    """Tokens that each answer held at the end, with its prompt and padding."""


@dataclass(slots=True)
class Probe:
    """Steps of a job that is thrown away afterwards; its policy does not stay what it was. Made by `probing`."""

    job: TrainJob
    masters: Masters
    optimizer: torch.optim.Optimizer
    several: bool
    """Whether the run has steps of several micro-batches."""

    def run(self, step: Step, *, count: bool = False) -> MicroBatchCost:
        """Work on one micro-batch; its gradients are added to those that are there."""
        job, store = self.job, self.job.train
        timed = _Timed(None)
        stepper = make_stepper(replace(job, cache=None), store)
        if stepper.reference is not None:
            timed = _Timed(stepper.reference)
            stepper = replace(stepper, reference=timed)
        # A step of a single micro-batch keeps its prompts for the mismatched completions, which the run's steps do not.
        if self.several:
            stepper = replace(stepper, reuse_prompt_cache=False)
        if count:
            stepper = replace(stepper, activations=nullcontext)
        packed, mismatched = _packed(stepper, step)
        kept = 0
        with Peak(job.policy.device) as peak:
            began, computed = time.perf_counter(), time.process_time()
            if count:
                with counting(job.policy.model) as counted:
                    stepper.run(step, backward=True)
                kept = counted.bytes
            else:
                stepper.run(step, backward=True)
            _wait(job.policy.device)
            took, computed = time.perf_counter() - began, time.process_time() - computed
        return MicroBatchCost(
            busy=computed / took,
            tokens=sum(store.length(int(i)) for i in sequences_of(store, step.examples)),
            layout=layout_of(packed.piece_lengths, packed.prefix_pieces, len(packed.target_N)),
            mismatched=mismatched,
            seconds=took - timed.seconds,
            reference_seconds=timed.seconds,
            reference_tokens=timed.tokens,
            kept=kept,
            peak=peak.bytes,
        )

    def layout(self, step: Step) -> Layout:
        """Lay out a micro-batch as it goes through the model."""
        packed, _ = _packed(make_stepper(self.job, self.job.train), step)
        return layout_of(packed.piece_lengths, packed.prefix_pieces, len(packed.target_N))

    def update(self) -> float:
        """Take an optimizer step and return its seconds; the gradients are gone then, and the moments are there."""
        began = time.perf_counter()
        settings = self.job.settings
        rate = settled(settings.lr, "lr")
        update(self.masters, self.optimizer, rate, settings.max_grad_norm, step=1)
        _wait(self.job.policy.device)
        return time.perf_counter() - began


@contextmanager
def probing(job: TrainJob, *, several: bool) -> Iterator[Probe]:
    """Make a job's policy trainable inside the block."""
    with trainable(job) as masters:
        yield Probe(job, masters, make_optimizer(masters, job.settings), several)


def candidates(stepper: Stepper, schedule: Schedule) -> Candidates:
    """Find the shortest example, and the typical and the largest micro-batch of `_STEPS` steps spread over the run."""
    micro_batches: list[Step] = []
    several = False
    # Packing a step is quick and working on it is not: hundreds are looked at to find the three that are tried.
    for index in np.unique(np.linspace(0, schedule.num_steps - 1, min(schedule.num_steps, _STEPS)).astype(int)):
        step = schedule.step(int(index))
        parts = [part_of(step, members) for members in stepper.micro_batches(step)]
        micro_batches, several = micro_batches + parts, several or len(parts) > 1
    micro_batches.sort(key=lambda step: _tokens(stepper.store, step))
    largest = max(micro_batches[-_CANDIDATES:], key=lambda step: _packed(stepper, step)[0].num_tokens)
    lengths = _example_lengths(stepper.store)
    # A row longer than any micro-batch that was drawn goes alone, and may come in any step of the run.
    if lengths.max() > _tokens(stepper.store, largest):
        largest = _alone(largest, int(lengths.argmax()))
    return Candidates(_alone(largest, int(lengths.argmin())), micro_batches[len(micro_batches) // 2], largest, several)


def part_of(step: Step, members: NDArray[np.int64]) -> Step:
    """Return some of a step's examples as a step of their own."""
    mismatched = step.mismatched[members] if len(step.mismatched) else step.mismatched
    return replace(step, examples=step.examples[members], mismatched=mismatched)


def time_sampling(policy: Policy, prompts: list[list[int]]) -> SamplingCost:
    """Sample a few tokens after a batch of prompts."""
    # The time of each token, through the function that selects it: the first one is that of the whole prompt.
    times: list[float] = []

    def likeliest(logits: Tensor, _rows: list[int], _step: int) -> Tensor:
        _wait(policy.device)
        times.append(time.perf_counter())
        return logits.argmax(dim=-1)

    with policy.scoring(), Peak(policy.device) as peak:
        began = time.perf_counter()
        decode(policy.model, prompts, limits=[_NEW_TOKENS] * len(prompts), ends=frozenset(), choose=likeliest)
    return SamplingCost(
        answers=len(prompts),
        prefill=times[0] - began,
        token=(times[-1] - times[0]) / (len(times) - 1),
        peak=peak.bytes,
        tokens=max(map(len, prompts)) + _NEW_TOKENS - 1,
    )


@dataclass(slots=True)
class _Timed:
    """A reference that counts what it is asked for, and how long it takes."""

    inner: ReferenceSource | None
    seconds: float = 0.0
    tokens: int = 0

    def score(
        self, store: TokenStore, pairs: SequencePairs, passes: Sequence[Pass] = (), *, anew: bool = False
    ) -> ReferenceScores:
        if self.inner is None:
            raise TypeError("there is no reference to ask")
        began = time.perf_counter()
        found = self.inner.score(store, pairs, passes, anew=anew)
        self.seconds += time.perf_counter() - began
        rows = [read_pair(store, x, y) for x, y in pairs.tolist()]
        self.tokens += sum(len(row.prompt) + len(row.completion) for row in rows)
        return found


def _packed(stepper: Stepper, step: Step) -> tuple[Packed, Layout]:
    """Lay out a micro-batch; and what its mismatched completions add where each prompt is in the cache already."""
    store = stepper.store
    packed = packed_rows([store.read(int(i)) for i in sequences_of(store, step.examples)], torch.device("cpu"))
    tokens = seen = positions = 0
    for x, y in zip(step.examples.tolist(), step.mismatched.tolist(), strict=False):
        row = read_pair(store, x, y)
        prompt, completion = len(row.prompt), len(row.completion)
        tokens += completion
        seen += completion * prompt + completion * (completion + 1) // 2
        positions += int(row.trained.sum())
    return packed, Layout(tokens=tokens, seen=seen, positions=positions)


def _tokens(store: TokenStore, step: Step) -> int:
    return sum(store.length(int(i)) for i in sequences_of(store, step.examples))


def _example_lengths(store: TokenStore) -> Lengths:
    lengths = store.prompt_length.astype(np.int64) + store.completion_length
    of_examples: Lengths = lengths.reshape(-1, store.sequences_per_example).sum(axis=1)
    return of_examples


def _alone(like: Step, example: int) -> Step:
    """Return one example as a step; where mismatched completions are needed, with one of the step that is like it."""
    mismatched = like.mismatched[:1] if len(like.mismatched) else like.mismatched
    return replace(like, examples=np.array([example]), mismatched=mismatched)


def _wait(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)

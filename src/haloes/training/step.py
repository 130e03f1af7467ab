"""
One optimizer step's arithmetic: from a step's examples to its table of numbers, and to its gradient in the policy.

A step goes through these stages, each a method of `Stepper`:

    score_reference            log p_reference of (x, y) and of the mismatched (x, y')
    score_mismatched_before    log p_policy of (x, y'), in passes of their own before the first micro-batch; or
    score_mismatched_after     the same, continued from the prompts x that the step's only micro-batch left in its cache
    forward_backward           log p_policy of a micro-batch's (x, y), with gradient; the loss, and its gradient

Only the last one keeps activations. What a stage finds goes into tables with a row for everything in the *whole* step
(`haloes.training.step_table`), so that neither micro-batches nor processes show in the result.

Shapes: E examples and S sequences of the step, M mismatched (x, y') of it; as suffixes B sequences or examples and N
trained tokens of a micro-batch.
"""

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from haloes.batches.collate import packed_rows, read_pair, sequences_of
from haloes.batches.pack import pack_by_prompt
from haloes.batches.schedule import Step
from haloes.losses._contract import Loss, Paired, Scored, Unpaired, call_loss, declared_metrics
from haloes.models.device import to_device
from haloes.models.layout import Packed, shared_length
from haloes.models.policy import Policy, TokenScores
from haloes.models.prefix_cache import PrefixCache, make_continued
from haloes.stats.bootstrap import Floats
from haloes.tokens.store import TokenStore
from haloes.training.completion_logps import ReferenceSource, bins_of, logps
from haloes.training.cut import Cut, never, refuse_if_cut
from haloes.training.distributed import Ranks
from haloes.training.equal_passes import Fillers, no_fillers
from haloes.training.prefetch import prefetch, to_numpy
from haloes.training.step_numbers import StepNumbers
from haloes.training.step_split import MicroBatch, StepSplit
from haloes.training.step_table import MismatchedTable, Ragged, ReferenceTable, Table, tensor
from haloes.training.step_work import StepWork


class LayoutHook(Protocol):
    """Looks at the layouts that go through the policy, to count their work."""

    def __call__(self, packed: Packed, *, trained: bool) -> None:
        """Take note of a layout; `trained`: whether it goes through with gradient."""


def ignore_layout(packed: Packed, *, trained: bool) -> None:
    """Do nothing: the hook where nothing is counted."""


@dataclass(frozen=True, slots=True, kw_only=True)
class StepContext:
    """The part of a step that all its micro-batches have in common."""

    split: StepSplit
    weight: Floats
    """Weight of each example of the step, (E,); they add up to 1."""
    importance: float
    """The mean weight of the step's examples by that of all data; 1 where all weigh alike."""
    running_reward: float
    reference: ReferenceTable | None
    mismatched: MismatchedTable | None
    """None where the loss needs no mismatched completions; filled before the first loss is computed."""
    prefixes: PrefixCache | None
    """Takes the keys and values of the step's only micro-batch where (x, y') continues from them; else None."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Stepper:
    """Computes the steps of one policy, loss and data set."""

    policy: Policy
    loss: Loss[Any]
    store: TokenStore
    ranks: Ranks
    reference: ReferenceSource | None
    """None where the loss needs no reference."""
    max_tokens: int
    """Tokens of a micro-batch; a longer example gets one of its own."""
    max_examples: int | None = None
    """Examples of a micro-batch; None for no limit."""
    activations: Callable[[], AbstractContextManager[Any]] = nullcontext
    """Decides where the activations of a forward pass wait for the backward pass (`haloes.models.offload`)."""
    reuse_prompt_cache: bool = False
    """Allows mismatched completions to continue from the keys and values that the step's own rows leave of their
    prompts, where the step is a single micro-batch. Not with dropout, which is for the rows' own pass alone."""
    on_layout: LayoutHook = ignore_layout
    """Told of the policy's layouts; on a GPU from the thread that prepares them."""
    work: StepWork = field(default_factory=StepWork)
    """Told what of a step is done."""
    cut: Cut = never
    """Asked between two passes whether the step is given up."""
    fillers: Fillers = no_fillers
    """Passes beside those of this process's own rows, so that all processes make equally many."""

    def run(self, step: Step, *, backward: bool, running_reward: float = 0.0) -> Table:
        """
        Return a step's numbers and, when asked to, add the gradient of its loss to the policy's.

        It is that of its examples' losses summed by their weights, over their number and the mean weight of all data.

        Args:
            step: its examples and their mismatched partners.
            backward: whether gradients are wanted.
            running_reward: the mean log-ratio over the steps before, in nats, for a loss that needs it.

        Raises StepCut where the step is given up, with a part of its gradient in the policy's.
        """
        split = self._split(step)
        self.work.begin(
            sequences=len(split.own_rows),
            mismatched=len(split.own_mismatched),
            reference=self.reference is not None,
            backward=backward,
        )
        context = self._context(split, step, running_reward, is_first=backward and step.index == 0)
        numbers = StepNumbers.zeros(len(split.sequences), len(step.examples), declared_metrics(self.loss))
        parts, device = split.micro_batches, self.policy.device
        others = self.fillers(len(parts))
        with prefetch(parts, lambda part: self._lay_out(split, part, backward), device=device) as layouts:
            for part, packed in zip(parts, layouts, strict=True):
                if self.cut():
                    break
                self.forward_backward(part, packed, context, numbers, backward=backward)
                self.work.done(len(part.rows))
        for packed in others:
            if self.cut():
                break
            self.go_along(packed, backward=backward)
        refuse_if_cut(self.ranks, self.cut)
        # The numbers stayed on the device until here, where the processor may wait for it without harm.
        numbers.fetch()
        # One sum over the processes completes every table: each filled in its own rows and left zeros in the others.
        reference, mismatched, needs = context.reference, context.mismatched, self.loss.needs
        self._sum(*numbers.columns(), *([] if reference is None else [reference.total]))
        return Table(
            step=step,
            sequences=split.sequences,
            weight=context.weight,
            loss=numbers.loss,
            metrics=numbers.metrics,
            logp=numbers.logp if needs.logps else None,
            reward=numbers.reward if needs.rewards else None,
            log_ratio=None if reference is None else numbers.logp - reference.total,
            mismatched=None if mismatched is None else mismatched.log_ratio(),
        )

    def micro_batches(self, step: Step) -> list[NDArray[np.int64]]:
        """Return which of the step's examples go through the model together, as places in `step.examples`."""
        # Such a loss compares the examples of a step with each other: no part of them would do.
        if self.loss.needs.whole_step:
            return [np.arange(len(step.examples))]
        # A row of two sequences for every pair, else of one: both sequences of a pair stay in one micro-batch.
        sequences = sequences_of(self.store, step.examples).reshape(-1, len(step.examples))
        # What the two prompts of a pair share is at most the shorter one, should they have been cut differently.
        prompts = self.store.prompt_length[sequences].min(axis=0).tolist()
        shared = [shared_length(length) for length in prompts]
        lengths = (self.store.prompt_length[sequences] + self.store.completion_length[sequences]).sum(axis=0)
        # The layout holds what prompts share once, and so does the budget: answers to one prompt are worth packing
        # together. Every process gets as many micro-batches where it can, or it would wait for the others.
        bins = pack_by_prompt(
            list(zip(self.store.group[sequences[0]].tolist(), prompts, strict=True)),
            shared,
            (lengths - len(sequences) * np.array(shared)).tolist(),
            budget=self.max_tokens,
            most=self.max_examples,
            ranks=self.ranks.count,
        )
        return [np.array(members) for members in bins]

    def score_reference(
        self, split: StepSplit, *, continues: bool, anew: bool
    ) -> tuple[ReferenceTable | None, ReferenceTable | None]:
        """
        Score this process's rows with the reference: (x, y) of the step's sequences, and (x, y').

        Args:
            split: the step's work.
            continues: whether the policy's (x, y') continue from the prompts of its only micro-batch.
            anew: whether what the cache holds is computed again.

        Returns:
            A table of (x, y) with S rows and one of (x, y') with M rows, zeros in the rows of other processes; None
            without a reference.
        """
        if self.reference is None:
            return None, None
        rows, mismatched_rows = split.own_rows, split.own_mismatched
        matched = np.stack([split.sequences[rows]] * 2, axis=1)
        pairs = np.concatenate([matched, split.mismatched[mismatched_rows]])
        # As the policy's passes are laid out: how bfloat16 rounds depends on it, and equal weights have equal numbers.
        passes = split.passes(continues=continues and self.policy.start_fingerprint is None)
        scores = self.reference.score(self.store, pairs, passes, anew=anew)
        lengths = self.store.trained_length[split.sequences]
        return (
            ReferenceTable.of(scores, slice(len(rows)), rows, lengths),
            ReferenceTable.of(scores, slice(len(rows), None), mismatched_rows, split.mismatched_lengths),
        )

    def score_mismatched_before(self, split: StepSplit, table: MismatchedTable) -> None:
        """Fill the table with log p_policy of all (x, y'), in passes of their own without gradient and dropout."""
        device = self.policy.device

        def prepare(members: list[int]) -> Packed:
            rows = [read_pair(self.store, int(x), int(y)) for x, y in split.mismatched[members]]
            packed = packed_rows(rows, device)
            self.on_layout(packed, trained=False)
            return packed

        # The passes follow each other without a wait for their results, which are fetched together.
        others = self.fillers(len(split.mismatched_bins))
        with self.policy.scoring(), prefetch(split.mismatched_bins, prepare, device=device) as layouts:
            values = []
            for members, packed in zip(split.mismatched_bins, layouts, strict=True):
                if self.cut():
                    break
                values.append(self.policy.token_logps(packed))
                self.work.scored(len(members))
            for packed in others:
                if self.cut():
                    break
                self.policy.token_logps(packed)
        refuse_if_cut(self.ranks, self.cut)
        in_order = np.array([i for members in split.mismatched_bins for i in members], np.int64)
        table.policy.put(in_order, to_numpy(values))
        # Every micro-batch of every process is given the same reference point, that of the whole step.
        self._sum(*table.columns())

    def score_mismatched_after(
        self, packed: Packed, prefixes: PrefixCache, split: StepSplit, table: MismatchedTable
    ) -> None:
        """
        Fill the table with log p_policy of all (x, y'), continued from the prompts of a pass that has just been made.

        Args:
            packed: the layout of that pass, which held all of the step's (x, y) in their order.
            prefixes: its keys and values; they are let go.
            split: the step's work.
            table: the one of the step's (x, y').
        """
        rows = [read_pair(self.store, int(x), int(y)) for x, y in split.mismatched]
        sequences = [(row.prompt, row.completion, row.trained) for row in rows]
        continued = make_continued(packed, sequences, self.policy.device)
        self.on_layout(continued, trained=False)
        prefixes.continues = True
        with self.policy.scoring():
            values = self.policy.token_logps(continued, prefixes)
        self.work.scored(len(rows))
        # Before the backward pass, which needs the memory, and whose recomputed layers must not continue anything.
        prefixes.clear()
        table.policy.put(np.arange(len(rows)), to_numpy([values]))

    def forward_backward(
        self, part: MicroBatch, packed: Packed, context: StepContext, numbers: StepNumbers, *, backward: bool
    ) -> None:
        """
        Score a micro-batch with the policy, compute its losses, and add their gradient to the policy's.

        Args:
            part: the micro-batch.
            packed: its layout.
            context: what the step's micro-batches have in common.
            numbers: takes the numbers of its sequences and examples.
            backward: whether gradients are wanted.
        """
        with torch.set_grad_enabled(backward), self.activations() if backward else nullcontext():
            tokens = self._tokens(packed, context.prefixes)
            # Between forward pass and loss: before it the prompts' keys are not there, after it the loss has no z0.
            if context.mismatched is not None and context.prefixes is not None:
                self.score_mismatched_after(packed, context.prefixes, context.split, context.mismatched)
            completions = _scored(tokens, packed, context.reference, part.rows)
            output = call_loss(self.loss, self._batch(completions, packed, part, context))
            per_example = output.per_example
            # The weights add up to 1 over the whole step: a plain sum, here and over processes, is the weighted mean. A
            # step of rows that weigh much moves the policy further, or in small steps no row would weigh anything.
            share_B = tensor(context.weight[part.examples], per_example.device, per_example.dtype)
            weighted = (per_example * share_B).sum() * context.importance
        # At once, so that a micro-batch's activations are gone before those of the next one come.
        if backward:
            torch.autograd.backward(weighted)
        numbers.add(part, completions, output)

    def go_along(self, packed: Packed, *, backward: bool) -> None:
        """Take a layout through the policy as a micro-batch that counts nothing, for the other processes' sake."""
        with torch.set_grad_enabled(backward), self.activations() if backward else nullcontext():
            tokens = self._tokens(packed, None)
            found = [part for part in tokens.all if part.requires_grad]
        if backward:
            torch.autograd.backward(found, [torch.zeros_like(part) for part in found])

    def _tokens(self, packed: Packed, prefixes: PrefixCache | None) -> TokenScores:
        """Return what the loss needs of a layout's tokens."""
        needs = self.loss.needs
        return self.policy.token_scores(
            packed, logps=needs.logps, collision=needs.collision, kl=needs.reference_kl, prefix_cache=prefixes
        )

    def _split(self, step: Step) -> StepSplit:
        """Divide a step's sequences over micro-batches and processes, the same on every process."""
        mismatched = np.empty((0, 2), np.int64)
        if len(step.mismatched):
            mismatched = np.stack([step.examples, step.mismatched], axis=1)
        bins = bins_of(self.store, mismatched, budget=self.max_tokens, ranks=self.ranks.count)
        own = self.ranks.shard(self.micro_batches(step))
        # The second half of a paired step's sequences are the rejected completions, in the order of the examples.
        paired = self.store.paired
        rows = [np.concatenate([members, members + len(step.examples)]) if paired else members for members in own]
        lengths = [read_pair(self.store, x, y).trained.sum() for x, y in mismatched.tolist()]
        return StepSplit(
            sequences=sequences_of(self.store, step.examples),
            micro_batches=[MicroBatch(*part) for part in zip(own, rows, strict=True)],
            mismatched=mismatched,
            mismatched_lengths=np.array(lengths, np.int64),
            mismatched_bins=self.ranks.shard(bins),
        )

    def _context(self, split: StepSplit, step: Step, running_reward: float, *, is_first: bool) -> StepContext:
        """Score what all losses of the step depend on: the reference, and (x, y') where no micro-batch scores it."""
        # The reference goes first: no activations wait for a backward pass yet, so its pass has all the memory.
        prefixes = PrefixCache() if self._reuses_prompts(split) else None
        # What is cached was rounded as another run's passes had it. In the first step of a training nothing but that
        # rounding would show, for the weights are equal; later steps show what was learnt, and save the pass.
        reference, mismatched_reference = self.score_reference(split, continues=prefixes is not None, anew=is_first)
        mismatched: MismatchedTable | None = None
        if self.loss.needs.mismatched:
            mismatched = MismatchedTable(Ragged.zeros(split.mismatched_lengths), mismatched_reference)
        if mismatched is not None and prefixes is None:
            # They make the reference point of every example: not even the first loss exists without all of them.
            self.score_mismatched_before(split, mismatched)
        # In float64, as all that is summed over a step.
        weight = self.store.weight[split.sequences[: len(step.examples)]].astype(np.float64)
        return StepContext(
            split=split,
            weight=weight / weight.sum(),
            importance=float(weight.mean()) / self.store.mean_weight,
            running_reward=running_reward,
            reference=reference,
            mismatched=mismatched,
            prefixes=prefixes,
        )

    def _lay_out(self, split: StepSplit, part: MicroBatch, backward: bool) -> Packed:
        """Read a micro-batch's sequences and lay them out on the policy's device."""
        rows = [self.store.read(int(i)) for i in split.sequences[part.rows]]
        packed = packed_rows(rows, self.policy.device, last=self.loss.needs.rewards)
        self.on_layout(packed, trained=backward)
        return packed

    def _reuses_prompts(self, split: StepSplit) -> bool:
        """
        Return whether the mismatched completions continue from the prompts of this step's own pass.

        The keys and values of one micro-batch are there, and of one process: only a step that is both has all prompts.
        """
        at_once = len(split.micro_batches) == self.ranks.count == 1
        return (
            self.reuse_prompt_cache and self.loss.needs.mismatched and self.policy.scorer.continues_prompts and at_once
        )

    def _batch(self, completions: Scored, packed: Packed, part: MicroBatch, context: StepContext) -> Unpaired | Paired:
        """Return what the loss is given: the scores, and of everything else what it needs."""
        device, needs = self.policy.device, self.loss.needs
        sequences = context.split.sequences[part.rows]
        if self.store.paired:
            # The rows are all chosen and then all rejected ones, pair by pair in the same order.
            chosen, rejected = self.store.score[sequences].reshape(2, -1)
            margin_B = tensor(chosen - rejected, device) if needs.margins else None
            return _paired(completions, packed.trained, margin_B)
        mismatched, running_reward = context.mismatched, np.array(context.running_reward)
        return Unpaired(
            completions,
            to_device(self.store.desirable[sequences], device),
            mismatched=None if mismatched is None else mismatched.scored(device),
            score_B=tensor(self.store.score[sequences], device) if needs.scores else None,
            running_reward=tensor(running_reward, device) if needs.running_reward else None,
        )

    def _sum(self, *tables: Floats) -> None:
        """Complete these tables in place with the rows of the other processes, in one reduction for all of them."""
        if self.ranks.count > 1:
            flat = torch.from_numpy(np.concatenate([table.ravel() for table in tables]))
            total = self.ranks.sum(flat).numpy()
            for table in tables:
                table[...] = total[: table.size].reshape(table.shape)
                total = total[table.size :]


def _scored(tokens: TokenScores, packed: Packed, reference: ReferenceTable | None, rows: NDArray[np.int64]) -> Scored:
    """Return the policy's scores of these rows beside the reference's."""
    device = packed.ids_T.device
    reference_token = None if reference is None else reference.token
    return Scored(
        None if tokens.logp is None else logps(tokens.logp, packed),
        reference_B=None if reference is None else tensor(reference.total[rows], device),
        reference_T=None if reference_token is None else tensor(reference_token.at(rows), device),
        collision_T=tokens.collision,
        reference_kl_T=tokens.reference_kl,
        value_T=tokens.value,
        reward_B=tokens.reward,
    )


def _paired(completions: Scored, trained: Sequence[int], margin_B: Tensor | None) -> Paired:
    """
    Split scores of all chosen and then all rejected completions into the two sides of pairs.

    Args:
        completions: their scores, (2 B,) a sequence and (N,) a token.
        trained: how many tokens of each are trained, (2 B,).
        margin_B: by how much the chosen ones are better; None where the loss does not ask.
    """
    count = len(trained) // 2
    tokens = sum(trained[:count])
    return Paired(
        completions.part(slice(count), slice(tokens)),
        completions.part(slice(count, None), slice(tokens, None)),
        margin_B,
    )

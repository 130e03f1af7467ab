"""One optimizer step's arithmetic: reference, mismatched completions, micro-batches, gradients."""

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from haloes.batches.collate import packed_rows, read_pair, sequences_of
from haloes.batches.pack import pack_by_prompt
from haloes.batches.schedule import Step
from haloes.losses._contract import Logps, Loss, LossOutput, Paired, Scored, Unpaired, call_loss, declared_metrics
from haloes.models.layout import Packed, shared_length
from haloes.models.policy import Policy, TokenScores
from haloes.models.prefix_cache import Remembered, make_continued
from haloes.models.transfer import to_device
from haloes.tokens.store import TokenStore
from haloes.training.distributed import Ranks
from haloes.training.prefetch import fetched, prefetched
from haloes.training.ragged import Numbers, Ragged
from haloes.training.scoring import Jobs, Reference, bins_of, logps
from haloes.training.step_table import MismatchedTable, ReferenceTable, Table, tensor


@dataclass(frozen=True, slots=True)
class Stepper:
    """Works out steps of one policy, loss and data set."""

    policy: Policy
    loss: Loss[Any]
    store: TokenStore
    ranks: Ranks
    reference: Reference | None
    """None where the loss needs no reference."""
    budget: int
    """Tokens of a micro-batch, at most."""
    most: int | None
    """Examples of a micro-batch, at most; None for no limit."""
    activations: Callable[[], AbstractContextManager[Any]] = nullcontext
    """Decides where the activations of a forward pass wait for the backward pass (`haloes.models.offload`)."""
    continues: bool = False
    """Whether mismatched completions go on from the keys and values that the step's own rows leave of their prompts,
    where the step goes through the model at once. Not with dropout, which is for the rows' own pass alone."""

    def run(self, step: Step, *, backward: bool, running_reward: float = 0.0) -> Table:
        """
        Work out a step's losses and, when asked to, leave the gradient of their weighted mean in the policy.

        Args:
            step: its examples and their mismatched partners.
            backward: whether gradients are wanted.
            running_reward: the mean log-ratio over the steps before, for a loss that needs it.
        """
        sequences = sequences_of(self.store, step.examples)
        micro_batches = self.ranks.share(self.micro_batches(step))
        own = np.sort(np.concatenate([np.empty(0, np.int64), *(self._rows(m, step) for m in micro_batches)]))
        jobs = np.stack([step.examples, step.mismatched], axis=1) if len(step.mismatched) else np.empty((0, 2), int)
        bins = self.ranks.share(bins_of(self.store, jobs, budget=self.budget, at_least=self.ranks.count))
        reference, others = self._references(sequences, own, jobs, bins)
        remembered = Remembered() if self._goes_on(micro_batches) else None
        mismatched: MismatchedTable | None = None
        if self.loss.needs.mismatched and remembered is None:
            mismatched = MismatchedTable(self._policy_tokens(jobs, bins), others)
            self._sum(*mismatched.columns())
        weight = self.store.weight[sequences[: len(step.examples)]].astype(np.float64)
        weight /= weight.sum()
        names = declared_metrics(self.loss)
        filled = _Filled(
            logp=np.zeros(len(sequences)),
            reward=np.zeros(len(sequences)),
            loss=np.zeros((1 + len(names), len(step.examples))),
            names=names,
        )
        needs = self.loss.needs
        rows_of = [self._rows(members, step) for members in micro_batches]
        with prefetched(rows_of, lambda rows: self._packed(sequences[rows]), device=self.policy.device) as ready:
            for members, rows, packed in zip(micro_batches, rows_of, ready, strict=True):
                with torch.set_grad_enabled(backward), self.activations() if backward else nullcontext():
                    tokens = self.policy.token_scores(
                        packed,
                        logps=needs.logps,
                        collision=needs.collision,
                        kl=needs.reference_kl,
                        remembered=remembered,
                    )
                    if remembered is not None:
                        mismatched = MismatchedTable(self._continued(packed, remembered, jobs), others)
                    completions = _scored(tokens, packed, reference, rows)
                    batch = self._batch(completions, packed, sequences[rows], mismatched, running_reward)
                    output = call_loss(self.loss, batch)
                    weighted = (output.per_example * tensor(weight[members], output.per_example)).sum()
                if backward:
                    torch.autograd.backward(weighted)
                filled.add(members, rows, completions, output)
        filled.fetch()
        self._sum(filled.logp, filled.reward, filled.loss)
        return Table(
            step=step,
            sequences=sequences,
            weight=weight,
            loss=filled.loss[0],
            metrics=dict(zip(names, filled.loss[1:], strict=True)),
            logp=filled.logp if needs.logps else None,
            reward=filled.reward if needs.rewards else None,
            log_ratio=None if reference is None else filled.logp - self._sum(reference.total),
            mismatched=None if mismatched is None else mismatched.log_ratio(),
        )

    def micro_batches(self, step: Step) -> list[NDArray[np.int64]]:
        """Which of the step's examples go through the model together."""
        if self.loss.needs.whole_step:
            return [np.arange(len(step.examples))]
        sequences = sequences_of(self.store, step.examples).reshape(-1, len(step.examples))
        prompts = self.store.prompt_length[sequences].min(axis=0).tolist()
        shared = [shared_length(length) for length in prompts]
        lengths = (self.store.prompt_length[sequences] + self.store.completion_length[sequences]).sum(axis=0)
        bins = pack_by_prompt(
            list(zip(self.store.group[sequences[0]].tolist(), prompts, strict=True)),
            shared,
            (lengths - len(sequences) * np.array(shared)).tolist(),
            budget=self.budget,
            most=self.most,
            at_least=self.ranks.count,
        )
        return [np.array(members) for members in bins]

    def _packed(self, sequences: NDArray[np.int64]) -> Packed:
        rows = [self.store.read(int(i)) for i in sequences]
        return packed_rows(rows, self.policy.device, last=self.loss.needs.rewards)

    def _rows(self, members: NDArray[np.int64], step: Step) -> NDArray[np.int64]:
        """The rows of these examples among the step's sequences: themselves, or all chosen and then all rejected."""
        return np.concatenate([members, members + len(step.examples)]) if self.store.paired else members

    def _goes_on(self, micro_batches: list[NDArray[np.int64]]) -> bool:
        """Whether the mismatched completions go on from this step's own pass."""
        at_once = len(micro_batches) == self.ranks.count == 1
        return self.continues and self.loss.needs.mismatched and self.policy.scorer.packs and at_once

    def _references(
        self, sequences: NDArray[np.int64], own: NDArray[np.int64], jobs: Jobs, bins: list[list[int]]
    ) -> tuple[ReferenceTable | None, ReferenceTable | None]:
        """What the reference says of this process's rows and of its mismatched ones; zeros for the others'."""
        if self.reference is None:
            return None, None
        own_jobs = np.array(sorted(i for members in bins for i in members), np.int64)
        # One stream of (x, y) and (x, y') for what the cache does not hold.
        matched = np.stack([sequences[own]] * 2, axis=1)
        found = self.reference.of(self.store, np.concatenate([matched, jobs[own_jobs]]))
        return (
            ReferenceTable.of(found, slice(len(own)), own, self.store.trained_length[sequences]),
            ReferenceTable.of(found, slice(len(own), None), own_jobs, self._trained(jobs)),
        )

    def _trained(self, jobs: Jobs) -> NDArray[np.int64]:
        """How many tokens of each of these sequences are trained."""
        return np.array([read_pair(self.store, x, y).trained.sum() for x, y in jobs.tolist()], np.int64)

    def _policy_tokens(self, jobs: Jobs, bins: list[list[int]]) -> Ragged:
        found = Ragged.zeros(self._trained(jobs))
        device = self.policy.device

        def prepare(members: list[int]) -> Packed:
            return packed_rows([read_pair(self.store, int(x), int(y)) for x, y in jobs[members]], device)

        with self.policy.scoring(), prefetched(bins, prepare, device=device) as ready:
            values = [self.policy.token_logps(packed) for packed in ready]
        found.put(np.array([i for members in bins for i in members], np.int64), fetched(values))
        return found

    def _continued(self, packed: Packed, remembered: Remembered, jobs: Jobs) -> Ragged:
        """The same for a step whose rows just went through the model, in their order, and left their prompts behind."""
        rows = [read_pair(self.store, int(x), int(y)) for x, y in jobs]
        sequences = [(row.prompt, row.completion, row.trained) for row in rows]
        remembered.continues = True
        with self.policy.scoring():
            values = self.policy.token_logps(make_continued(packed, sequences, self.policy.device), remembered)
        remembered.forget()
        found = Ragged.zeros(self._trained(jobs))
        found.put(np.arange(len(rows)), fetched([values]))
        return found

    def _batch(
        self,
        completions: Scored,
        packed: Packed,
        sequences: NDArray[np.int64],
        mismatched: MismatchedTable | None,
        running_reward: float,
    ) -> Unpaired | Paired:
        like, needs = torch.empty(0, device=self.policy.device), self.loss.needs
        if self.store.paired:
            chosen, rejected = self.store.score[sequences].reshape(2, -1)
            margin_B = tensor(chosen - rejected, like) if needs.margins else None
            return paired(completions, packed.trained, margin_B=margin_B)
        return Unpaired(
            completions,
            to_device(self.store.desirable[sequences], like.device),
            mismatched=None if mismatched is None else mismatched.scored(like),
            score_B=tensor(self.store.score[sequences], like) if needs.scores else None,
            running_reward=tensor(np.array(running_reward), like) if needs.running_reward else None,
        )

    def _sum(self, *tables: Numbers) -> Numbers:
        """Complete these tables in place with the other processes' rows; gives back the first."""
        if self.ranks.count > 1:
            flat = torch.from_numpy(np.concatenate([table.ravel() for table in tables]))
            total = self.ranks.sum(flat.to(self.policy.device)).cpu().numpy()
            for table in tables:
                table[...] = total[: table.size].reshape(table.shape)
                total = total[table.size :]
        return tables[0]


@dataclass(frozen=True, slots=True)
class _Filled:
    """The tables that a process's micro-batches fill in."""

    logp: Numbers
    reward: Numbers
    loss: Numbers
    names: tuple[str, ...]
    found: list[tuple[Numbers, NDArray[np.int64], Tensor]] = field(default_factory=list)
    """What is still on the device: the table it belongs to, the places in it, and the values."""

    def add(self, members: NDArray[np.int64], rows: NDArray[np.int64], scores: Scored, output: LossOutput) -> None:
        if scores.logps is not None:
            self.found.append((self.logp, rows, scores.logps.total().detach()))
        if scores.reward_B is not None:
            self.found.append((self.reward, rows, scores.reward_B.detach()))
        self.found.append((self.loss[0], members, output.per_example.detach()))
        for k, name in enumerate(self.names, start=1):
            self.found.append((self.loss[k], members, output.metrics[name].detach()))

    def fetch(self) -> None:
        """Fill the tables, with one copy from the device for all micro-batches."""
        for (table, places, _), values in zip(self.found, fetched([one[2] for one in self.found]), strict=True):
            table[places] = values


def paired(completions: Scored, trained: Sequence[int], *, margin_B: Tensor | None = None) -> Paired:
    """
    Scores of all chosen and then all rejected completions as pairs.

    Args:
        completions: their scores.
        trained: how many tokens of each are trained.
        margin_B: by how much the chosen ones are better.
    """
    count = len(trained) // 2
    tokens = sum(trained[:count])
    return Paired(
        _part(completions, slice(count), slice(tokens)),
        _part(completions, slice(count, None), slice(tokens, None)),
        margin_B,
    )


def _scored(tokens: TokenScores, packed: Packed, reference: ReferenceTable | None, rows: NDArray[np.int64]) -> Scored:
    like = torch.empty(0, device=packed.ids_T.device)
    known = None if reference is None else reference.token
    return Scored(
        None if tokens.logp is None else logps(tokens.logp, packed),
        reference_B=None if reference is None else tensor(reference.total[rows], like),
        reference_T=None if known is None else tensor(known.at(rows), like),
        collision_T=tokens.collision,
        reference_kl_T=tokens.reference_kl,
        value_T=tokens.value,
        reward_B=tokens.reward,
    )


def _part(completions: Scored, sequences: slice, tokens: slice) -> Scored:
    def cut(values: Tensor | None, part: slice) -> Tensor | None:
        return None if values is None else values[part]

    known = completions.logps
    return Scored(
        None if known is None else Logps(known.token_T[tokens], known.lengths_B[sequences]),
        cut(completions.reference_B, sequences),
        cut(completions.reference_T, tokens),
        cut(completions.collision_T, tokens),
        cut(completions.reference_kl_T, tokens),
        cut(completions.value_T, tokens),
        cut(completions.reward_B, sequences),
    )

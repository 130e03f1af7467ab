"""
One optimizer step's arithmetic: reference, mismatched completions, micro-batches, gradients.

Every quantity of a step stands in a table with one row an example or a sequence of the *whole* step. A process fills in
the rows that it worked on and leaves zeros elsewhere, so that one sum of fixed shape over the processes completes it,
whatever labels, and however many rows, each of them had.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from haloes.batches.collate import packed_rows, read_pair, sequences_of
from haloes.batches.pack import pack
from haloes.batches.schedule import Step
from haloes.losses._contract import Logps, Loss, LossOutput, Paired, Scored, Unpaired
from haloes.models.policy import Policy
from haloes.tokens.store import TokenStore
from haloes.training.ranks import Ranks
from haloes.training.scoring import Jobs, ReferenceTotals, bins_of, logps

Numbers = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Table:
    """A step's numbers, complete on every process."""

    step: Step
    sequences: NDArray[np.int64]
    """The step's sequences in the store: the examples, or all chosen and then all rejected completions."""
    weight: Numbers
    """Of each example; they add up to 1."""
    loss: Numbers
    """Of each example, unweighted."""
    metrics: Mapping[str, Numbers]
    """The loss's own, of each example."""
    logp: Numbers
    """log p_policy(y|x) of each sequence."""
    log_ratio: Numbers | None
    """log p_policy - log p_reference of each sequence; None for a loss without a reference."""
    mismatched: Numbers | None
    """log p_policy - log p_reference of (x, y') for each example; None for a loss without mismatched completions."""


@dataclass(frozen=True, slots=True)
class Stepper:
    """Works out steps of one policy, loss and data set."""

    policy: Policy
    loss: Loss[Any]
    store: TokenStore
    ranks: Ranks
    reference: ReferenceTotals | None
    """None where the loss needs no reference."""
    budget: int
    """Tokens of a micro-batch, at most."""
    most: int | None
    """Examples of a micro-batch, at most; None for no limit."""

    def run(self, step: Step, *, backward: bool) -> Table:
        """Work out a step's losses and, when asked to, leave the gradient of their weighted mean in the policy."""
        sequences = sequences_of(self.store, step.examples)
        micro_batches = self.ranks.share(self._micro_batches(step))
        own = np.sort(np.concatenate([np.empty(0, np.int64), *(self._rows(m, step) for m in micro_batches)]))
        reference, mismatched = self._references(step, sequences, own)
        weight = self.store.weight[sequences[: len(step.examples)]].astype(np.float64)
        weight /= weight.sum()
        names = metric_names(self.loss)
        filled = _Filled(
            logp=np.zeros(len(sequences)), loss=np.zeros((1 + len(names), len(step.examples))), names=names
        )
        for members in micro_batches:
            rows = self._rows(members, step)
            packed = packed_rows([self.store.read(int(i)) for i in sequences[rows]], self.policy.device)
            with torch.set_grad_enabled(backward):
                scores = logps(self.policy.token_logps(packed), packed)
                output = self.loss(self._batch(scores, sequences[rows], _at(reference, rows), mismatched))
                if backward:
                    mean = (output.per_example * self._tensor(weight[members], output.per_example)).sum()
                    torch.autograd.backward(mean)
            filled.add(members, rows, scores, output)
        self._sum(filled.logp, filled.loss)
        return Table(
            step=step,
            sequences=sequences,
            weight=weight,
            loss=filled.loss[0],
            metrics=dict(zip(names, filled.loss[1:], strict=True)),
            logp=filled.logp,
            log_ratio=None if reference is None else filled.logp - self._sum(reference),
            mismatched=mismatched,
        )

    def _micro_batches(self, step: Step) -> list[NDArray[np.int64]]:
        each = self.store.sequences_per_example
        lengths = [sum(self.store.length(int(i) * each + k) for k in range(each)) for i in step.examples]
        bins = pack(lengths, budget=self.budget, most=self.most, at_least=self.ranks.count)
        return [np.array(members) for members in bins]

    def _rows(self, members: NDArray[np.int64], step: Step) -> NDArray[np.int64]:
        """The rows of these examples among the step's sequences: themselves, or all chosen and then all rejected."""
        return np.concatenate([members, members + len(step.examples)]) if self.store.paired else members

    def _references(
        self, step: Step, sequences: NDArray[np.int64], own: NDArray[np.int64]
    ) -> tuple[Numbers | None, Numbers | None]:
        """This process's reference totals (zeros elsewhere), and the whole step's mismatched log-ratios."""
        if self.reference is None:
            return None, None
        matched = np.stack([sequences[own]] * 2, axis=1)
        jobs = np.stack([step.examples, step.mismatched], axis=1) if len(step.mismatched) else np.empty((0, 2), int)
        bins = self.ranks.share(bins_of(self.store, jobs, budget=self.budget, at_least=self.ranks.count))
        # One stream of (x, y) and (x, y') for what the cache does not hold.
        own_jobs = np.array(sorted(i for members in bins for i in members), np.int64)
        found = self.reference.of(self.store, np.concatenate([matched, jobs[own_jobs]]))
        reference = np.zeros(len(sequences))
        reference[own] = found[: len(own)]
        if not self.loss.needs.mismatched:
            return reference, None
        mismatched = np.zeros(len(step.examples))
        mismatched[own_jobs] = found[len(own) :]
        mismatched = self._policy_totals(jobs, bins) - mismatched
        self._sum(mismatched)
        return reference, mismatched

    def _policy_totals(self, jobs: Jobs, bins: list[list[int]]) -> Numbers:
        found = np.zeros(len(jobs))
        with self.policy.scoring():
            for members in bins:
                rows = [read_pair(self.store, int(x), int(y)) for x, y in jobs[members]]
                packed = packed_rows(rows, self.policy.device)
                found[members] = _numbers(logps(self.policy.token_logps(packed), packed).total())
        return found

    def _batch(
        self, scores: Logps, sequences: NDArray[np.int64], reference: Numbers | None, mismatched: Numbers | None
    ) -> Unpaired | Paired:
        token_T = scores.token_T
        reference_B = None if reference is None else self._tensor(reference, token_T)
        if self.store.paired:
            return paired(scores, reference_B)
        return Unpaired(
            Scored(scores, reference_B),
            torch.tensor(self.store.desirable[sequences], device=token_T.device),
            None if mismatched is None else self._tensor(mismatched, token_T),
        )

    def _tensor(self, values: Numbers, like: Tensor) -> Tensor:
        return torch.tensor(values, dtype=like.dtype, device=like.device)

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
    loss: Numbers
    names: tuple[str, ...]

    def add(self, members: NDArray[np.int64], rows: NDArray[np.int64], scores: Logps, output: LossOutput) -> None:
        self.logp[rows] = _numbers(scores.total())
        self.loss[0, members] = _numbers(output.per_example)
        for k, name in enumerate(self.names, start=1):
            self.loss[k, members] = _numbers(output.metrics[name])


def paired(scores: Logps, reference_B: Tensor | None) -> Paired:
    """Scores of all chosen and then all rejected completions as pairs."""
    pairs = len(scores.lengths_B) // 2
    tokens = int(scores.lengths_B[:pairs].sum())
    chosen = Logps(scores.token_T[:tokens], scores.lengths_B[:pairs])
    rejected = Logps(scores.token_T[tokens:], scores.lengths_B[pairs:])
    if reference_B is None:
        return Paired(Scored(chosen), Scored(rejected))
    return Paired(Scored(chosen, reference_B[:pairs]), Scored(rejected, reference_B[pairs:]))


def metric_names(loss: Loss[Any]) -> tuple[str, ...]:
    """The names of a loss's own metrics, found by calling it on one made-up example."""
    one, zero = torch.ones(1, dtype=torch.int64), torch.zeros(1)
    scored = Scored(Logps(torch.zeros(1), one), zero)
    batch = Paired(scored, scored) if loss.needs.pairs else Unpaired(scored, torch.tensor([True]), zero)
    return tuple(sorted(loss(batch).metrics))


def _at(numbers: Numbers | None, rows: NDArray[np.int64]) -> Numbers | None:
    return None if numbers is None else numbers[rows]


def _numbers(tensor: Tensor) -> Numbers:
    return tensor.detach().double().cpu().numpy()

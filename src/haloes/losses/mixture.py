"""A weighted sum of losses, such as DPO with SFT on the chosen completion (https://arxiv.org/abs/2404.19733, RPO)."""

from collections import Counter
from dataclasses import dataclass
from functools import reduce
from math import isfinite
from operator import or_
from typing import Any

import torch

from haloes.errors import ConfigError
from haloes.losses._contract import Loss, LossOutput, Needs, Paired, Unpaired, call_loss, declared_metrics


@dataclass(frozen=True, kw_only=True, slots=True)
class Mixture:
    """
    Several losses on the same batch, added up with weights.

        sum_k weight_k * loss_k

    On pairs, a loss on single completions takes the chosen completion, and if it learns from undesirable ones too, the
    mean over both completions of the pair. On single completions, a loss that learns from desirable ones alone is 0 for
    the others.
    """

    losses: tuple[Loss[Any], ...]
    """The parts."""
    weights: tuple[float, ...]
    """A weight for each part; they need not add up to 1."""

    def __post_init__(self) -> None:
        if not self.losses or len(self.losses) != len(self.weights):
            raise ConfigError(f"mixture: needs one weight a loss, got {len(self.losses)} and {len(self.weights)}")
        if not all(isfinite(weight) and weight >= 0 for weight in self.weights):
            raise ConfigError(f"mixture: weights must be finite numbers of at least 0, got {list(self.weights)}")
        pairs = any(loss.needs.pairs for loss in self.losses)
        if pairs and any(not loss.needs.pairs and _of_singles_alone(loss.needs) for loss in self.losses):
            raise ConfigError("mixture: a loss on pairs cannot be mixed with one that needs more of single completions")
        for name in ("control", "score_range"):
            _require_one(name, {getattr(loss.needs, name) for loss in self.losses} - {None})
        _require_one("sync_every", {loss.needs.sync_every for loss in self.losses if loss.needs.any_reference})

    @property
    def needs(self) -> Needs:
        """Return what all parts need together."""
        return reduce(or_, (loss.needs for loss in self.losses))

    @property
    def metrics(self) -> tuple[str, ...]:
        """Name the metrics of its parts and the loss of each, under the parts' names."""
        parts = zip(_names(self.losses), self.losses, strict=True)
        return tuple(sorted(f"{name}/{metric}" for name, loss in parts for metric in ("loss", *declared_metrics(loss))))

    def __call__(self, batch: Unpaired | Paired) -> LossOutput:
        outputs = [_call_part(loss, batch) for loss in self.losses]
        terms = [weight * out.per_example for weight, out in zip(self.weights, outputs, strict=True)]
        metrics = {}
        for name, out in zip(_names(self.losses), outputs, strict=True):
            metrics[f"{name}/loss"] = out.per_example.detach()
            metrics |= {f"{name}/{metric}": values for metric, values in out.metrics.items()}
        return LossOutput(per_example=torch.stack(terms).sum(0), metrics=metrics)


def _of_singles_alone(needs: Needs) -> bool:
    """Return whether anything is needed that a batch of pairs has no place for."""
    return any(need.singles_only for need in needs.declared())


def _require_one(name: str, wanted: set[Any]) -> None:
    """Raise ConfigError where parts want different things of what there is once: a prompt, a score, a reference."""
    if len(wanted) > 1:
        raise ConfigError(f"mixture: its parts want {name} to be {' and '.join(sorted(map(str, wanted)))}; make it one")


def _names(losses: tuple[Loss[Any], ...]) -> list[str]:
    """Name each part for its metrics: by its class, numbered from the second of a class on."""
    names = [type(loss).__name__.lower() for loss in losses]
    seen: Counter[str] = Counter()
    for i, name in enumerate(names):
        seen[name] += 1
        names[i] = name if seen[name] == 1 else f"{name}-{seen[name]}"
    return names


def _call_part(loss: Loss[Any], batch: Unpaired | Paired) -> LossOutput:
    """Call a part on the batch, or on the sides of its pairs if it is a loss on single completions."""
    if isinstance(batch, Paired) and loss.needs.pairs:
        return call_loss(loss, batch)
    if isinstance(batch, Unpaired):
        output = call_loss(loss, batch)
        # A loss for desirable completions alone is not asked about the others, though it was called on them.
        used_B = batch.desirable_B | loss.needs.undesirable
        return LossOutput(torch.where(used_B, output.per_example, 0), output.metrics)
    count, device = len(batch.chosen.policy.lengths_B), batch.chosen.policy.lengths_B.device
    # A loss on single completions sees each side of the pairs as a batch of one label.
    chosen = call_loss(loss, Unpaired(batch.chosen, torch.ones(count, dtype=torch.bool, device=device)))
    if not loss.needs.undesirable:
        return chosen
    rejected = call_loss(loss, Unpaired(batch.rejected, torch.zeros(count, dtype=torch.bool, device=device)))
    return LossOutput(
        (chosen.per_example + rejected.per_example) / 2,
        {name: (values + rejected.metrics[name]) / 2 for name, values in chosen.metrics.items()},
    )

"""From a step's numbers and gradient to new weights: nothing that is not finite reaches them."""

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from haloes.errors import RunError
from haloes.models.weight_shards import whole
from haloes.tokens.store import TokenStore
from haloes.training.distributed import Ranks
from haloes.training.optimizer import Masters
from haloes.training.step_table import Table


def seed_dropout(seed: int, step: int, ranks: Ranks) -> None:
    """Seed torch with what is particular to a step and process, so that there is no random state to save."""
    # Hashed together, so that neighbouring steps and ranks do not share their numbers. torch takes 63 bits.
    entropy = np.random.SeedSequence([seed, step, ranks.index]).generate_state(1, np.uint64)
    torch.manual_seed(int(entropy[0] >> 1))


def check_finite(table: Table, store: TokenStore) -> None:
    """Raise RunError at the first number that is not finite, naming the rows it comes from."""
    parts = [part for part in (table.logp, table.log_ratio, table.reward) if part is not None]
    own = np.sum(parts, axis=0)
    mismatched = np.empty(0) if table.mismatched is None else table.mismatched
    faulty = [
        table.sequences[~np.isfinite(own)],
        # Through the reference point one row spoils the loss of all: these count only where no row's own is at fault.
        table.step.mismatched[~np.isfinite(mismatched)],
        table.step.examples[~np.isfinite(table.loss)] * store.sequences_per_example,
    ]
    faults = next((sorted({int(i) for i in rows}) for rows in faulty if len(rows)), [])
    if faults:
        raise RunError(
            f"step {table.step.index + 1}: the loss or a log-probability is not finite for {len(faults)} row(s): "
            f"{', '.join(store.name(i) for i in faults[:8])}. {_what_is_left(table.step.index + 1)}. Look at these rows"
        )


def update(
    masters: Masters,
    optimizer: torch.optim.Optimizer,
    rate: float,
    max_norm: float,
    *,
    step: int,
) -> float:
    """Clip the gradients, summed over all processes, and take an optimizer step; return their norm before clipping."""
    masters.gradients()  # zeros where none arrived, so that moments do not depend on what came in a step
    # The norm of the whole step's gradient: clipped a process or a micro-batch at a time it would be another step.
    norm = _clip(masters, max_norm)
    if not np.isfinite(norm):
        raise RunError(
            f"step {step}: the gradient is not finite (norm {norm}) though every loss is. {_what_is_left(step)}, or "
            "compute in float32 (model.dtype)"
        )
    for group in optimizer.param_groups:
        group["lr"] = rate
    optimizer.step()
    masters.publish()
    masters.zero_grad()
    return norm


def _clip(masters: Masters, max_norm: float) -> float:
    """Scale the gradients down to a norm, and return the one that they had together."""
    kinds = [(weights, _norm(weights)) for weights in masters.kinds()]
    norm = torch.linalg.vector_norm(torch.stack([norm for _, norm in kinds])) if len(kinds) > 1 else kinds[0][1]
    for weights, _ in kinds:
        torch.nn.utils.clip_grads_with_norm_(weights, max_norm, norm)
    return float(norm)


def _norm(weights: Sequence[Tensor]) -> Tensor:
    """Return the norm of the weights' gradients, over all processes where they are shards."""
    return whole(torch.nn.utils.get_total_norm([weight.grad for weight in weights if weight.grad is not None]))


def _what_is_left(step: int) -> str:
    """Say what is known of the weights where a step, counted from 1, came to no number."""
    if step == 1:
        return "It is the first step: nothing was trained, and train.lr is not at fault"
    return (
        "The weights were not changed by it, and those of the last checkpoint are finite. That does not make them "
        "good: where the loss or the rewards had been running away, start anew with a lower train.lr"
    )

"""Per-step metrics, each a mean over the whole step, from its complete table."""

import math
from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from haloes.stats.bootstrap import Floats
from haloes.tokens.store import TokenStore
from haloes.training.step_table import Table


def step_metrics(table: Table, store: TokenStore, *, rounding: float = 0.0) -> dict[str, float]:
    """
    Return the numbers of one step by name.

    `reward` is the paper's r: the log-ratio log p_policy(y|x) - log p_reference(y|x) in nats, without beta, so that
    runs with different losses can be compared; it is given for desirable and undesirable (for pairs: chosen and
    rejected) completions apart. `model_reward` is what a reward head gives them. `reference_point/raw` is the mean of r
    over mismatched completions, before the clamp at 0: it counts every example alike, as the losses do.
    All other means count examples with their rows' weights, as the loss does.
    A number of a class that the step does not hold is left out. `rounding`: nats by which it moves the reward of an
    answer; above 0 the margin and the reference point have theirs beside them, `reward_margin/rounding` for one.
    """
    desirable = desirable_of(table, store)
    # The weights add up to 1 over the step: a product with them is the weighted mean.
    tokens = store.trained_length[table.sequences]
    # Of pairs the rejected ones follow the chosen ones, and both count as their pair does.
    weight = np.tile(table.weight, len(table.sequences) // len(table.weight))
    found = {"loss": float(table.weight @ table.loss)}
    found |= {name: float(table.weight @ values) for name, values in table.metrics.items()}
    if table.logp is not None:
        found |= _by_class("logp_per_token", table.logp / np.maximum(tokens, 1), desirable, weight)
    found |= _by_class("completion_tokens", tokens, desirable, weight)
    found |= class_rewards("reward", table.log_ratio, desirable, weight, rounding=rounding)
    found |= class_rewards("model_reward", table.reward, desirable, weight)
    if table.mismatched is not None:
        found |= reference_point_numbers(table.mismatched, rounding=rounding)
    return found


def class_rewards(
    name: str, values: Floats | None, desirable: NDArray[np.bool_], weight: Floats, *, rounding: float = 0.0
) -> dict[str, float]:
    """
    Return the weighted mean reward of each class and the margin between them; nothing without rewards.

    Args:
        name: of the reward.
        values: the reward of each answer, (n,).
        desirable: their labels, (n,).
        weight: their weights, (n,).
        rounding: nats by which it moves a reward; above 0, what it explains of the margin is given too.
    """
    found = {} if values is None else dict(_by_class(name, values, desirable, weight))
    if len(found) == 2:  # noqa: PLR2004 - both classes
        found[f"{name}_margin"] = found[f"{name}/desirable"] - found[f"{name}/undesirable"]
        if rounding:
            # Each answer is rounded by itself: what moves their means is the smaller, the more there are.
            shares = [weight[rows] / weight[rows].sum() for rows in (desirable, ~desirable)]
            found[f"{name}_margin/rounding"] = rounding * math.sqrt(sum(float(share @ share) for share in shares))
    return found


def reference_point_numbers(mismatched: Floats, *, rounding: float = 0.0) -> dict[str, float]:
    """Return z0 as used and before the clamp, whether that acted, the standard error, and what `rounding` explains."""
    raw = float(mismatched.mean())
    found = {"reference_point": max(0.0, raw), "reference_point/raw": raw, "reference_point/clamped": float(raw < 0)}
    if len(mismatched) > 1:
        found["reference_point/standard_error"] = float(mismatched.std(ddof=1) / np.sqrt(len(mismatched)))
    if rounding:
        found["reference_point/rounding"] = rounding / math.sqrt(len(mismatched))
    return found


def desirable_of(table: Table, store: TokenStore) -> NDArray[np.bool_]:
    """Return the label of each of the step's sequences, (S,)."""
    labels: NDArray[np.bool_] = store.desirable[table.sequences]
    return labels


def _by_class(
    name: str, values: NDArray[np.number], desirable: NDArray[np.bool_], weight: Floats
) -> Mapping[str, float]:
    """Return the weighted means of the two classes; one without a row that counts is left out."""
    classes = {"desirable": desirable, "undesirable": ~desirable}
    return {
        f"{name}/{label}": float(weight[rows] @ values[rows] / weight[rows].sum())
        for label, rows in classes.items()
        if weight[rows].any()
    }

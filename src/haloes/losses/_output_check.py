"""What a loss returns, looked at before anything is loaded: on a small made-up batch, and on its parts."""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from haloes.errors import ConfigError, MissingInputError, UserError
from haloes.losses._contract import (
    Logps,
    Loss,
    LossOutput,
    Needs,
    Paired,
    Scored,
    Unpaired,
    declared_metrics,
    metrics_line,
)
from haloes.losses._weights import with_weights

_LENGTHS = (2, 3, 1, 4, 2)
"""Tokens of the made-up completions: not as many as there are completions."""
_PARTS = ((0, 2, 4), (1,), (3,))
"""The same examples in three micro-batches: each is of one label, and two are of a single example."""
_MISMATCHED = (5, 6, 7)
_CLOSE = 1e-3
"""Relative, in float32: two orders of the same sum differ by far less, and two means over other examples by more."""


def check_output(loss: Loss[Any], device: torch.device | None = None) -> None:
    """
    Make sure that a loss returns a finite list of what the trainer averages: a number an example, and its metrics.

    Two batches are made up: five examples at once, and the same five in parts. Where a loss gives an example another
    number among others than by itself, and does not declare `whole_step`, the way in which a step is divided to fit the
    memory would decide what is learnt.

    Args:
        loss: any loss.
        device: where it will be called; the CPU if left out.

    Raises:
        ConfigError: it returns something else; the message says what to return in its place.
    """
    # Counted from the data later; here any number will do.
    loss = with_weights(loss, desirable=1.0, undesirable=1.0)
    every = range(len(_LENGTHS))
    with torch.random.fork_rng(devices=[]):
        whole = _called(loss, every, device)
        parts = [_called(loss, rows, device) for rows in _PARTS]
        again = _called(loss, every, device)
    if loss.needs.whole_step or not _same(whole, again):  # one that draws numbers cannot be compared with itself
        return
    for rows, part in zip(_PARTS, parts, strict=True):
        for row, alone, among in zip(rows, part.tolist(), whole[list(rows)].tolist(), strict=True):
            if not _same(torch.tensor(alone), torch.tensor(among)):
                raise ConfigError(
                    f"loss: the number that {type(loss).__name__} gives an example depends on the others in its "
                    f"micro-batch (example {row + 1}: {among:.6g} among {len(every)}, {alone:.6g} among {len(rows)}), "
                    f"so that the size of micro-batches would change what is learnt. {_instead_of_means(loss.needs)}"
                )


def _called(loss: Loss[Any], rows: Sequence[int], device: torch.device | None) -> Tensor:
    """Return what a loss gives each example; raise ConfigError where that is not what the contract says."""
    name = type(loss).__name__
    try:
        output: Any = loss(_batch(loss.needs, rows, device))
    except MissingInputError as error:
        raise ConfigError(f"loss: {name}: {error}; declare it, as in needs = Needs(reference=True)") from error
    except UserError:
        raise
    except (Exception, SystemExit) as error:  # whatever the user's own code raises
        raise ConfigError(
            f"loss: {name} failed on a batch of {len(rows)} made-up examples ({type(error).__name__}: {error})"
        ) from error
    if not isinstance(output, LossOutput):
        raise ConfigError(
            f"loss: {name} returns a value of the type {type(output).__name__}; return "
            "haloes.LossOutput(per_example=...), with a number an example"
        )
    tokens = sum(_LENGTHS[row] for row in rows)
    _check_shape(loss, "per_example", output.per_example, len(rows), tokens)
    if not output.per_example.requires_grad:
        raise ConfigError(
            f"loss: {name} returns numbers without a gradient, from which nothing can be learnt; take them from the "
            "batch's log-probabilities without detach(), item() or no_grad()"
        )
    _check_metrics(loss, output, rows, tokens)
    return output.per_example.detach().cpu().double()


def _check_metrics(loss: Loss[Any], output: LossOutput, rows: Sequence[int], tokens: int) -> None:
    """Raise ConfigError where a batch has other metrics than the loss declares, or no number an example in them."""
    name = type(loss).__name__
    declared, returned = set(declared_metrics(loss)), set(output.metrics)
    if returned != declared:
        missing = sorted(declared - returned)
        if missing and returned <= declared:
            raise ConfigError(
                f'loss: {name} declares the metric "{missing[0]}" and leaves it out of a batch of {_described(rows)}; '
                "return it always, such as zeros where it does not apply"
            )
        raise ConfigError(
            f"loss: {name} returns the metrics {_listed(returned)} and declares {_listed(declared)}; write "
            f"{metrics_line(sorted(returned | declared))} in its class"
        )
    for metric, values in output.metrics.items():
        _check_shape(loss, f'the metric "{metric}"', values, len(rows), tokens)


def _check_shape(loss: Loss[Any], what: str, value: Any, count: int, tokens: int) -> None:
    """Raise ConfigError, with what to return instead, where a value is no floating-point number an example."""
    name = type(loss).__name__
    if not isinstance(value, Tensor):
        raise ConfigError(f"loss: {name} returns {what} as {type(value).__name__}; return a tensor of shape (B,)")
    if value.shape == (count,) and value.is_floating_point():
        return
    side = "batch.chosen" if loss.needs.pairs else "batch.completions"
    if value.shape == (count,):
        instead = "return floating-point numbers, such as values.float()"
    elif value.shape == (tokens,):
        instead = f"these are numbers a token: sum them up by example with {side}.policy.sums(values)"
    elif value.numel() == 1:
        instead = "this is one number for all: leave mean(), sum() or the index out, the trainer averages by itself"
    elif value.numel() == count:
        instead = "reshape it with values.reshape(-1)"
    else:
        instead = "return a number an example"
    shape = tuple(value.shape)
    raise ConfigError(
        f"loss: {name} returns {what} of shape {shape} and {value.dtype} for {count} examples of {tokens} tokens, and "
        f"it has to be ({count},): {instead}"
    )


def _instead_of_means(needs: Needs) -> str:
    if needs.pairs:
        return "Return a number that each pair has by itself: leave means over the batch out"
    return (
        "Leave means over the batch out (the step's mean log-ratio of mismatched answers is batch.reference_point()), "
        "or declare Needs(whole_step=True)"
    )


def _described(rows: Sequence[int]) -> str:
    kinds = {row % 2 == 0 for row in rows}
    labels = (
        "both labels" if len(kinds) > 1 else "desirable ones alone" if kinds == {True} else "undesirable ones alone"
    )
    return f"{len(rows)} made-up examples ({labels})"


def _listed(names: set[str]) -> str:
    return ", ".join(f'"{name}"' for name in sorted(names)) or "none"


def _same(one: Tensor, other: Tensor) -> bool:
    return torch.allclose(one, other, rtol=_CLOSE, atol=_CLOSE, equal_nan=True)


def _batch(needs: Needs, rows: Sequence[int], device: torch.device | None) -> Unpaired | Paired:
    """Return a batch of some of the made-up examples, such as a loss with these needs is given."""
    completions = _scored(rows, device, gradient=True)
    if needs.pairs:
        rejected = _scored([row + len(_LENGTHS) for row in rows], device, gradient=True)
        return needs.narrow(Paired(completions, rejected, _tensor([0.5 + row for row in rows], device)))
    low, high = needs.score_range or (-1.0, 1.0)
    liked = [row % 2 == 0 or not needs.undesirable for row in rows]
    scores = [
        low + (high - low) * (0.6 + 0.05 * row if good else 0.05 * row) for row, good in zip(rows, liked, strict=True)
    ]
    batch = Unpaired(
        completions,
        torch.tensor(liked, device=device),
        mismatched=_scored(_MISMATCHED, device, gradient=False),
        score_B=_tensor(scores, device),
        running_reward=torch.tensor(0.1, device=device),
    )
    return needs.narrow(batch)


def _scored(rows: Sequence[int], device: torch.device | None, *, gradient: bool) -> Scored:
    """Return completions under policy and reference, whose numbers follow from their rows alone."""
    lengths = [_LENGTHS[row % len(_LENGTHS)] for row in rows]
    # The fractional parts of multiples of the golden ratio: scattered, and the same everywhere.
    part_T = [
        (0.618034 * (7 * row + t + 1)) % 1 for row, length in zip(rows, lengths, strict=True) for t in range(length)
    ]
    policy_T = [-0.1 - 1.9 * part for part in part_T]
    reference_T = [value - (0.7 - (3 * part) % 1) for value, part in zip(policy_T, part_T, strict=True)]
    leaf_T = _tensor(policy_T, device).requires_grad_(gradient)
    logps = Logps(leaf_T, torch.tensor(lengths, device=device))
    return Scored(
        logps,
        reference_B=logps.sums(_tensor(reference_T, device)),
        reference_T=_tensor(reference_T, device),
        collision_T=_tensor([-0.2 - part for part in part_T], device),
        reference_kl_T=_tensor([0.1 + part for part in part_T], device).requires_grad_(gradient),
        value_T=_tensor([part - 0.5 for part in part_T], device).requires_grad_(gradient),
        reward_B=_tensor([(0.618034 * (row + 1)) % 1 - 0.5 for row in rows], device).requires_grad_(gradient),
    )


def _tensor(values: Sequence[float], device: torch.device | None) -> Tensor:
    return torch.tensor(values, dtype=torch.float32, device=device)

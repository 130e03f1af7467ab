"""
Log-probabilities of target tokens from hidden states, without ever holding the full logits.

The head is applied to a chunk of positions at a time, forward and backward; the softmax is computed in float32 whatever
the compute dtype. A frozen head needs no weight gradient, and its gradient for the hidden states is linear in the
incoming one, so that it is made in the forward pass and nothing is computed twice.
"""

from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import torch
from torch import Tensor

CHUNK_BYTES = 64 * 2**20
"""Size of one chunk of float32 logits: with less of it, products with a vocabulary of 50,000 become slower on a
CPU."""


@dataclass(frozen=True, slots=True)
class Head:
    """The last layer of a language model: `softcap * tanh(scale * (W h + b) / softcap)`, without a softcap if None."""

    weight_VH: Tensor
    bias_V: Tensor | None = None
    scale: float = 1.0
    softcap: float | None = None


def target_logps(hidden_NH: Tensor, head: Head, target_N: Tensor) -> Tensor:
    """
    Return the log-probability of each target token, (N,) in float32, differentiable in hidden states and head.

    Args:
        hidden_NH: the hidden states that predict the targets, in the compute dtype.
        head: the output layer.
        target_N: token ids.
    """
    wants_grad = torch.is_grad_enabled() and (hidden_NH.requires_grad or head.weight_VH.requires_grad)
    logp_N: Tensor = _TargetLogps.apply(  # type: ignore[no-untyped-call]
        hidden_NH, head.weight_VH, head.bias_V, target_N, head.scale, head.softcap, wants_grad
    )
    return logp_N


class _TargetLogps(torch.autograd.Function):
    """Chunked log-softmax and gather; see `target_logps`."""

    @staticmethod
    def forward(  # noqa: PLR0917 - autograd passes arguments by position
        ctx: Any,
        hidden_NH: Tensor,
        weight_VH: Tensor,
        bias_V: Tensor | None,
        target_N: Tensor,
        scale: float,
        softcap: float | None,
        wants_grad: bool,
    ) -> Tensor:
        """Compute the log-probabilities chunk by chunk, and with a frozen head the slopes of each, (N, H)."""
        head = Head(weight_VH, bias_V, scale, softcap)
        bias_wants_grad = bias_V is not None and bias_V.requires_grad
        frozen = not (weight_VH.requires_grad or bias_wants_grad)
        logp_N = torch.empty(len(target_N), dtype=torch.float32, device=hidden_NH.device)
        lse_N = torch.empty_like(logp_N)
        # Slopes for an incoming gradient of one: (N, H) numbers are kept instead of hidden states of the same size, and
        # the backward pass is left with a product by row, without the logits a second time.
        unit_NH = torch.empty_like(hidden_NH) if wants_grad and frozen else None
        for part in chunks(len(target_N), weight_VH.shape[0]):
            logits = logits_of(hidden_NH[part], head)
            picked = logits.gather(1, target_N[part, None]).squeeze(1)
            if unit_NH is None:
                # The target's logit was taken out before, so that the chunk may be overwritten.
                lse_N[part] = _logsumexp_(logits)
            else:
                lse_N[part] = torch.logsumexp(logits, dim=-1)
                ones = torch.ones_like(picked)
                unit_NH[part] = _logit_grad(logits, lse_N[part], target_N[part], ones, head) @ weight_VH
            logp_N[part] = picked - lse_N[part]
        ctx.head, ctx.frozen, ctx.bias_wants_grad = head, frozen, bias_wants_grad
        ctx.save_for_backward(unit_NH if frozen else hidden_NH, target_N, lse_N)
        return logp_N

    @staticmethod
    def backward(ctx: Any, grad_N: Tensor) -> tuple[Tensor | None, ...]:
        """Return the gradients of hidden states, weight and bias, from logits that are computed a second time."""
        saved_NH, target_N, lse_N = ctx.saved_tensors
        if ctx.frozen:
            return grad_N[:, None].to(saved_NH.dtype) * saved_NH, None, None, None, None, None, None
        head: Head = ctx.head
        weight_VH = head.weight_VH
        hidden_grad = torch.empty_like(saved_NH)
        # In float32 over all chunks: sums of many small terms, of which bfloat16 would lose the later ones.
        weight_grad = torch.zeros_like(weight_VH, dtype=torch.float32)
        bias_grad = weight_grad.new_zeros(len(weight_VH)) if ctx.bias_wants_grad else None
        for part in chunks(len(target_N), weight_VH.shape[0]):
            logits = logits_of(saved_NH[part], head)
            grad = _logit_grad(logits, lse_N[part], target_N[part], grad_N[part], head)
            hidden_grad[part] = grad @ weight_VH
            _add_product(weight_grad, grad.T, saved_NH[part])
            if bias_grad is not None:
                bias_grad += grad.sum(0, dtype=torch.float32)
        return (
            hidden_grad,
            weight_grad.to(weight_VH.dtype),
            None if bias_grad is None or head.bias_V is None else bias_grad.to(head.bias_V.dtype),
            None,
            None,
            None,
            None,
        )


def chunks(rows: int, vocabulary: int) -> list[slice]:
    """Cut positions into chunks of about one size, as few as keep their float32 logits within `CHUNK_BYTES`."""
    count = -(-rows // max(1, CHUNK_BYTES // (4 * vocabulary)))
    ends = [rows * i // max(count, 1) for i in range(count + 1)]
    return [slice(start, end) for start, end in pairwise(ends)]


def logits_of(hidden_CH: Tensor, head: Head) -> Tensor:
    """Return the logits of one chunk of positions, (C, V) in float32."""
    # The product in the compute dtype, where the time goes; from there on float32, where the digits are lost.
    logits = (hidden_CH @ head.weight_VH.T).float()
    if head.bias_V is not None:
        logits += head.bias_V.float()
    if head.scale != 1.0:
        logits *= head.scale
    if head.softcap is None:
        return logits
    if logits.requires_grad:
        # Not in place: autograd takes the slope of tanh from its result, and under checkpointing it would not notice.
        return torch.tanh(logits / head.softcap) * head.softcap
    return logits.div_(head.softcap).tanh_().mul_(head.softcap)


def _logsumexp_(logits: Tensor) -> Tensor:
    """Return the log of the sum of exponentials of each row, (C,); overwrites `logits`, to need no second chunk."""
    most_C1 = logits.amax(dim=-1, keepdim=True)
    return logits.sub_(most_C1).exp_().sum(dim=-1).log_() + most_C1.squeeze(1)


def _logit_grad(logits: Tensor, lse_C: Tensor, target_C: Tensor, grad_C: Tensor, head: Head) -> Tensor:
    """
    Return d(sum of grad * logp) / d(W h + b), (C, V) in the head's dtype; overwrites `logits`.

    Before cap and scale that is grad * (onehot(target) - softmax); the cap multiplies it by 1 - (logit / cap)^2.
    """
    # From the logits themselves, before they become the softmax in place.
    slope = None if head.softcap is None else (1 - (logits / head.softcap) ** 2) * head.scale
    grad = logits.sub_(lse_C[:, None]).exp_().mul_(-grad_C[:, None])
    grad.scatter_add_(1, target_C[:, None], grad_C[:, None])
    if slope is not None:
        grad *= slope
    elif head.scale != 1.0:
        grad *= head.scale
    return grad.to(head.weight_VH.dtype)


def _add_product(total: Tensor, left: Tensor, right: Tensor) -> None:
    """Add left @ right to total (float32), without a copy of its size where the dtypes allow."""
    if left.dtype == total.dtype:
        total.addmm_(left, right)
    else:
        total += left @ right

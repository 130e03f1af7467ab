"""Unlikelihood training (Welleck et al., 2019, https://arxiv.org/abs/1908.04319)."""

from dataclasses import dataclass
from math import inf, log
from typing import ClassVar

import torch
from torch import Tensor

from haloes.errors import ConfigError
from haloes.losses._about import About
from haloes.losses._contract import LossOutput, Needs, Unpaired


@dataclass(frozen=True, kw_only=True, slots=True)
class Unlikelihood:
    """
    Likelihood for desirable completions, and for undesirable ones that each of their tokens should not have come.

    With `p_t` the policy's probability of the completion's token at `t`, summed over its tokens:

        desirable:    -sum_t log p_t
        undesirable:  -alpha * sum_t log(1 - p_t)

    The paper's sequence-level loss (eq. 5) with every token of an undesirable completion as its only negative
    candidate, as Li et al. (2020, arXiv 1911.03860) apply it to labelled answers. The authors' code keeps 1 - p_t above
    1e-20, and 1e-5 for negative candidates by token; here the precision of the numbers is its floor.
    """

    needs: ClassVar[Needs] = Needs()
    metrics: ClassVar[tuple[str, ...]] = ("nll_per_token",)
    about: ClassVar[About] = About(
        title="Unlikelihood training",
        source="Welleck et al., ICLR 2020, arXiv 1908.04319, eq. 5; Li et al., ACL 2020, arXiv 1911.03860",
        reward="log p_policy of each token",
        reference_point="none",
        value="identity for desirable tokens, -log(1 - p) for undesirable ones",
        use="Bad answers, without a reference model; tokens that have become unlikely are left in peace.",
    )

    alpha: float = 1.0
    """Weight of undesirable completions; the paper weighs both terms alike."""

    def __post_init__(self) -> None:
        if not 0 < self.alpha < inf:
            raise ConfigError(f"unlikelihood: alpha must be positive and finite, got {self.alpha}")

    def __call__(self, batch: Unpaired) -> LossOutput:
        policy = batch.completions.policy
        against_B = -self.alpha * policy.sums(_log_one_minus_exp(policy.token_T))
        loss_B = torch.where(batch.desirable_B, -policy.total(), against_B)
        return LossOutput(per_example=loss_B, metrics={"nll_per_token": -policy.average().detach()})


def _log_one_minus_exp(logp_T: Tensor) -> Tensor:
    """Return log(1 - p) from log p, exact at both ends (Maechler, 2012); p is at most 1 less the dtype's precision."""
    logp_T = logp_T.clamp(max=-torch.finfo(logp_T.dtype).eps)
    # log(-expm1(x)) is exact for p near 1, log1p(-exp(x)) for small p; they change over at p = 1/2.
    return torch.where(logp_T > -log(2), torch.log(-torch.expm1(logp_T)), torch.log1p(-torch.exp(logp_T)))

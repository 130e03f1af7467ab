"""Noise Contrastive Alignment, on pairs (Chen et al., NeurIPS 2024, https://arxiv.org/abs/2402.05369)."""

from dataclasses import dataclass
from math import inf
from typing import ClassVar

from torch.nn.functional import logsigmoid

from haloes.errors import ConfigError
from haloes.losses._about import About
from haloes.losses._contract import LossOutput, Needs, Paired


@dataclass(frozen=True, kw_only=True, slots=True)
class NCA:
    """
    Tell the chosen completion from noise, of which both completions are samples; each is judged on its own.

    With `r = log p_policy(y|x) - log p_reference(y|x)` (section 4.1, two completions; the paper's alpha is beta here;
    checked against TRL, to which the authors refer):

        -log sigmoid(beta * r_chosen) - log sigmoid(-beta * r_chosen) / 2 - log sigmoid(-beta * r_rejected) / 2

    It looks at the likelihood of each completion, not at their difference: that of the chosen one is driven up to
    `beta * r_chosen = log 2`, where DPO lets it fall as long as the other falls faster.
    """

    needs: ClassVar[Needs] = Needs(pairs=True, reference=True)
    metrics: ClassVar[tuple[str, ...]] = ("accuracy",)
    about: ClassVar[About] = About(
        title="Noise Contrastive Alignment (pairs)",
        source="Chen et al., NeurIPS 2024, arXiv 2402.05369, section 4.1",
        reward="log p_policy(y|x) - log p_reference(y|x)",
        reference_point="0, the reference's own likelihood",
        value="log-sigmoid of the chosen reward, less half a softplus of both",
        use="Pairs, where the chosen answer must not become less likely (reasoning, mathematics).",
    )

    beta: float = 0.01
    """Scale of the log-ratios; 0.01 in the authors' training commands."""

    def __post_init__(self) -> None:
        if not 0 < self.beta < inf:
            raise ConfigError(f"nca: beta must be positive and finite, got {self.beta}")

    def __call__(self, batch: Paired) -> LossOutput:
        chosen_B = self.beta * batch.chosen.log_ratio()
        rejected_B = self.beta * batch.rejected.log_ratio()
        accuracy_B = (chosen_B.detach() > rejected_B.detach()).to(chosen_B.dtype)
        # Both completions are samples of the noise, the chosen one too: it is pulled both ways, and stops at log 2.
        noise_B = 0.5 * (logsigmoid(-chosen_B) + logsigmoid(-rejected_B))
        return LossOutput(per_example=-logsigmoid(chosen_B) - noise_B, metrics={"accuracy": accuracy_B})

"""Self-Play Preference Optimization, hard labels (Wu et al., ICLR 2025, https://arxiv.org/abs/2405.00675)."""

from dataclasses import dataclass
from math import inf
from typing import ClassVar

from haloes.errors import ConfigError
from haloes.losses._about import About
from haloes.losses._contract import LossOutput, Needs, Paired


@dataclass(frozen=True, kw_only=True, slots=True)
class SPPO:
    """
    Bring the reward of the chosen completion to a fixed gain, and that of the rejected one to as large a loss.

    With `r = log p_policy(y|x) - log p_reference(y|x)` (eq. 4.7 with the win rate of a completion, which the paper
    estimates with a preference model, set to 1 for the chosen and 0 for the rejected; `beta = 1 / eta`):

        (r_chosen - 1 / (2 * beta)) ** 2 + (r_rejected + 1 / (2 * beta)) ** 2

    The reference is the policy of the round before. Checked against TRL's `sppo_hard`, and the authors' code,
    which takes half of this.
    """

    needs: ClassVar[Needs] = Needs(pairs=True, reference=True)
    metrics: ClassVar[tuple[str, ...]] = ("accuracy",)
    about: ClassVar[About] = About(
        title="Self-Play Preference Optimization (hard labels)",
        source="Wu et al., ICLR 2025, arXiv 2405.00675, eq. 4.7",
        reward="log p_policy(y|x) - log p_reference(y|x)",
        reference_point="1 / (2 beta) for the chosen completion, -1 / (2 beta) for the rejected one",
        value="minus the squared distance",
        use="Rounds of answers sampled from the policy and ranked by a preference model; the best against the worst.",
    )

    beta: float = 0.001
    """The gain aimed at is 1 / (2 beta), in nats; 0.001 (eta = 1000) in the authors' code."""

    def __post_init__(self) -> None:
        if not 0 < self.beta < inf:
            raise ConfigError(f"sppo: beta must be positive and finite, got {self.beta}")

    def __call__(self, batch: Paired) -> LossOutput:
        chosen_B = batch.chosen.log_ratio()
        rejected_B = batch.rejected.log_ratio()
        accuracy_B = (chosen_B.detach() > rejected_B.detach()).to(chosen_B.dtype)
        # The winner's probability of winning is taken as 1 and the loser's as 0: 1/2 above and below an even chance.
        gain = 0.5 / self.beta
        return LossOutput(
            per_example=(chosen_B - gain) ** 2 + (rejected_B + gain) ** 2, metrics={"accuracy": accuracy_B}
        )

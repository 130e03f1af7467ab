"""Identity Preference Optimization (Gheshlaghi Azar et al., AISTATS 2024, https://arxiv.org/abs/2310.12036)."""

from dataclasses import dataclass
from math import inf
from typing import ClassVar

from haloes.errors import ConfigError
from haloes.losses._about import About
from haloes.losses._contract import LossOutput, Needs, Paired


@dataclass(frozen=True, kw_only=True, slots=True)
class IPO:
    """
    Bring the margin between the rewards of the chosen and the rejected completion to a fixed width, and no further.

    With `r = log p_policy(y|x) - log p_reference(y|x)` (eq. 17 of v2, as the DPO authors' code
    cites it; its tau is beta here):

        (r_chosen - r_rejected - 1 / (2 * beta)) ** 2

    As in the paper, r is summed over the tokens. TRL divides each r by its completion's number of tokens, which it says
    the authors confirmed: that is this loss on length-normalised scores, and its beta is then on another scale.
    """

    needs: ClassVar[Needs] = Needs(pairs=True, reference=True)
    metrics: ClassVar[tuple[str, ...]] = ("accuracy",)
    about: ClassVar[About] = About(
        title="Identity Preference Optimization",
        source="Gheshlaghi Azar et al., AISTATS 2024, arXiv 2310.12036, eq. 17",
        reward="log p_policy(y|x) - log p_reference(y|x)",
        reference_point="the reward of the rejected completion of the same pair",
        value="minus the squared distance to 1 / (2 beta): falls again beyond it",
        use="Pairs without noise, on which DPO would widen the margin without end.",
    )

    beta: float = 0.1
    """The margin aimed at is 1 / (2 beta), in nats: 5 with 0.1, which is DPO's default (the paper names none)."""

    def __post_init__(self) -> None:
        if not 0 < self.beta < inf:
            raise ConfigError(f"ipo: beta must be positive and finite, got {self.beta}")

    def __call__(self, batch: Paired) -> LossOutput:
        margin_B = batch.chosen.log_ratio() - batch.rejected.log_ratio()
        accuracy_B = (margin_B.detach() > 0).to(margin_B.dtype)
        return LossOutput(per_example=(margin_B - 0.5 / self.beta) ** 2, metrics={"accuracy": accuracy_B})

"""A reward model from pairs, by the model of Bradley and Terry (Ouyang et al., 2022, https://arxiv.org/abs/2203.02155)."""

from dataclasses import dataclass
from math import inf
from typing import ClassVar

from torch.nn.functional import logsigmoid

from haloes.errors import ConfigError
from haloes.losses._about import About
from haloes.losses._contract import LossOutput, Needs, Paired


@dataclass(frozen=True, kw_only=True, slots=True)
class BradleyTerry:
    """
    Train a reward model: give the chosen completion of a pair a higher reward than the rejected one.

    With `r` the number that a head reads from the hidden state of a completion's last token, and `m` by how much the
    human found the chosen completion better:

        -log sigmoid(r_chosen - r_rejected - margin * m) + center * (r_chosen + r_rejected)^2

    Without the last two terms it is eq. 1 of InstructGPT; with margin = 1 and m from the raters' scale it is eq. 2 of
    Llama 2 (arXiv 2307.09288), and the last term is eq. 2 of Eisenstein et al. (arXiv 2312.09244): pairs say nothing of
    where rewards lie, and it draws them towards 0. The result is a sequence classifier, and no language model any more.
    """

    metrics: ClassVar[tuple[str, ...]] = ("accuracy",)
    about: ClassVar[About] = About(
        title="Bradley-Terry reward model",
        source="Ouyang et al., NeurIPS 2022, arXiv 2203.02155, eq. 1; margin: arXiv 2307.09288, eq. 2; center: "
        "arXiv 2312.09244, eq. 2",
        reward="a head on the hidden state of the last token",
        reference_point="the reward of the rejected completion of the same pair",
        value="log-sigmoid: concave everywhere",
        use="Pairs, for a judge of answers rather than a model that gives them: `haloes judge`, `haloes online`.",
    )

    margin: float = 0.0
    """How far apart rewards should be for each unit by which the chosen completion is better (the pairs' `margin`, or
    the difference of their scores); Llama 2 takes 1. At 0 the pairs need say nothing of it."""
    center: float = 0.0
    """How strongly the two rewards of a pair are drawn towards a sum of 0; TRL recommends 0.01."""

    def __post_init__(self) -> None:
        for name, value in (("margin", self.margin), ("center", self.center)):
            if not 0 <= value < inf:
                raise ConfigError(f"bradley_terry: {name} must be a finite number of at least 0, got {value}")

    @property
    def needs(self) -> Needs:
        """Ask for pairs and a reward head, and for their margins where those count."""
        return Needs(pairs=True, logps=False, rewards=True, margins=self.margin > 0)

    def __call__(self, batch: Paired) -> LossOutput:
        chosen_B, rejected_B = batch.chosen.reward(), batch.rejected.reward()
        apart_B = chosen_B - rejected_B
        beyond_B = apart_B - self.margin * batch.margins() if self.margin > 0 else apart_B
        loss_B = self.center * (chosen_B + rejected_B) ** 2 - logsigmoid(beyond_B)
        # A tie counts as half right.
        accuracy_B = (apart_B.detach().sign() + 1) / 2
        return LossOutput(per_example=loss_B, metrics={"accuracy": accuracy_B})

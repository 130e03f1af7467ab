"""Direct Reward Optimisation (Richemond et al., 2024, https://arxiv.org/abs/2405.19107), with a constant baseline."""

from dataclasses import dataclass
from math import inf, isfinite
from typing import ClassVar

from haloes.errors import ConfigError
from haloes.losses._about import About
from haloes.losses._contract import LossOutput, Needs, Unpaired


@dataclass(frozen=True, kw_only=True, slots=True)
class DRO:
    """
    Fit the implied reward to the human's score of the completion, above a baseline.

    With `r = log p_policy(y|x) - log p_reference(y|x)` and the score `s`, +1 or -1 by the label where there is none:

        1/2 (s - baseline - tau r)^2

    The paper's V(x), the value of the prompt, is a constant here and a value head in `dro_value`. The gradient is tau
    times that of -(s - baseline) log p_policy + tau/2 r^2, the form in which Tinker has it, token by token.
    """

    needs: ClassVar[Needs] = Needs(reference=True, scores=True)
    metrics: ClassVar[tuple[str, ...]] = ()
    about: ClassVar[About] = About(
        title="Direct Reward Optimisation with a constant baseline",
        source="Richemond et al., 2024, arXiv 2405.19107 (through a reader's notes and two implementations)",
        reward="tau * (log p_policy(y|x) - log p_reference(y|x))",
        reference_point="the score less the baseline",
        value="squared error",
        use="Scores, one answer a prompt, where the same score means the same for all prompts.",
    )

    tau: float = 1.0
    """How strongly the policy is held to the reference; the best of 0.1, 1 and 5 in the paper, for scores near 1."""
    baseline: float = 0.0
    """The score of an answer that is to stay as likely as it is, in the scores' own unit."""

    def __post_init__(self) -> None:
        if not 0 < self.tau < inf:
            raise ConfigError(f"dro: tau must be positive and finite, got {self.tau}")
        if not isfinite(self.baseline):
            raise ConfigError(f"dro: baseline must be finite, got {self.baseline}")

    def __call__(self, batch: Unpaired) -> LossOutput:
        error_B = batch.scores() - self.baseline - self.tau * batch.completions.log_ratio()
        return LossOutput(per_example=error_B**2 / 2)

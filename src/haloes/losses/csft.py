"""Conditional supervised finetuning (Korbak et al., 2023, https://arxiv.org/abs/2302.08582)."""

from dataclasses import dataclass
from typing import ClassVar

from haloes.errors import ConfigError
from haloes.losses._about import About
from haloes.losses._contract import LossOutput, Needs, Unpaired


@dataclass(frozen=True, kw_only=True, slots=True)
class CSFT:
    """
    Learn good and bad completions alike, each after a control token that says which it is; sample after the good one.

    With `c` the control token of the completion's label, which stands between prompt and completion and is not itself
    predicted (as in the KTO paper's baseline and its code), summed over the completion's tokens:

        -log p_policy(y | x, c)

    Not a human-aware loss: it is cross entropy, without reference point or value function. The control tokens are
    ordinary text to a tokenizer that does not know them; the authors add them to the vocabulary.
    """

    metrics: ClassVar[tuple[str, ...]] = ("nll_per_token",)
    about: ClassVar[About] = About(
        title="Conditional supervised finetuning",
        source="Korbak et al., ICML 2023, arXiv 2302.08582; as a baseline in Ethayarajh et al., ICML 2024, section 3.3",
        reward="log p_policy(y|x, control token)",
        reference_point="none",
        value="identity",
        use="Learns from bad answers without pushing a probability down; prompts need the control token ever after.",
    )

    desirable_token: str = "<|good|>"  # noqa: S105 - a control token, not a password
    """Stands before desirable completions, and is sampled with; Korbak et al.'s and the KTO paper's."""
    undesirable_token: str = "<|bad|>"  # noqa: S105 - as above
    """Stands before undesirable completions."""

    def __post_init__(self) -> None:
        for name, token in (("desirable_token", self.desirable_token), ("undesirable_token", self.undesirable_token)):
            if not token.strip():
                raise ConfigError(f"csft: {name} must be a text to tell the labels apart by, got {token!r}")
        if self.desirable_token == self.undesirable_token:
            raise ConfigError(
                f"csft: desirable_token and undesirable_token must differ, got {self.desirable_token!r} twice"
            )

    @property
    def needs(self) -> Needs:
        """Ask for the control tokens; for both labels, but for nothing of the label beyond its token."""
        return Needs(control=(self.desirable_token, self.undesirable_token))

    def __call__(self, batch: Unpaired) -> LossOutput:
        policy = batch.completions.policy
        return LossOutput(per_example=-policy.total(), metrics={"nll_per_token": -policy.average().detach()})

"""The learning rate where the settings leave it open: from what is trained, the model's width and the run's steps."""

from dataclasses import dataclass
from math import sqrt

from haloes.losses._contract import Needs
from haloes.training.settings import Optimizer

_WIDTH = 4096
"""Hidden size of the models of 8B weights (Llama 3) that the KTO paper's recommendation is for."""
_POWER = 0.15
"""Between the powers of the width that "LoRA Without Regret" fitted: 0.08 for Qwen3, 0.78 for Llama. The upper one
gives a 135M model 3e-4 for 57 steps of KTO, after which it had one answer to every prompt; this one 9e-5, at which
answers change and stay whole (LOG.md)."""
_ADAPTERS, _ALPHA = 10.0, 32.0
"""Adapters take 10 times the rate of all weights, at any width and rank, where alpha is 32 ("LoRA Without Regret")."""
_SHORT_RUN, _MOST = 100, 1.5
"""Under about 100 steps adapters take up to 15 times the rate of all weights in place of 10, says the same source."""
_EXAMPLES = 32
"""Of a step in the KTO paper's runs."""
_RMSPROP = 0.1
"""The paper's comparisons have 5e-7 with RMSprop, its recommendation 5e-6 with AdamW. RMSprop's moments start at zero
and are not corrected for it, so that its first steps are up to ten times as long."""


@dataclass(frozen=True, slots=True)
class ChosenRate:
    """A peak learning rate, and why it is that."""

    value: float
    why: str


def choose_rate(
    needs: Needs, *, width: int, lora_alpha: float | None, optimizer: Optimizer, num_steps: int, batch_size: int
) -> ChosenRate:
    """
    Return the peak learning rate of a run, to two digits.

        base * adapters * (4096 / width)^0.15 * short * batch * optimizer

    `base` is for all weights of an 8B model with AdamW: 5e-6 for losses on single answers (KTO paper, Table 1), 1e-6
    for pairs (the paper: DPO's optimum is 2 to 10 times lower; TRL's default for DPO), 2e-5 for the likelihood of good
    answers or of answers under control texts (TRL's default for SFT), 1e-5 for reward models, whose head starts at zero
    (TRL's documentation). `adapters` is 10 * 32 / alpha, or 1 where all weights are trained. `short` is
    sqrt(100 / steps), between 1 and 1.5. `batch` is sqrt(examples of a step / 32) for fewer than the paper's 32: the
    square-root rule of adaptive optimizers (Malladi et al., "On the SDEs and Scaling Rules for Adaptive Gradient
    Algorithms", NeurIPS 2022); for more it is 1, as the paper has one rate for 8 to 128. For RMSprop it is a tenth.

    Source of the factors: Schulman et al., "LoRA Without Regret", 2025, https://thinkingmachines.ai/blog/lora/; its
    sweeps were of SFT. `haloes plan --find-lr` measures instead.

    Args:
        needs: what the loss needs.
        width: the model's hidden size.
        lora_alpha: `model.lora.alpha`; None where all weights are trained.
        optimizer: `train.optimizer`.
        num_steps: steps of the run.
        batch_size: examples of a step.
    """
    base, of_what = _base(needs)
    factors = [] if lora_alpha is None else [(_ADAPTERS * _ALPHA / lora_alpha, "adapters")]
    factors += [
        ((_WIDTH / width) ** _POWER, f"a width of {width:,}"),
        (min(_MOST, max(1.0, sqrt(_SHORT_RUN / num_steps))), f"{num_steps:,} steps"),
        (sqrt(min(batch_size, _EXAMPLES) / _EXAMPLES), f"{batch_size:,} examples a step"),
        (_RMSPROP if optimizer == "rmsprop" else 1.0, "RMSprop"),
    ]
    value = base
    for factor, _ in factors:
        value *= factor
    reasons = ", ".join(f"x {factor:.3g} for {what}" for factor, what in factors if factor != 1)
    why = f"{base:g} for all weights of an 8B model ({of_what})" + (f", {reasons}" if reasons else "")
    return ChosenRate(float(f"{value:.2g}"), why)


def _base(needs: Needs) -> tuple[float, str]:
    """Return the rate for all weights of an 8B model with AdamW, and in a few words whose it is."""
    if needs.rewards:
        return 1e-5, "TRL's for reward models"
    if needs.control is not None or not needs.undesirable:
        return 2e-5, "TRL's for likelihood"
    if needs.pairs:
        return 1e-6, "TRL's for DPO"
    return 5e-6, "KTO paper, Table 1"

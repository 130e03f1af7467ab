"""The smallest effect that a sample of a given size can show: to be known before the judge is asked."""

import math

from haloes.errors import ConfigError
from haloes.stats.bootstrap import normal_quantile


def smallest_win_rate_difference(
    num_prompts: int,
    *,
    tie_share: float = 0.0,
    rows_per_prompt: int = 1,
    correlation: float = 1.0,
    alpha: float = 0.05,
    power: float = 0.8,
) -> float | None:
    """
    Solve for the smallest distance d from 0.5 that a two-sided test at `alpha` finds with probability `power`.

    The sample-size formula of a share (Fleiss, Levin and Paik, 2003, section 2.4), solved for d: with n prompts and the
    per-prompt variance v(d) = (1 - tie_share) / 4 - d^2,

        d sqrt(n) = z(1 - alpha/2) sqrt(v(0)) + z(power) sqrt(v(d))

    Several seeds a prompt help as far as they differ: the variance of their mean is (1 + (m - 1) correlation) / m of
    one seed's.

    Args:
        num_prompts: how many prompts will be judged.
        tie_share: the share of ties that is expected; ties lower the variance.
        rows_per_prompt: comparisons (seeds) a prompt.
        correlation: that of verdicts within a prompt, in [0, 1]; 1, the cautious choice, gives seeds no credit.
        alpha: the two-sided false alarm rate.
        power: the probability of finding a difference that large.

    Returns:
        A number in (0, 0.5], or None where no win rate would be found so often.

    Raises:
        ConfigError: an argument is out of range.
    """
    from scipy.optimize import brentq

    _require_in_range(num_prompts, alpha, power)
    if not 0 <= tie_share < 1 or not 0 <= correlation <= 1 or rows_per_prompt < 1:
        raise ConfigError(
            f"power: tie_share must be in [0, 1), correlation in [0, 1] and rows_per_prompt at least 1, got "
            f"{tie_share}, {correlation} and {rows_per_prompt}"
        )
    # The exact sign test of prompts that all go one way has p = 2 / 2^n.
    if 2 * 0.5 ** (num_prompts * (1 - tie_share)) > alpha:
        return None
    worth = num_prompts * rows_per_prompt / (1 + (rows_per_prompt - 1) * correlation)
    decided = (1 - tie_share) / 4
    z_alpha, z_power = normal_quantile(1 - alpha / 2), normal_quantile(power)

    def excess(difference: float) -> float:
        # Under the alternative the rate is off one half, and its variance is smaller by d^2.
        spread = math.sqrt(max(0.0, decided - difference**2))
        return difference * math.sqrt(worth) - z_alpha * math.sqrt(decided) - z_power * spread

    limit = (1 - tie_share) / 2  # every prompt that is no tie is won
    return None if excess(limit) < 0 else float(brentq(excess, 0.0, limit))


def describe_win_rate_power(num_prompts: int) -> str:
    """Return in words which win rates so many prompts show with `smallest_win_rate_difference`'s error rates."""
    smallest = smallest_win_rate_difference(num_prompts)
    if smallest is None:
        return f"{num_prompts} prompts are too few to show any difference"
    return (
        f"{num_prompts} prompts show a win rate (in 4 of 5 tries) if it is {0.5 + smallest:.0%} or more, "
        f"or {0.5 - smallest:.0%} or less"
    )


def smallest_paired_difference(
    num_prompts: int, *, standard_deviation: float, alpha: float = 0.05, power: float = 0.8
) -> float:
    """
    Compute the smallest mean difference that a paired two-sided test finds: (z(1 - alpha/2) + z(power)) * sd / sqrt(n).

    Args:
        num_prompts: how many prompts both sides answer.
        standard_deviation: standard deviation of the prompts' differences; it sets the unit of the result.
        alpha: the two-sided false alarm rate.
        power: the probability of finding a difference that large.

    Raises:
        ConfigError: an argument is out of range.
    """
    _require_in_range(num_prompts, alpha, power)
    if not 0 <= standard_deviation < math.inf:
        raise ConfigError(f"power: standard_deviation must be a finite number, at least 0, got {standard_deviation}")
    z = normal_quantile(1 - alpha / 2) + normal_quantile(power)
    return z * standard_deviation / math.sqrt(num_prompts)


def _require_in_range(num_prompts: int, alpha: float, power: float) -> None:
    if num_prompts < 1:
        raise ConfigError(f"power: num_prompts must be at least 1, got {num_prompts}")
    if not 0 < alpha < 1 or not alpha < power < 1:
        raise ConfigError(f"power: alpha must be in (0, 1) and power between alpha and 1, got {alpha} and {power}")

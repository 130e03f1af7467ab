"""Class weights that compensate an imbalance of labels: the paper's rule (KTO, later version, eq. 9)."""

from dataclasses import dataclass

from haloes.errors import ConfigError

LOWEST_RATIO = 1.0
"""Lower end of the paper's interval for `desirable_weight * n_D / (undesirable_weight * n_U)`."""
HIGHEST_RATIO = 1.5
"""Upper end of that interval; 4/3 in the paper's first version."""

# Weights that were computed to meet an end of the interval must count as inside it.
_ROUNDING = 1e-9


@dataclass(frozen=True, slots=True, kw_only=True)
class ClassWeights:
    """Factors on the loss of desirable and of undesirable examples."""

    desirable: float = 1.0
    undesirable: float = 1.0


def class_weights(num_desirable: float, num_undesirable: float) -> ClassWeights:
    """
    Return the weights nearest to 1 that bring the ratio into [1, 3/2], at least one of the two being 1.

    Inside the interval nothing changes. Below it, desirable examples are weighted up to a ratio of exactly 1;
    above it, undesirable examples up to a ratio of exactly 3/2. With one label only there is nothing to balance.

    Args:
        num_desirable: Number of desirable examples, each counted with its row's weight, as the loss counts it.
        num_undesirable: The same for undesirable examples.

    Raises:
        ConfigError: A count is negative or not a number.
    """
    _check_counts(num_desirable, num_undesirable)
    if num_desirable == 0 or num_undesirable == 0:
        return ClassWeights()
    unweighted = num_desirable / num_undesirable
    if unweighted < LOWEST_RATIO:
        return ClassWeights(desirable=LOWEST_RATIO * num_undesirable / num_desirable)
    if unweighted > HIGHEST_RATIO:
        return ClassWeights(undesirable=num_desirable / (HIGHEST_RATIO * num_undesirable))
    return ClassWeights()


def ratio(num_desirable: float, num_undesirable: float, weights: ClassWeights | None = None) -> float | None:
    """
    Return eq. 9's `desirable_weight * n_D / (undesirable_weight * n_U)`; None unless both labels occur and count.

    Arguments as in `class_weights`; weights of 1 and 1 if left out.
    """
    _check_counts(num_desirable, num_undesirable)
    weights = weights or ClassWeights()
    if num_desirable * weights.desirable == 0 or num_undesirable * weights.undesirable == 0:
        return None
    return (weights.desirable * num_desirable) / (weights.undesirable * num_undesirable)


def is_in_paper_range(value: float) -> bool:
    """Return whether a ratio lies in the paper's interval [1, 3/2], up to rounding."""
    return LOWEST_RATIO - _ROUNDING <= value <= HIGHEST_RATIO + _ROUNDING


def _check_counts(num_desirable: float, num_undesirable: float) -> None:
    for name, count in (("desirable", num_desirable), ("undesirable", num_undesirable)):
        if not 0 <= count < float("inf"):
            raise ConfigError(f"class weights: the number of {name} examples must be 0 or more, got {count}")

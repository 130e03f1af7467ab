"""
The interval of an AUC and of a difference of two: the one place where their uncertainty is computed.

Chosen by simulation among the percentile bootstrap, DeLong's on the logit scale, and variants of what stands here
(`design/014-auc-and-length.md`; `benchmarks/coverage.py` runs it again): Newcombe's score interval, whose variance
follows from the AUC alone and so holds with three rows of a class, is corrected by what many rows show of the spread
(DeLong) and by what rows of one prompt have in common (Obuchowski).
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from math import sqrt

import numpy as np
from numpy.typing import NDArray

from haloes.stats.bootstrap import Codes, Floats, t_quantile

# Shapes: N rows, C prompts.

_TRUSTED_FROM = 20
"""Prompts of the smaller class from which the observed spread counts for more than Newcombe's model of it."""
_SMALLEST_DESIGN_EFFECT = 0.1


@dataclass(frozen=True, kw_only=True)
class Comparisons:
    """What a score made of the comparisons of desirable with undesirable rows."""

    label_N: NDArray[np.bool_]
    codes_N: Codes
    """The prompt of each row."""
    wins_N: Floats
    """How many comparisons of a row the desirable side won, ties counting half."""
    count_N: Floats
    """How many comparisons a row was in; where these have weights, the sums of those."""

    @cached_property
    def num(self) -> float:
        """Return the number of comparisons."""
        return float(self.count_N[self.label_N].sum())

    @cached_property
    def value(self) -> float:
        """Return the share that the desirable side won: the AUC."""
        return float(self.wins_N[self.label_N].sum()) / self.num

    @cached_property
    def influence(self) -> Floats:
        """Return how far each row moves the AUC: DeLong's structural components (Biometrics 44, 1988, 837-845)."""
        return np.asarray((self.wins_N - self.value * self.count_N) / self.num, dtype=np.float64)

    @property
    def is_certain(self) -> bool:
        """Return whether every comparison is a tie, as with a reward that is constant: there is nothing to sample."""
        return bool((self.wins_N == self.count_N / 2).all())

    @cached_property
    def degrees_of_freedom(self) -> float:
        """Return those of the t distribution: between the number of prompts and their number if all were as large."""
        share_C = self.of_prompts(self.count_N) / self.num
        prompts = int(np.count_nonzero(share_C))
        # Kish's effective number alone is too careful where one prompt has half of the rows, the plain one too bold.
        return max(1.0, sqrt(prompts * share_C.sum() ** 2 / (share_C @ share_C)) - 1)

    @cached_property
    def num_prompts(self) -> float:
        """Return the effective number of prompts of the smaller class."""
        return min(_effective(self.of_prompts(self.count_N * side_N)) for side_N in self._sides)

    def variance(self, value: float) -> float:
        """Return the variance of the observed AUC if the true one were `value`."""
        return self._modelled(value) * self._factor

    @property
    def _sides(self) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
        return self.label_N, ~self.label_N

    def of_prompts(self, value_N: Floats) -> Floats:
        """Return the sum of the rows' values in each prompt."""
        return np.asarray(np.bincount(self.codes_N, weights=value_N), dtype=np.float64)

    def _modelled(self, value: float) -> float:
        """
        Return Newcombe's variance of an AUC (method 5; Stat. Med. 25, 2006, 559-573) for independent rows.

        It is Hanley and McNeil's with the mean of both terms in place of each, here for any choice of comparisons: two
        that share a row depend on each other, and how many do follows from the effective numbers of rows.
        """
        dependence = (1 - value) / (2 - value) + value / (1 + value)
        return value * (1 - value) * (1 / self.num + self._shared * dependence)

    @cached_property
    def _shared(self) -> float:
        """Return the share of pairs of comparisons that have a row in common, beyond the pairs of one with itself."""
        rows = [_effective(self.count_N[side_N]) for side_N in self._sides]
        return max(0.0, (1 / rows[0] + 1 / rows[1]) / 2 - 1 / self.num)

    @cached_property
    def _factor(self) -> float:
        """Return what the rows show beyond the model: the spread of their scores, and what prompts have in common."""
        variances, sizes = [], []
        for side_N in self._sides:
            count_N, count_C = self.count_N[side_N], self.of_prompts(self.count_N * side_N)
            influence_N, influence_C = self.influence[side_N], self.of_prompts(self.influence * side_N)
            independent = float(influence_N @ influence_N) * _small_sample(count_N)
            clustered = float(influence_C @ influence_C) * _small_sample(count_C)
            variances.append((independent, clustered, influence_C))
            sizes.append(_effective(count_N) / _effective(count_C))
        (good, good_clustered, good_C), (bad, bad_clustered, bad_C) = variances
        independent = good + bad
        # Where no row moves the AUC, as at 0 and 1, nothing is seen: the model's spread, and prompts of equal rows.
        if not independent:
            return max(1.0, *sizes)
        common = 2 * float(good_C @ bad_C) * _small_sample(self.of_prompts(self.count_N))
        clustered = good_clustered + bad_clustered + common
        design_effect = min(max(clustered / independent, _SMALLEST_DESIGN_EFFECT), max(1.0, *sizes))
        trust = self.num_prompts / (self.num_prompts + _TRUSTED_FROM)
        modelled = self._modelled(min(max(self.value, 1e-9), 1 - 1e-9))
        return float(design_effect * (1 + trust * (independent / modelled - 1)))


def all_comparisons(score_N: Floats, label_N: NDArray[np.bool_], codes_N: Codes) -> Comparisons:
    """Compare every desirable row with every undesirable one."""
    below_N = average_ranks(score_N)
    # A rank among all rows less that among the own class counts the rows of the other class below, ties half.
    for side_N in (label_N, ~label_N):
        below_N[side_N] -= average_ranks(score_N[side_N])
    num_desirable, num_undesirable = int(label_N.sum()), int((~label_N).sum())
    return Comparisons(
        label_N=label_N,
        codes_N=codes_N,
        wins_N=np.where(label_N, below_N, num_desirable - below_N),
        count_N=np.where(label_N, float(num_undesirable), float(num_desirable)),
    )


def mean_comparisons(sides: Sequence[Comparisons]) -> Comparisons:
    """Return the comparisons whose AUC is the mean of these ones', all of the same rows, such as a model's seeds."""
    return replace(sides[0], wins_N=np.mean([side.wins_N for side in sides], axis=0))


def average_ranks(value_N: Floats) -> Floats:
    """Return the rank of each value from 1; equal values share the mean of the ranks that they take up."""
    _, place_N, count_V = np.unique(value_N, return_inverse=True, return_counts=True)
    rank_V = np.cumsum(count_V) - (count_V - 1) / 2
    return np.asarray(rank_V[place_N], dtype=np.float64)


def auc_interval(comparisons: Comparisons, level: float) -> tuple[float, float]:
    """Return the AUCs from which the observed one is t standard errors off, on either side."""
    return _limits(comparisons, t_quantile((1 + level) / 2, comparisons.degrees_of_freedom))


def difference_interval(first: Comparisons, second: Comparisons, level: float) -> tuple[float, float]:
    """Return the interval of the second AUC less the first, both on the same comparisons of the same rows."""
    return _difference_limits(first, second, t_quantile((1 + level) / 2, _degrees_of_freedom(first, second)))


def difference_p_value(first: Comparisons, second: Comparisons) -> float:
    """Return 1 less the level of the interval of the difference that ends at zero: the p-value that goes with it."""
    from scipy.optimize import brentq
    from scipy.special import stdtr

    difference = second.value - first.value
    if not difference:
        return 1.0

    def nearest_end(t: float) -> float:
        low, high = _difference_limits(first, second, t)
        return low if difference > 0 else -high

    largest = 1e3
    t = largest if nearest_end(largest) > 0 else float(brentq(nearest_end, 0.0, largest, xtol=1e-6))
    return float(2 * stdtr(_degrees_of_freedom(first, second), -t))


def _degrees_of_freedom(first: Comparisons, second: Comparisons) -> float:
    return min(first.degrees_of_freedom, second.degrees_of_freedom)


def _difference_limits(first: Comparisons, second: Comparisons, t: float) -> tuple[float, float]:
    """
    Combine the two AUCs' own limits with their correlation: Zou and Donner's MOVER (Stat. Med. 27, 2008, 1693-1702).

    The limits are not symmetric, so that an AUC near 1 reaches further down than up, and so does the difference.
    """
    difference = second.value - first.value
    influences = [side.of_prompts(side.influence) for side in (first, second)]
    # The same ranking twice has no difference to be unsure of; two perfect ones show none, which is something else.
    if influences[0].any() and np.array_equal(influences[0], influences[1]):
        return difference, difference
    (low, high), (other_low, other_high) = _limits(first, t), _limits(second, t)
    correlation = _correlation(*influences, num_prompts=min(first.num_prompts, second.num_prompts))

    def distance(one: float, other: float) -> float:
        return sqrt(max(0.0, one**2 + other**2 - 2 * correlation * one * other))

    return (
        difference - distance(second.value - other_low, high - first.value),
        difference + distance(other_high - second.value, first.value - low),
    )


def _correlation(one_C: Floats, other_C: Floats, *, num_prompts: float) -> float:
    """Return the correlation of two AUCs, less what a few prompts overstate it by."""
    norm = sqrt(float(one_C @ one_C) * float(other_C @ other_C))
    if not norm:
        return 0.0
    found = min(1.0, max(-1.0, float(one_C @ other_C) / norm))
    # Found by simulation: with three rows of a class the correlation as it is makes differences look too sure.
    return max(-1.0, found - 2 * (1 - found**2) / num_prompts)


def _limits(comparisons: Comparisons, t: float) -> tuple[float, float]:
    value = comparisons.value
    if comparisons.is_certain or not t:
        return value, value

    def excess(theta: float) -> float:
        return (theta - value) ** 2 - t**2 * comparisons.variance(theta)

    # A root is searched on each side of the value, and at 0 and 1 one of the two sides is empty.
    inside = min(max(value, 1e-9), 1 - 1e-9)
    return (
        0.0 if value <= 0 else _root(excess, 0.0, inside),
        1.0 if value >= 1 else _root(excess, 1.0, inside),
    )


def _root(excess: Callable[[float], float], bound: float, inside: float) -> float:
    """Return where the excess turns negative on the way from a bound of the AUC to the observed value."""
    from scipy.optimize import brentq

    # So few standard errors that the value itself, moved off its bound, is further away than they are.
    return inside if excess(inside) >= 0 else float(brentq(excess, bound, inside))


def _effective(count: Floats) -> float:
    """Return Kish's effective number: of equal counts their number, of very unequal ones little more than one."""
    return float(count.sum() ** 2 / (count @ count))


def _small_sample(count: Floats) -> float:
    """Return n / (n - 1), which makes the mean square of n residuals an unbiased variance; n is where counts are."""
    number = int(np.count_nonzero(count))
    return number / max(number - 1, 1)

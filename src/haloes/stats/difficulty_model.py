"""
The model behind `shared_difficulty`: prompts differ in difficulty, and lengths tell of it.

With system s, prompt x, the length term l_sx = tanh((baseline length - length) / sd_s) and its mean m_x over systems:

    logit P(s preferred on x) = theta_s + phi_s l_sx + g_x
    g_x = gamma (m_x - mean) + sum_s delta_s (l_sx - mean_s) / S_x + tau z_x,    z_x ~ N(0, 1)

A difficulty may go with the lengths of the prompt's answers: that is the part with gamma and delta (Mundlak,
Econometrica 46, 1978, 69-85; Chamberlain's 1982 form lets each system's lengths tell something of their own).
What is left of it, z_x, is integrated out on a grid. So phi_s is learnt from answers to the same prompt. Difficulties
that are fitted as one more coefficient of each prompt, as stood here before, are shrunk to 0, and length then takes
what is left: intervals covered 59 to 86 %.

Priors: theta, gamma ~ N(0, 5^2); phi_s ~ N(mu, 0.5^2) around the judge's taste mu ~ N(0, 5^2); delta_s ~ N(0, 3^2);
log tau ~ N(log 1.5, 1).
"""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

import numpy as np

from haloes.stats.bootstrap import Codes, Floats
from haloes.stats.logistic import sigmoid
from haloes.stats.penalised import PenalisedFit, fit_without_each

# Shapes: N rows, S systems, C prompts, Z points of the grid, G = 1 + S ways in which lengths tell of difficulty,
# K = 2 S + G + 1 coefficients: theta_S, phi_S, gamma and delta_S, log tau.

PRIOR_SD = 5.0
"""Prior standard deviation of theta, gamma and the judge's taste: those of AlpacaEval lie between -4.2 and 2."""
TASTE_SD = 0.5
"""Prior standard deviation of a system's phi around the judge's. Those that AlpacaEval published lie 0.4 apart."""
DEVIATION_SD = 3.0
"""Prior standard deviation of delta: with 0, systems of which some grow longer with easy prompts cover 87 to 93 %."""
SPREAD, SPREAD_SD = 1.5, 1.0
"""Middle of the prior of tau, AlpacaEval's spread of difficulties, and the standard deviation of its logarithm."""
_STEPS = 100
_HALVINGS = 30
_SMALL = 1e-9
_LAST_STEP = 1e-6
_LONGEST_STEP = 3.0
_CHUNK = 2_000_000
"""Numbers held at a time: prompts x points x coefficients."""


@dataclass(frozen=True, slots=True, kw_only=True)
class JudgedRows:
    """Comparisons of several systems on the same prompts, sorted by prompt and by system within it."""

    share_N: Floats
    weight_N: Floats
    """How much a row counts: 0 where it has no preference."""
    length_N: Floats
    """tanh of the standardised difference of length."""
    system_N: Codes
    prompt_N: Codes
    num_systems: int


class _Part(NamedTuple):
    """The rows of some prompts, one after the other."""

    share_N: Floats
    weight_N: Floats
    length_N: Floats
    system_N: Codes
    prompt_N: Codes
    """Numbered from 0."""
    told_CG: Floats


class _Moments(NamedTuple):
    """What a part of the rows says at some coefficients."""

    log_likelihood: float
    gradient_CK: Floats
    """Of the log-likelihood of each prompt."""
    curvature_CKK: Floats
    """Of the negative log-likelihood of each prompt; all of them in one where they were asked for together."""


@dataclass(frozen=True)
class DifficultyModel:
    """The log-posterior of such rows."""

    rows: JudgedRows

    @cached_property
    def told(self) -> Floats:
        """What each prompt's lengths may tell of its difficulty (C, G), each column with a mean of 0."""
        rows = self.rows
        num, num_prompts = rows.num_systems, int(rows.prompt_N[-1]) + 1
        cell_N = rows.prompt_N * num + rows.system_N
        count_CS = np.bincount(cell_N, minlength=num_prompts * num).reshape(num_prompts, num)
        total_CS = np.bincount(cell_N, rows.length_N, num_prompts * num).reshape(num_prompts, num)
        length_CS = total_CS / np.maximum(count_CS, 1)
        has_CS = count_CS > 0
        present_C = has_CS.sum(axis=1)
        mean_S = length_CS.sum(axis=0) / np.maximum(has_CS.sum(axis=0), 1)
        mean_C = length_CS.sum(axis=1) / present_C
        own_CS = np.where(has_CS, length_CS - mean_S, 0) / present_C[:, None]
        return np.column_stack([mean_C - mean_C.mean(), own_CS])

    @cached_property
    def grid(self) -> Floats:
        """The points (Z,) at which what is left of a difficulty is taken: closer where many systems tell of it."""
        half = int(np.ceil(8 * max(1.0, np.sqrt(self.rows.num_systems / 6))))
        return np.linspace(-4, 4, 2 * half + 1)

    @cached_property
    def density(self) -> Floats:
        """The standard normal distribution on the grid (Z,)."""
        density_Z = np.exp(-(self.grid**2) / 2)
        return np.asarray(density_Z / density_Z.sum())

    @cached_property
    def precision(self) -> Floats:
        """Precision of the priors (K, K)."""
        num = self.rows.num_systems
        precision_KK = np.diag([PRIOR_SD**-2] * (2 * num + 1) + [DEVIATION_SD**-2] * num + [SPREAD_SD**-2])
        # phi = mu + d with d ~ N(0, TASTE_SD^2) and mu ~ N(0, PRIOR_SD^2): mu is integrated out.
        precision_KK[num : 2 * num, num : 2 * num] = np.linalg.inv(TASTE_SD**2 * np.eye(num) + PRIOR_SD**2)
        return precision_KK

    @cached_property
    def start(self) -> Floats:
        """Middle of the priors (K,)."""
        start_K = np.zeros(len(self.precision))
        start_K[-1] = np.log(SPREAD)
        return start_K

    def maximum(self) -> Floats:
        """Return the coefficients where the log-posterior is highest, by Newton's method with step halving."""
        coefficient_K = self.start
        value, gradient_K, curvature_KK = self._posterior(coefficient_K)
        for _ in range(_STEPS):
            # In log tau the posterior is not concave everywhere: a step along a direction that bends upwards is turned.
            bend_K, axis_KK = np.linalg.eigh(curvature_KK)
            step_K = axis_KK @ ((axis_KK.T @ gradient_K) / np.maximum(np.abs(bend_K), _SMALL))
            step_K *= min(1.0, _LONGEST_STEP / np.abs(step_K).max(initial=_SMALL))
            for _ in range(_HALVINGS):
                tried, gradient_K, curvature_KK = self._posterior(coefficient_K + step_K)
                if tried >= value - _SMALL * abs(value):
                    break
                step_K = step_K / 2
            coefficient_K, value = coefficient_K + step_K, tried
            if np.abs(step_K).max() < _LAST_STEP:
                break
        return coefficient_K

    def described(self, coefficient_K: Floats) -> PenalisedFit:
        """Return how the maximum depends on each prompt and on the priors."""
        total_KK = self._posterior(coefficient_K)[2]

        def parts() -> Iterator[tuple[Floats, Floats]]:
            for part in self._parts():
                found = self._moments(part, coefficient_K, by_prompt=True)
                yield from zip(found.gradient_CK, found.curvature_CKK, strict=True)

        # Without a prompt the gradient of the rest is minus its own: the change is that of a step against it.
        return fit_without_each(((-gradient_K, curved) for gradient_K, curved in parts()), total_KK, self.precision)

    def rate(self, coefficient_K: Floats, system: int) -> tuple[float, Floats, Floats]:
        """
        Return a system's rate at equal length over its prompts, its slope, and how it changes without each prompt.

        The slope is that by each coefficient; the changes are those of the mean, the coefficients staying as they are.
        """
        num, tau = self.rows.num_systems, np.exp(coefficient_K[-1])
        is_own_C = np.zeros(len(self.told), dtype=bool)
        is_own_C[self.rows.prompt_N[self.rows.system_N == system]] = True
        told_CG = self.told[is_own_C]
        linear_C = coefficient_K[system] + told_CG @ coefficient_K[2 * num : -1]
        chance_CZ = sigmoid(linear_C[:, None] + tau * self.grid)
        chance_C = chance_CZ @ self.density
        bent_CZ = chance_CZ * (1 - chance_CZ) * self.density
        bent_C = bent_CZ.sum(axis=1)
        slope_K = np.zeros_like(coefficient_K)
        slope_K[system] = bent_C.mean()
        slope_K[2 * num : -1] = bent_C @ told_CG / len(told_CG)
        slope_K[-1] = (bent_CZ @ (tau * self.grid)).mean()
        value = float(chance_C.mean())
        own_C = np.zeros(len(is_own_C))
        own_C[is_own_C] = (value - chance_C) / max(len(chance_C) - 1, 1)
        return value, slope_K, own_C

    def _posterior(self, coefficient_K: Floats) -> tuple[float, Floats, Floats]:
        """Return the log-posterior, its gradient, and the curvature of its negative."""
        apart_K = coefficient_K - self.start
        pull_K = self.precision @ apart_K
        value, gradient_K, curvature_KK = -float(apart_K @ pull_K) / 2, -pull_K, self.precision.copy()
        for part in self._parts():
            found = self._moments(part, coefficient_K, by_prompt=False)
            value += found.log_likelihood
            gradient_K = gradient_K + found.gradient_CK.sum(axis=0)
            curvature_KK += found.curvature_CKK[0]
        return value, gradient_K, curvature_KK

    def _parts(self) -> Iterator[_Part]:
        rows, num_prompts = self.rows, len(self.told)
        at_once = max(1, _CHUNK // (len(self.grid) * len(self.start)))
        for start in range(0, num_prompts, at_once):
            stop = min(num_prompts, start + at_once)
            own = slice(*np.searchsorted(rows.prompt_N, [start, stop]))
            yield _Part(
                rows.share_N[own],
                rows.weight_N[own],
                rows.length_N[own],
                rows.system_N[own],
                rows.prompt_N[own] - start,
                self.told[start:stop],
            )

    def _moments(self, part: _Part, coefficient_K: Floats, *, by_prompt: bool) -> _Moments:
        """Return the log-likelihood of some prompts and its derivatives, by Louis' formula (1982)."""
        num, tau_Z = self.rows.num_systems, np.exp(coefficient_K[-1]) * self.grid
        first_C = np.searchsorted(part.prompt_N, np.arange(len(part.told_CG)))
        linear_N = (
            coefficient_K[part.system_N]
            + coefficient_K[num + part.system_N] * part.length_N
            + (part.told_CG @ coefficient_K[2 * num : -1])[part.prompt_N]
        )
        logit_NZ = linear_N[:, None] + tau_Z
        entropy_NZ = part.weight_N[:, None] * (np.logaddexp(0, logit_NZ) - part.share_N[:, None] * logit_NZ)
        joint_CZ = np.log(self.density) - np.add.reduceat(entropy_NZ, first_C, axis=0)
        highest_C1 = joint_CZ.max(axis=1, keepdims=True)
        posterior_CZ = np.exp(joint_CZ - highest_C1)
        total_C1 = posterior_CZ.sum(axis=1, keepdims=True)
        posterior_CZ /= total_C1
        chance_NZ = sigmoid(logit_NZ)
        pull_CZK = self._pulls(part, part.weight_N[:, None] * (part.share_N[:, None] - chance_NZ), tau_Z)
        gradient_CK = np.einsum("cz,czk->ck", posterior_CZ, pull_CZK)
        # What was seen of a prompt leaves its difficulty open: the spread of the pulls is taken off the curvature.
        spread_CZK = (pull_CZK - gradient_CK[:, None]) * np.sqrt(posterior_CZ)[:, :, None]
        bent_NZ = part.weight_N[:, None] * chance_NZ * (1 - chance_NZ) * posterior_CZ[part.prompt_N]
        features_NK = self._features(part)
        curved_NK = features_NK * bent_NZ.sum(axis=1)[:, None]
        curved_NK[:, -1] = bent_NZ @ tau_Z
        corner_N = bent_NZ @ tau_Z**2
        # The last pull is tau z times the sum of errors, whose derivative by log tau has a part of its own.
        own_C = gradient_CK[:, -1]

        def curvature(prompts: slice, rows: slice) -> Floats:
            features, curved = features_NK[rows], curved_NK[rows]
            found_KK = features.T @ curved
            found_KK[-1] = found_KK[:, -1]
            found_KK[-1, -1] = corner_N[rows].sum() - own_C[prompts].sum()
            spread = spread_CZK[prompts].reshape(-1, len(coefficient_K))
            return np.asarray(found_KK - spread.T @ spread)

        last_C = np.append(first_C[1:], len(part.share_N))
        ends = zip(first_C.tolist(), last_C.tolist(), strict=True)
        asked = (
            [(slice(c, c + 1), slice(a, b)) for c, (a, b) in enumerate(ends)]
            if by_prompt
            else [(slice(None), slice(None))]
        )
        return _Moments(
            float((highest_C1 + np.log(total_C1)).sum()),
            gradient_CK,
            np.array([curvature(prompts, rows) for prompts, rows in asked]),
        )

    def _pulls(self, part: _Part, error_NZ: Floats, tau_Z: Floats) -> Floats:
        """Return the gradient of each prompt's log-likelihood by the coefficients (C, Z, K), at each difficulty."""
        num, num_prompts = self.rows.num_systems, len(part.told_CG)
        cell_N = part.prompt_N * num + part.system_N
        start_B = np.flatnonzero(np.diff(cell_N, prepend=-1))
        pull_CSZ = np.zeros((2, num_prompts * num, len(tau_Z)))
        for found, each_NZ in zip(pull_CSZ, (error_NZ, error_NZ * part.length_N[:, None]), strict=True):
            found[cell_N[start_B]] = np.add.reduceat(each_NZ, start_B, axis=0)
        by_theta, by_phi = (found.reshape(num_prompts, num, -1).swapaxes(1, 2) for found in pull_CSZ)
        total_CZ1 = by_theta.sum(axis=2, keepdims=True)
        return np.concatenate([by_theta, by_phi, total_CZ1 * part.told_CG[:, None], total_CZ1 * tau_Z[:, None]], axis=2)

    def _features(self, part: _Part) -> Floats:
        """Return what each row's log-odds are linear in (N, K), the last column zero in place of its difficulty."""
        num, own_N = self.rows.num_systems, np.arange(len(part.share_N))
        features_NK = np.zeros((len(own_N), len(self.start)))
        features_NK[own_N, part.system_N] = 1
        features_NK[own_N, num + part.system_N] = part.length_N
        features_NK[:, 2 * num : -1] = part.told_CG[part.prompt_N]
        return features_NK

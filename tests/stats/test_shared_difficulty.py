"""Length control with difficulties that several systems share: against scipy's optimiser, and confounded."""

import math

import numpy as np
import pytest
from scipy.optimize import minimize

from haloes.errors import DataError
from haloes.stats.difficulty_model import DEVIATION_SD, PRIOR_SD, SPREAD, SPREAD_SD, TASTE_SD
from haloes.stats.length_control import length_controlled_win_rate
from haloes.stats.shared_difficulty import (
    Compared,
    length_controlled_together,
    shared_prompts,
)


def system(variant: str, preferences: list[float | None], lengths: list[float], prompts: list[int]) -> Compared:
    return Compared(
        variant=variant,
        preferences=preferences,
        lengths=lengths,
        baseline_lengths=[9.0] * len(prompts),
        prompts=prompts,
    )


def systems_of_hard_prompts(count: int, num: int, seed: int) -> tuple[list[Compared], list[float]]:
    """Systems that are short where a prompt is hard, with a judge that likes length; and their true rates."""
    rng = np.random.default_rng(seed)
    easy_C, baseline_C = rng.normal(0, 1.5, num), np.exp(rng.normal(7.3, 0.5, num))
    systems, rates = [], []
    for number, theta in enumerate(np.linspace(-2, 0, count)):
        own_C = baseline_C * np.exp(-0.5 + 0.25 * easy_C + rng.normal(0, 0.4, num))
        shorter_C = baseline_C - own_C
        chance_C = 1 / (1 + np.exp(-(theta - 1.9 * np.tanh(shorter_C / shorter_C.std(ddof=1)) + easy_C)))
        systems.append(
            Compared(
                variant=f"system {number}",
                preferences=(rng.random(num) < chance_C).astype(float).tolist(),
                lengths=own_C.tolist(),
                baseline_lengths=baseline_C.tolist(),
                prompts=list(range(num)),
            )
        )
        rates.append(float(np.mean(1 / (1 + np.exp(-(theta + easy_C))))))
    return systems, rates


def test_the_coefficients_and_the_rates_are_those_of_scipys_minimum():
    rng = np.random.default_rng(0)
    num, prompts = 12, list(range(12))
    shares, lengths = rng.random((2, num)), rng.integers(1, 30, (2, num)).astype(float)
    lengths_SC = np.array([np.tanh((9 - row) / (9 - row).std(ddof=1)) for row in lengths])
    centred_SC = lengths_SC - lengths_SC.mean(axis=1, keepdims=True)
    # Gauss and Hermite's 60 points in place of the grid.
    z, weight = np.polynomial.hermite_e.hermegauss(60)
    weight = weight / weight.sum()

    def logits(x: np.ndarray, length: float) -> np.ndarray:
        theta, phi, gamma, delta, tau = x[:2], x[2:4], x[4], x[5:7], np.exp(x[7])
        told_C = gamma * centred_SC.mean(axis=0) + delta @ centred_SC / 2
        return (theta[:, None] + length * phi[:, None] * lengths_SC + told_C)[..., None] + tau * z

    def loss(x: np.ndarray) -> float:
        logit = logits(x, 1)
        likelihood = np.exp((shares[..., None] * logit - np.logaddexp(0, logit)).sum(axis=0)) @ weight
        phi_precision = np.linalg.inv(TASTE_SD**2 * np.eye(2) + PRIOR_SD**2)
        priors = (x[:2] @ x[:2] + x[4] ** 2) / PRIOR_SD**2 + x[2:4] @ phi_precision @ x[2:4]
        priors += x[5:7] @ x[5:7] / DEVIATION_SD**2 + ((x[7] - np.log(SPREAD)) / SPREAD_SD) ** 2
        return priors / 2 - np.log(likelihood).sum()

    x = minimize(loss, np.zeros(8), method="BFGS", options={"gtol": 1e-7}).x
    found = length_controlled_together(
        [system(f"{s}", shares[s].tolist(), lengths[s].tolist(), prompts) for s in range(2)]
    )
    rates = (1 / (1 + np.exp(-logits(x, 0)))) @ weight
    for s, controlled in enumerate(found):
        assert (controlled.theta, controlled.phi_length) == pytest.approx((x[s], x[2 + s]), abs=1e-4)
        assert controlled.score.value == pytest.approx(rates[s].mean(), abs=1e-5)
        assert controlled.psi_difficulty == 1
        assert "each prompt's difficulty is fitted to 2 systems" in controlled.score.method


def test_its_interval_is_that_of_fits_without_each_prompt():
    systems, _ = systems_of_hard_prompts(3, 60, 3)

    def without(prompt: int) -> float:
        kept = [i for i in range(60) if i != prompt]
        fewer = [
            system(
                one.variant,
                [one.preferences[i] for i in kept],
                [one.lengths[i] + 9.0 - one.baseline_lengths[i] for i in kept],
                kept,
            )
            for one in systems
        ]
        return length_controlled_together(fewer)[0].score.value

    score = length_controlled_together(systems)[0].score
    left_out = np.array([without(prompt) for prompt in range(0, 60, 3)])
    variance = 59 / 60 * 3 * ((left_out - score.value) ** 2).sum()
    odds, half = math.log(score.value / (1 - score.value)), 2.001 * math.sqrt(variance)
    half /= score.value * (1 - score.value)
    # A third of the prompts, one Newton step in place of a fit, and the priors' pull: close is all that it can be.
    width = 1 / (1 + math.exp(-odds - half)) - 1 / (1 + math.exp(-odds + half))
    assert score.high - score.low == pytest.approx(width, rel=0.15)


def test_difficulty_that_goes_with_length_is_not_taken_for_length_where_other_systems_show_it():
    together, alone = [], []
    for seed in range(8):
        systems, truth = systems_of_hard_prompts(3, 300, seed)
        found = length_controlled_together(systems)
        together += [one.score.value - rate for one, rate in zip(found, truth, strict=True)]
        for one, rate in zip(systems, truth, strict=True):
            by_itself = length_controlled_win_rate(one.preferences, one.lengths, one.baseline_lengths, one.prompts)
            alone.append(by_itself.score.value - rate)
    assert np.mean(alone) > 0.08
    assert abs(np.mean(together)) < 0.02


def test_rows_of_a_prompt_count_as_one_and_order_does_not_matter():
    (one, other), _ = systems_of_hard_prompts(2, 30, 1)
    thrice = Compared(
        variant=one.variant,
        preferences=list(one.preferences) * 3,
        lengths=list(one.lengths) * 3,
        baseline_lengths=list(one.baseline_lengths) * 3,
        prompts=list(one.prompts) * 3,
    )
    once = length_controlled_together([one, other])
    again = length_controlled_together([other, thrice])
    assert again[1].score.value == pytest.approx(once[0].score.value, abs=1e-3)
    assert (again[1].score.num_rows, again[1].score.num_clusters) == (90, 30)


def test_an_interval_holds_what_is_true_and_systems_that_always_win_have_one():
    systems, truth = systems_of_hard_prompts(5, 100, 2)
    for controlled, rate in zip(length_controlled_together(systems), truth, strict=True):
        assert controlled.score.low < controlled.score.value < controlled.score.high
        assert controlled.score.low - 0.05 < rate < controlled.score.high + 0.05
    always = Compared(
        variant="always",
        preferences=[1.0] * 100,
        lengths=systems[0].lengths,
        baseline_lengths=systems[0].baseline_lengths,
        prompts=systems[0].prompts,
    )
    winner = length_controlled_together([*systems, always])[-1].score
    assert math.isfinite(winner.value)
    assert "as all 100 agree" in winner.method


def test_systems_are_fitted_together_only_where_they_share_most_of_their_prompts():
    here = system("here", [1.0, 0.0, 1.0], [1, 2, 3], [1, 2, 3])
    assert shared_prompts([here, system("there", [1.0, 0.0], [1, 2], [2, 3])])
    assert not shared_prompts([here, system("there", [1.0, 0.0, 0.0], [1, 2, 3], [3, 4, 5])])
    assert not shared_prompts([here, system("there", [None, None], [1, 2], [2, 3])])
    assert not shared_prompts([here])


def test_too_few_prompts_have_no_rate_and_odd_rows_are_refused():
    one, other = system("one", [1.0, None], [1, 2], [1, 2]), system("other", [1.0, 0.0], [1, 2], [1, 2])
    found = length_controlled_together([one, other])
    assert found[0] is None
    assert found[1] is not None
    with pytest.raises(DataError, match="of one: preferences, lengths and prompts must be as many"):
        length_controlled_together([system("one", [1.0], [1, 2], [1]), other])


def test_answers_alike_in_length_do_not_tell_length_from_difficulty_and_the_rate_says_so():
    rng = np.random.default_rng(5)
    easy_C = rng.normal(0, 1.5, 100)
    length_C = 600 * np.exp(0.4 * easy_C)
    alike = [
        Compared(
            variant=variant,
            preferences=(rng.random(100) < 1 / (1 + np.exp(-easy_C))).astype(float).tolist(),
            lengths=(length_C * (1 + 0.01 * rng.random(100))).tolist(),
            baseline_lengths=[1000.0] * 100,
            prompts=list(range(100)),
        )
        for variant in ("one", "other")
    ]
    found = length_controlled_together(alike)[0]
    assert found.score.name == "win_rate_at_equal_length"
    assert "cannot be told from what an easy prompt does" in found.caution
    assert found.score.high - found.score.low > 0.4
    (one, other), _ = systems_of_hard_prompts(2, 100, 1)
    known = length_controlled_together([one, other])[0]
    assert (known.score.name, known.caution) == ("length_controlled_win_rate", "")

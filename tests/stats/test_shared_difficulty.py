"""Length control with difficulties that several systems share: against scipy's optimiser, and confounded."""

import math

import numpy as np
import pytest
from scipy.optimize import minimize

from haloes.errors import DataError
from haloes.stats.length_control import PRIOR_SD, length_controlled_win_rate
from haloes.stats.shared_difficulty import (
    DIFFICULTY_SD,
    TASTE_SD,
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

    def parts(x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        theta, phi, difficulty = x[:2], x[3:5], x[5:]
        return theta[:, None] + phi[:, None] * lengths_SC + difficulty, difficulty

    def loss(x: np.ndarray) -> float:
        logit, difficulty = parts(x)
        chance = 1 / (1 + np.exp(-logit))
        entropy = -(shares * np.log(chance) + (1 - shares) * np.log(1 - chance)).sum()
        # theta, the judge's taste mu, phi around it, and the difficulties: each with its normal prior.
        priors = (x[:2] @ x[:2] + x[2] ** 2) / PRIOR_SD**2 + ((x[3:5] - x[2]) ** 2).sum() / TASTE_SD**2
        return entropy + (priors + difficulty @ difficulty / DIFFICULTY_SD**2) / 2

    x = minimize(loss, np.zeros(5 + num), method="BFGS", options={"gtol": 1e-7}).x
    found = length_controlled_together(
        [system(f"{s}", shares[s].tolist(), lengths[s].tolist(), prompts) for s in range(2)], draws=20
    )
    for s, controlled in enumerate(found):
        assert (controlled.theta, controlled.phi_length) == pytest.approx((x[s], x[3 + s]), abs=1e-4)
        assert controlled.score.value == pytest.approx(np.mean(1 / (1 + np.exp(-x[s] - x[5:]))), abs=1e-5)
        assert controlled.psi_difficulty == 1
        assert "each prompt's difficulty is fitted to 2 systems" in controlled.score.method


def test_difficulty_that_goes_with_length_is_not_taken_for_length_where_other_systems_show_it():
    together, alone = [], []
    for seed in range(8):
        systems, truth = systems_of_hard_prompts(6, 300, seed)
        found = length_controlled_together(systems, draws=2)
        together += [one.score.value - rate for one, rate in zip(found, truth, strict=True)]
        for one, rate in zip(systems, truth, strict=True):
            by_itself = length_controlled_win_rate(
                one.preferences, one.lengths, one.baseline_lengths, one.prompts, draws=2
            )
            alone.append(by_itself.score.value - rate)
    assert np.mean(alone) > 0.08
    assert abs(np.mean(together)) < np.mean(alone) / 2


def test_rows_of_a_prompt_count_as_one_and_order_does_not_matter():
    (one, other), _ = systems_of_hard_prompts(2, 30, 1)
    thrice = Compared(
        variant=one.variant,
        preferences=list(one.preferences) * 3,
        lengths=list(one.lengths) * 3,
        baseline_lengths=list(one.baseline_lengths) * 3,
        prompts=list(one.prompts) * 3,
    )
    once = length_controlled_together([one, other], draws=2)
    again = length_controlled_together([other, thrice], draws=2)
    assert again[1].score.value == pytest.approx(once[0].score.value, abs=1e-3)
    assert (again[1].score.num_rows, again[1].score.num_clusters) == (90, 30)


def test_an_interval_holds_what_is_true_and_systems_that_always_win_have_one():
    systems, truth = systems_of_hard_prompts(5, 100, 2)
    for controlled, rate in zip(length_controlled_together(systems, draws=200), truth, strict=True):
        assert controlled.score.low < controlled.score.value < controlled.score.high
        assert controlled.score.low - 0.05 < rate < controlled.score.high + 0.05
    always = Compared(
        variant="always",
        preferences=[1.0] * 100,
        lengths=systems[0].lengths,
        baseline_lengths=systems[0].baseline_lengths,
        prompts=systems[0].prompts,
    )
    winner = length_controlled_together([*systems, always], draws=20)[-1].score
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
    found = length_controlled_together([one, other], draws=5)
    assert found[0] is None
    assert found[1] is not None
    with pytest.raises(DataError, match="of one: preferences, lengths and prompts must be as many"):
        length_controlled_together([system("one", [1.0], [1, 2], [1]), other])

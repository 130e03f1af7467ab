"""The batched logistic fit against scipy's optimiser, and where Newton alone would run away."""

import numpy as np
import pytest
from scipy.optimize import minimize

from haloes.stats.logistic import fit_logistic, sigmoid


def fitted_by_scipy(features: np.ndarray, share: np.ndarray, weight: np.ndarray, prior_sd: float) -> np.ndarray:
    def loss(b: np.ndarray) -> float:
        eta = features @ b
        chance = 1 / (1 + np.exp(-eta))
        entropy = -(share * np.log(chance) + (1 - share) * np.log(1 - chance))
        return weight @ entropy + (b @ b) / (2 * prior_sd**2)

    return minimize(loss, np.zeros(features.shape[1]), method="BFGS", options={"gtol": 1e-7}).x


def test_each_draw_has_scipys_minimum():
    rng = np.random.default_rng(0)
    features = np.c_[np.ones(40), rng.normal(size=(40, 2))]
    share, weight = rng.random(40), rng.integers(3, size=(5, 40)).astype(float)
    found = fit_logistic(features, share, weight, prior_sd=2.0)
    for row in range(5):
        assert found[row] == pytest.approx(fitted_by_scipy(features, share, weight[row], 2.0), abs=1e-5)


def test_features_and_shares_may_differ_between_draws():
    rng = np.random.default_rng(1)
    features, share = rng.normal(size=(3, 30, 2)), rng.random((3, 30))
    found = fit_logistic(features, share, np.ones((3, 30)), prior_sd=1.0)
    for row in range(3):
        assert found[row] == pytest.approx(fitted_by_scipy(features[row], share[row], np.ones(30), 1.0), abs=1e-5)


def test_an_intercept_alone_is_the_log_odds_of_the_mean():
    # A prior this wide is not felt: log(0.75 / 0.25).
    found = fit_logistic(np.ones((4, 1)), np.array([1.0, 1.0, 1.0, 0.0]), np.ones((1, 4)), prior_sd=1e6)
    assert found[0, 0] == pytest.approx(np.log(3), abs=1e-8)


def test_separable_rows_end_where_the_prior_balances_them():
    # One row, share 1: the slope of the loss is -sigmoid(-b) + b / sd^2 = 0.
    found = float(fit_logistic(np.ones((1, 1)), np.ones(1), np.ones((1, 1)), prior_sd=10.0)[0, 0])
    assert 1 / (1 + np.exp(found)) == pytest.approx(found / 100, rel=1e-6)


def test_a_bad_start_is_reached_back_from_by_shorter_steps():
    features = np.c_[np.ones(50), np.linspace(-1, 1, 50)]
    share = (np.linspace(-1, 1, 50) > 0.1).astype(float)
    there = fit_logistic(features, share, np.ones((1, 50)), prior_sd=5.0)
    back = fit_logistic(features, share, np.ones((1, 50)), prior_sd=5.0, start_K=np.array([40.0, -90.0]))
    assert back == pytest.approx(there, abs=1e-6)


def test_the_sigmoid_does_not_overflow():
    assert sigmoid(np.array([-1000.0, 0.0, 1000.0])).tolist() == [0.0, 0.5, 1.0]

"""Shares of a population of whom some are observed: by hand, by the jackknife, by simulation, and by statsmodels."""

import numpy as np
import pytest

from haloes.stats.reweighted_share import observation, reweighted_share, weighted_mean

NEVER = 1e9
"""A bound that no weight reaches."""


def drawn(rng: np.random.Generator, num: int = 1500) -> tuple[np.ndarray, np.ndarray, np.ndarray, float]:
    """Members who are observed more often where they like what they see less, through a feature that is known."""
    feature = rng.normal(size=num)
    likes = rng.random(num) < 1 / (1 + np.exp(-0.4 - feature))
    observed = rng.random(num) < 1 / (1 + np.exp(1.5 + 0.9 * feature))
    features = np.stack([np.ones(num), feature], axis=1)
    return features, observed, np.where(observed, likes, np.nan), float(likes.mean())


def test_members_of_a_kind_that_is_seldom_observed_stand_for_more() -> None:
    # 1,000 of either kind: of one 100 are observed (90 say yes), of the other 500 (100 say yes).
    kind = np.repeat([0.0, 1.0], 1000)
    observed = np.r_[np.arange(1000) < 100, np.arange(1000) < 500]
    outcome = np.where(observed, np.r_[np.arange(1000) < 90, np.arange(1000) < 100], np.nan)

    found = observation(np.stack([np.ones(2000), kind], axis=1), observed, most=NEVER)
    share = reweighted_share(found, outcome, np.arange(2000), name="up", label="")

    assert found.chance_N[[0, 1000]] == pytest.approx([0.1, 0.5], abs=1e-3)
    assert found.weight_N[[0, 1000]] == pytest.approx([10 / (2000 / 600), 2 / (2000 / 600)], rel=1e-2)
    assert share is not None
    # Horvitz and Thompson by hand: (90 * 10 + 100 * 2) / (100 * 10 + 500 * 2).
    assert share.value == pytest.approx(1100 / 2000, abs=2e-3)
    assert (share.num_rows, share.num_clusters) == (600, 600)


def test_weights_are_clipped_at_a_multiple_of_their_mean_and_say_so() -> None:
    kind = np.repeat([0.0, 1.0], [10_000, 1000])
    observed = np.r_[np.arange(10_000) < 10, np.arange(1000) < 990]
    features = np.stack([np.ones(11_000), kind], axis=1)

    free, clipped = (observation(features, observed, most=most) for most in (NEVER, 10.0))

    assert free.weight_N[observed].mean() == pytest.approx(1)
    assert free.weight_N[0] > 80
    assert clipped.weight_N.max() == 10
    assert clipped.is_clipped_N.sum() == 10
    assert not free.is_clipped_N.any()


def test_a_kind_that_is_never_observed_has_finite_weights() -> None:
    kind = np.repeat([0.0, 1.0], 50)
    found = observation(np.stack([np.ones(100), kind], axis=1), (kind == 0) & (np.arange(100) < 30), most=NEVER)

    assert np.isfinite(found.weight_N).all()
    assert found.chance_N[-1] < 0.05


def test_the_variance_is_the_jackknifes_which_fits_the_chance_anew_without_each_person() -> None:
    features, observed, outcome, _ = drawn(np.random.default_rng(3), 2000)
    person = np.arange(2000) // 10
    values = []
    for left_out in range(200):
        kept = person != left_out
        found = observation(features[kept], observed[kept], most=NEVER)
        weight = found.weight_N[observed[kept]]
        values.append(weight @ outcome[kept][observed[kept]] / weight.sum())

    mean, variance = weighted_mean(observation(features, observed, most=NEVER), outcome, person)

    assert mean == pytest.approx(np.mean(values), abs=1e-3)
    assert variance == pytest.approx(199 / 200 * ((np.array(values) - np.mean(values)) ** 2).sum(), rel=0.1)


def test_the_interval_holds_the_truth_as_often_as_it_says_where_the_plain_share_never_does() -> None:
    held = plain_held = 0
    for seed in range(200):
        features, observed, outcome, truth = drawn(np.random.default_rng(seed))
        share = reweighted_share(
            observation(features, observed, most=NEVER), outcome, np.arange(len(outcome)), name="up", label=""
        )
        plain = reweighted_share(
            observation(features[:, :1], observed, most=NEVER), outcome, np.arange(len(outcome)), name="up", label=""
        )
        assert share is not None
        assert plain is not None
        held += share.low <= truth <= share.high
        plain_held += plain.low <= truth <= plain.high
    assert 185 <= held <= 199
    assert plain_held < 20


def test_one_persons_outcomes_have_no_interval_and_equal_outcomes_one_with_a_width() -> None:
    features, observed = np.ones((40, 1)), np.arange(40) < 20
    found = observation(features, observed, most=NEVER)
    outcome = np.where(observed, 1.0, np.nan)

    assert reweighted_share(found, outcome, np.zeros(40, np.int64), name="up", label="") is None
    equal = reweighted_share(found, outcome, np.arange(40), name="up", label="")
    assert equal is not None
    assert equal.value == equal.high == 1
    assert equal.low < 0.9


@pytest.mark.peer
def test_statsmodels_gives_the_same_chances() -> None:
    api = pytest.importorskip("statsmodels.api", reason="statsmodels is not installed (make test-peers runs it)")
    features, observed, _, _ = drawn(np.random.default_rng(0), 20_000)

    found = observation(features, observed, most=NEVER)

    # The ridge is not felt by so many.
    assert found.chance_N == pytest.approx(api.Logit(observed.astype(float), features).fit(disp=0).predict(), abs=1e-4)


@pytest.mark.peer
def test_scikit_learn_gives_the_same_chances_with_its_ridge() -> None:
    linear = pytest.importorskip(
        "sklearn.linear_model", reason="scikit-learn is not installed (make test-peers runs it)"
    )
    features, observed, _, _ = drawn(np.random.default_rng(1), 400)

    found = observation(features, observed, most=NEVER)
    # A prior of standard deviation 5 is C = 25, on the constant as well.
    peer = linear.LogisticRegression(C=25.0, fit_intercept=False, tol=1e-10, max_iter=1000).fit(features, observed)

    assert found.chance_N == pytest.approx(peer.predict_proba(features)[:, 1], abs=1e-6)

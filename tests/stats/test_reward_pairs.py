"""A reward model's numbers on pairs, against counts by hand, scipy, and simulations whose truth is known."""

import numpy as np
import pytest
from scipy.stats import spearmanr

from haloes.errors import DataError
from haloes.stats.reward_pairs import RewardPairs, length_bias, pair_accuracy, pair_calibration, rank_correlation

DRAWS = 300


def make(margins: list[float], longer: list[float] | None = None, prompts: list[str] | None = None) -> RewardPairs:
    """Pairs with these margins, whose chosen answers are by so much longer than the rejected ones."""
    by = longer or [0.0] * len(margins)
    return RewardPairs(
        chosen=[margin + 5.0 for margin in margins],
        rejected=[5.0] * len(margins),
        chosen_length=[20.0 + more for more in by],
        rejected_length=[20.0] * len(margins),
        prompts=prompts or [f"p{i}" for i in range(len(margins))],
    )


def simulated(num: int, *, scale: float, seed: int = 0) -> RewardPairs:
    """Pairs whose chosen answer was drawn with the probability that margins of `scale` times less have."""
    rng = np.random.default_rng(seed)
    true = rng.normal(0, 1.5, num)
    chosen = np.where(rng.random(num) < 1 / (1 + np.exp(-true)), true, -true)
    return make((scale * chosen).tolist())


def test_the_accuracy_counts_ties_as_half():
    found = pair_accuracy(make([2.0, 1.0, 0.0, -1.0]), draws=DRAWS)

    assert found is not None
    assert found.value == pytest.approx((1 + 1 + 0.5 + 0) / 4)
    assert (found.name, found.num_rows, found.num_clusters) == ("pair_accuracy", 4, 4)
    assert 0 <= found.low < found.value < found.high <= 1


def test_pairs_of_one_prompt_are_one_cluster():
    alone = pair_accuracy(make([1.0, -1.0] * 40), draws=DRAWS)
    together = pair_accuracy(make([1.0] * 40 + [-1.0] * 40, prompts=[f"p{i // 10}" for i in range(80)]), draws=DRAWS)

    assert alone is not None
    assert together is not None
    assert together.num_clusters == 8
    assert together.high - together.low > 2 * (alone.high - alone.low)


def test_one_prompt_has_no_interval():
    pairs = make([1.0, -1.0], prompts=["p", "p"])

    assert pair_accuracy(pairs, draws=DRAWS) is None
    assert pair_calibration(pairs, draws=DRAWS) is None


def test_the_accuracy_is_told_apart_by_which_answer_is_longer():
    # Right on all three whose chosen answer is longer, on one of the two whose chosen answer is shorter.
    pairs = make([1.0, 2.0, 3.0, 1.0, -1.0, 4.0], [5.0, 6.0, 7.0, -3.0, -4.0, 0.0])
    found = {score.name: score for score in length_bias(pairs, draws=DRAWS)}

    assert found["pair_accuracy_longer"].value == 1.0
    assert found["pair_accuracy_longer"].num_rows == 3
    assert found["pair_accuracy_shorter"].value == 0.5
    assert found["longer_chosen"].value == pytest.approx((3 + 0.5) / 6)


def test_a_reward_that_is_the_length_has_a_correlation_of_one_and_is_never_right_where_the_shorter_is_better():
    rng = np.random.default_rng(1)
    longer = rng.integers(1, 30, 60) * rng.choice([-1, 1], 60)
    lengths = rng.integers(40, 90, 60)
    pairs = RewardPairs(
        chosen=(lengths + longer) / 10,
        rejected=lengths / 10,
        chosen_length=lengths + longer,
        rejected_length=lengths,
        prompts=list(range(60)),
    )
    found = {score.name: score.value for score in length_bias(pairs, draws=DRAWS)}

    assert found["reward_length"] == pytest.approx(1.0)
    assert (found["pair_accuracy_longer"], found["pair_accuracy_shorter"]) == (1.0, 0.0)


def test_what_cannot_be_said_is_left_out():
    assert [score.name for score in length_bias(make([1.0, -1.0, 2.0]), draws=DRAWS)] == ["longer_chosen"]


def test_the_rank_correlation_is_scipys():
    rng = np.random.default_rng(2)
    one = rng.normal(size=50).round(1)
    other = (one + rng.normal(size=50)).round(1)
    found = rank_correlation(one, other, list(range(50)), name="c", draws=DRAWS)

    assert found is not None
    assert found.value == pytest.approx(spearmanr(one, other).statistic, rel=1e-12)
    assert found.low < found.value < found.high
    with pytest.raises(DataError, match="must pair up"):
        rank_correlation([1.0, 2.0], [1.0], ["a", "b"], name="c")


@pytest.mark.parametrize("scale", [0.5, 1.0, 3.0])
def test_the_slope_finds_by_how_much_a_model_is_too_sure(scale: float):
    found = pair_calibration(simulated(3000, scale=scale), draws=DRAWS)

    assert found is not None
    assert found.slope.low < 1 / scale < found.slope.high
    assert found.slope.value == pytest.approx(1 / scale, rel=0.15)


def test_a_calibrated_model_is_as_sure_as_it_is_right_and_one_that_is_too_sure_is_not():
    fine, sure = (pair_calibration(simulated(3000, scale=scale), draws=DRAWS) for scale in (1.0, 4.0))

    assert fine is not None
    assert sure is not None
    assert fine.reliability.expected_error < fine.reliability.expected_error_by_chance
    assert sure.reliability.expected_error > 2 * sure.reliability.expected_error_by_chance
    assert all(row.predicted >= 0.5 for row in fine.reliability.bins)
    assert sum(row.num_rows for row in fine.reliability.bins) == 3000
    assert sure.brier.value > fine.brier.value


def test_a_coin_has_a_brier_score_of_a_quarter_and_the_slope_stays_finite_where_all_is_right():
    coin = pair_calibration(make([0.0] * 6), draws=DRAWS)
    right = pair_calibration(make([1.0, 2.0, 3.0]), draws=DRAWS)

    assert coin is not None
    assert coin.brier.value == 0.25
    assert coin.reliability.bins[0].desirable == 0.5
    assert right is not None
    assert np.isfinite([right.slope.value, right.slope.low, right.slope.high]).all()


def test_rewards_that_do_not_pair_up_are_refused():
    with pytest.raises(DataError, match="2 rewards of chosen and 1 of rejected answers do not pair up"):
        pair_accuracy(RewardPairs(chosen=[1, 2], rejected=[1], chosen_length=[1], rejected_length=[1], prompts=["a"]))

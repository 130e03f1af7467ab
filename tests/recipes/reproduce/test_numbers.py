"""AUC over seeds, within prompts, and against a baseline (sums done by hand, and SciPy); points nothing beats."""

from dataclasses import replace

import numpy as np
import pytest
from scipy.stats import mannwhitneyu

from haloes.errors import DataError
from haloes.recipes.reproduce.numbers import Point, auc_rows, point, with_frontier
from haloes.results import Score

GOOD = np.array([True, False, True, False])


def within(rewards: list[list[float]], labels: np.ndarray, prompts: list[int]) -> Score | None:
    [row] = auc_rows({"a": [np.array(one) for one in rewards]}, labels, prompts, baseline="a")
    return row.within_prompts


def test_within_prompts_only_answers_to_one_prompt_are_compared():
    # Prompt 1: 3 beats 1. Prompt 2: 0 loses against 2. Across prompts nothing is compared.
    assert within([[3.0, 1.0, 0.0, 2.0]], GOOD, [1, 1, 2, 2]).value == 0.5
    # Prompt 1: a tie. Prompt 2: right.
    assert within([[1.0, 1.0, 5.0, 2.0]], GOOD, [1, 1, 2, 2]).value == 0.75


def test_within_prompts_the_spread_of_seeds_widens_the_interval():
    one, other = [3.0, 1.0, 0.0, 2.0], [3.0, 1.0, 4.0, 2.0]
    both, alike = within([one, other], GOOD, [1, 1, 2, 2]), within([one, one], GOOD, [1, 1, 2, 2])

    assert (both.value, alike.value) == (0.75, 0.5)
    # Of seeds alone: 0.5 and 1 have a standard error of 1/4, and t of one degree of freedom is 12.7.
    assert (both.low, both.high) == (0.0, 1.0)
    assert 0 < alike.low < alike.high < 1


def test_where_no_two_prompts_have_both_labels_there_is_nothing_within():
    assert within([[3.0, 1.0, 2.0]], np.array([True, False, True]), [1, 1, 2]) is None


def make(seed: int, strength: float) -> tuple[np.ndarray, np.ndarray, list[int]]:
    rng = np.random.default_rng(seed)
    labels = rng.random(240) < 0.5
    return strength * labels + rng.normal(size=240), labels, (np.arange(240) // 4).tolist()


def test_a_methods_auc_is_the_mean_over_its_seeds():
    first, labels, prompts = make(0, 1.0)
    second = make(1, 1.0)[0]
    [row, _] = auc_rows({"a": [first, second], "b": [first, first]}, labels, prompts, baseline="b")

    each = [mannwhitneyu(r[labels], r[~labels]).statistic / (labels.sum() * (~labels).sum()) for r in (first, second)]
    assert row.auc == pytest.approx(np.mean(each))
    assert row.low < row.auc < row.high


def test_the_baseline_does_not_differ_from_itself():
    rewards, labels, prompts = make(0, 1.0)
    [row] = auc_rows({"a": [rewards]}, labels, prompts, baseline="a")

    assert (row.difference, row.difference_low, row.difference_high, row.p) == (0, 0, 0, 1)


def test_a_method_that_is_far_better_differs_and_one_that_is_alike_does_not():
    strong, labels, prompts = make(0, 3.0)
    rng = np.random.default_rng(5)
    weak = rng.normal(size=len(strong))
    alike = strong + 1e-9 * rng.normal(size=len(strong))
    rows = {
        row.method: row
        for row in auc_rows({"base": [strong], "weak": [weak], "alike": [alike]}, labels, prompts, baseline="base")
    }

    assert rows["weak"].difference < rows["weak"].difference_high < 0
    assert rows["weak"].p < 0.01
    assert rows["alike"].p > 0.5


def test_rewards_that_are_paired_differ_less_than_their_intervals_overlap():
    # The same rows with a little more signal: the paired difference is sure though the intervals overlap.
    rewards, labels, prompts = make(0, 1.0)
    better = rewards + 0.4 * labels
    base, other = auc_rows({"base": [rewards], "better": [better]}, labels, prompts, baseline="base")

    assert base.high > other.low
    assert other.difference_low > 0


def test_at_equal_length_a_method_that_only_drifts_does_not_differ():
    rewards, labels, prompts = make(0, 1.5)
    rng = np.random.default_rng(1)
    tokens = np.round(np.exp(3.5 + 0.6 * rng.normal(size=240) - 0.6 * labels)).astype(int)
    drifts = {"base": [rewards], "longer": [rewards + 0.1 * tokens]}
    base, other = auc_rows(drifts, labels, prompts, baseline="base", tokens=tokens.tolist())

    assert other.difference_high < 0
    assert base.at_equal_length is not None
    assert other.at_equal_length is not None
    assert other.at_equal_length.difference_low < 0 < other.at_equal_length.difference_high


def test_a_mean_over_seeds_has_the_interval_of_one_seed_where_all_agree():
    rewards, labels, prompts = make(0, 1.0)
    [one], [three] = (
        auc_rows({"a": [rewards] * number}, labels, prompts, baseline="a", tokens=[5] * 240) for number in (1, 3)
    )

    assert (three.auc, three.low, three.high) == pytest.approx((one.auc, one.low, one.high))
    assert one.at_equal_length is not None
    assert one.at_equal_length.auc == pytest.approx(one.auc), "all are equally long"


RUN = {"prompt_id": ["a", "b", "c", "d"], "positive": [0.9, 0.6, 0.5, 0.1], "nats": [1.0, 2.0, 3.0, 6.0]}


def test_a_point_is_shares_and_means_over_prompts():
    found = point("kto", [RUN])

    # More likely than not: 0.9 and 0.6, not 0.5.
    assert (found.liked.value, found.positive.value, found.kl.value) == pytest.approx((0.5, 0.525, 3.0))
    assert found.liked.low < 0.5 < found.liked.high
    assert found.kl.low < 3 < found.kl.high


def test_seeds_share_their_prompts():
    found = point("kto", [RUN, {**RUN, "positive": [0.1, 0.6, 0.5, 0.1]}])

    assert (found.liked.value, found.liked.num_rows, found.liked.num_clusters) == (0.375, 8, 4)


def test_one_prompt_is_refused():
    with pytest.raises(DataError, match="kto: fewer than two prompts"):
        point("kto", [{"prompt_id": ["a"], "positive": [0.9], "nats": [1.0]}])


def test_what_no_other_point_beats_is_on_the_frontier():
    def at(name: str, liked: float, kl: float) -> Point:
        made = point(name, [RUN])
        return replace(made, liked=replace(made.liked, value=liked), kl=replace(made.kl, value=kl))

    points = [at("before", 0.3, 0), at("near", 0.6, 1), at("worse", 0.5, 2), at("far", 0.9, 5), at("twin", 0.9, 5)]

    assert [p.name for p in with_frontier(points) if p.on_frontier] == ["before", "near", "far", "twin"]

"""The AUC against counting pairs, scipy, and simulations whose truth is known."""

import math
from collections.abc import Iterable
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import mannwhitneyu

from haloes.errors import DataError
from haloes.stats.auc import (
    ScoredRows,
    auc,
    auc_difference_with_interval,
    auc_differences,
    auc_noise,
    auc_with_interval,
)


def by_counting(scores: Iterable[float], labels: Iterable[bool]) -> float:
    """Every desirable answer against every undesirable one."""
    good = [s for s, label in zip(scores, labels, strict=True) if label]
    bad = [s for s, label in zip(scores, labels, strict=True) if not label]
    wins = sum((g > b) + 0.5 * (g == b) for g in good for b in bad)
    return wins / (len(good) * len(bad))


rows = st.lists(st.tuples(st.integers(-3, 3), st.booleans()), min_size=2, max_size=30)


@given(rows)
def test_it_is_the_share_of_pairs_that_are_in_order(pairs: list[tuple[int, bool]]):
    scores, labels = zip(*pairs, strict=True)
    if any(labels) and not all(labels):
        assert auc(scores, labels) == pytest.approx(by_counting(scores, labels), abs=1e-12)
    else:
        assert auc(scores, labels) is None


@pytest.mark.peer
def test_scikit_learn_gives_the_same_area_with_ties():
    metrics = pytest.importorskip("sklearn.metrics", reason="scikit-learn is not installed (make test-peers runs it)")
    rng = np.random.default_rng(0)
    labels = rng.random(200) < 0.3
    scores = np.round(rng.normal(0, 1, 200) + labels, 1)
    assert auc(scores, labels) == pytest.approx(metrics.roc_auc_score(labels, scores), abs=1e-12)


@given(rows)
def test_swapping_the_classes_gives_the_complement(pairs: list[tuple[int, bool]]):
    scores, labels = zip(*pairs, strict=True)
    value = auc(scores, labels)
    if value is not None:
        assert auc(scores, [not label for label in labels]) == pytest.approx(1 - value)
        assert auc([math.exp(s) for s in scores], labels) == pytest.approx(value), "only the order of scores counts"


def test_it_is_scipys_mann_whitney_statistic_over_the_number_of_pairs():
    rng = np.random.default_rng(0)
    good, bad = rng.normal(0.5, size=40).round(1), rng.normal(size=70).round(1)
    expected = mannwhitneyu(good, bad).statistic / (40 * 70)
    assert auc(np.concatenate([good, bad]), [True] * 40 + [False] * 70) == pytest.approx(expected)


def test_a_worked_example_with_a_tie():
    # Desirable 3 and 1; undesirable 1 and 0. Pairs: 3>1, 3>0, 1=1 (half), 1>0. 3.5 of 4.
    assert auc([3.0, 1.0, 1.0, 0.0], [True, True, False, False]) == 0.875


@pytest.mark.parametrize("labels", [[True, True], [False, False], []])
def test_one_class_only_has_no_auc(labels: list[bool]):
    scores = [0.1 * i for i in range(len(labels))]
    assert auc(scores, labels) is None
    assert auc_with_interval(scores, labels, list(range(len(labels)))) is None


def test_rows_of_one_prompt_have_no_interval():
    assert auc_with_interval([1.0, 0.0, 2.0], [True, False, True], ["same"] * 3) is None


def test_a_score_that_is_not_finite_is_refused_by_row():
    with pytest.raises(DataError, match="value nan of row 1 is not finite"):
        auc([0.0, math.nan], [True, False])


def test_labels_must_be_true_or_false():
    with pytest.raises(DataError, match="must be true or false, got -1"):
        auc([0.0, 1.0], [1, -1])


@pytest.mark.parametrize(("labels", "keys"), [([True], ["a", "b"]), ([True, False], ["a"])])
def test_lengths_must_agree(labels: list[bool], keys: list[str]):
    with pytest.raises(DataError, match="give one"):
        auc_with_interval([0.0, 1.0], labels, keys)


def test_where_no_row_moves_the_auc_the_interval_does_not_shrink_to_a_point():
    # One prompt of each class: nothing is seen of how much rows differ.
    score = auc_with_interval([1.0, 0.0, 1.0], [True, False, False], ["a", "b", "b"])
    assert score.value == 0.75
    assert score.low < 0.3
    assert score.high > 0.95
    assert "Newcombe" in score.method


def test_perfect_separation_still_has_an_interval_of_some_width():
    score = auc_with_interval([2.0] * 10 + [1.0] * 10, [True] * 10 + [False] * 10, list(range(20)))
    assert score.value == 1.0
    assert score.high == 1.0
    # Newcombe 2006: at AUC 1 the lower limit solves (1 - t)^2 = z^2 t (1 - t) (1 + 9 ((1-t)/(2-t) + t/(1+t))) / 100;
    # z is replaced by the quantile of the t distribution with 19 degrees of freedom, 2.093024.
    t = score.low
    spread = 1 + 9 * ((1 - t) / (2 - t) + t / (1 + t))
    assert (1 - t) ** 2 == pytest.approx(2.093024**2 * t * (1 - t) * spread / 100, rel=1e-6)
    assert 0.7 < score.low < 0.9
    assert "Newcombe" in score.method


def test_perfect_inversion_mirrors_perfect_separation():
    best = auc_with_interval([1.0] * 4 + [0.0] * 4, [True] * 4 + [False] * 4, list(range(8)))
    worst = auc_with_interval([0.0] * 4 + [1.0] * 4, [True] * 4 + [False] * 4, list(range(8)))
    assert (worst.low, worst.high) == (0.0, pytest.approx(1 - best.low))


def test_a_reward_that_is_constant_is_exactly_at_chance():
    # Before training the policy is the reference, so every implied reward is zero.
    score = auc_with_interval([0.0] * 8, [True, False] * 4, list(range(8)))
    assert (score.value, score.low, score.high) == (0.5, 0.5, 0.5)


def test_few_prompts_of_one_class_are_flagged():
    many = auc_with_interval(np.arange(40.0) % 7, [True, False] * 20, list(range(40)))
    few = auc_with_interval(np.arange(40.0) % 7, [True] * 3 + [False] * 37, list(range(40)))
    assert "too narrow" not in many.method
    assert "fewer than 10 prompts of one class" in few.method


def test_rows_that_repeat_a_prompt_do_not_narrow_the_interval():
    rng = np.random.default_rng(3)
    labels = rng.random(60) < 0.5
    scores = rng.normal(size=60) + labels
    once = auc_with_interval(scores, labels, list(range(60)))
    copied = auc_with_interval(np.repeat(scores, 5), np.repeat(labels, 5), np.repeat(np.arange(60), 5).tolist())
    # Newcombe's model of the spread has a term that rows do count in, which is why it is not exact.
    assert (copied.value, copied.low, copied.high) == pytest.approx((once.value, once.low, once.high), rel=0.01)
    naive = auc_with_interval(np.repeat(scores, 5), np.repeat(labels, 5), list(range(300)))
    assert naive.high - naive.low < 0.6 * (once.high - once.low)


def test_the_interval_covers_the_truth_as_often_as_it_says():
    # 40 prompts with a shared effect and two rows each. Two normals that are d apart, each of variance 1 + s^2, have
    # AUC Phi(d / sqrt(2 (1 + s^2))); the few pairs within a prompt (1 in 80) move it by far less than the tolerance.
    rng = np.random.default_rng(4)
    truth = 0.5 * (1 + math.erf(1.0 / math.sqrt(2 * (1 + 0.25)) / math.sqrt(2)))
    covered = 0
    for _ in range(200):
        effect = np.repeat(rng.normal(scale=0.5, size=40), 2)
        labels = rng.random(80) < 0.5
        scores = rng.normal(size=80) + effect + labels
        score = auc_with_interval(scores, labels, (np.arange(80) // 2).tolist())
        covered += score.low <= truth <= score.high
    assert 0.91 <= covered / 200 <= 0.985


def test_a_difference_of_aucs_is_paired():
    rng = np.random.default_rng(5)
    labels = rng.random(50) < 0.5
    before = rng.normal(size=50)
    after = before + 1.5 * labels
    score = auc_difference_with_interval(before, after, labels, list(range(50)))
    assert score.value == pytest.approx(by_counting(after, labels) - by_counting(before, labels))
    assert 0 < score.low < score.value < score.high
    assert score.variant == "difference"
    same = auc_difference_with_interval(before, before, labels, list(range(50)))
    assert (same.value, same.low, same.high) == (0.0, 0.0, 0.0)


def test_a_difference_without_both_classes_does_not_exist():
    assert auc_difference_with_interval([0.0, 1.0], [1.0, 0.0], [True, True], ["a", "b"]) is None


# --- paired differences of several models: signs, rows, and p-values that are rarely small where nothing differs


def scored_rows(seed: int, *, better: float = 0.0, num: int = 60) -> ScoredRows:
    rng = np.random.default_rng(seed)
    labels = np.arange(num) % 2 == 0
    return ScoredRows(
        scores=(rng.normal(size=num) + better * labels).tolist(),
        others=rng.normal(size=num).tolist(),
        labels=labels.tolist(),
        prompts=(np.arange(num) // 2).tolist(),
        tokens=[5] * num,
    )


def test_a_difference_is_the_first_minus_the_second():
    given = scored_rows(0, better=3.0)
    (found,) = auc_differences({("good", "noise"): given})

    assert (found.model, found.other) == ("good", "noise")
    assert found.score.value == pytest.approx(auc(given.scores, given.labels) - auc(given.others, given.labels))
    assert found.score == auc_difference_with_interval(given.others, given.scores, given.labels, given.prompts)
    assert found.p_value < 0.01


def test_exchanged_models_give_the_opposite():
    one = scored_rows(1, better=1.0)
    other = replace(one, scores=one.others, others=one.scores)
    (found,), (opposite,) = auc_differences({("a", "b"): one}), auc_differences({("b", "a"): other})

    assert found.score.value == -opposite.score.value
    assert found.score.low == pytest.approx(-opposite.score.high)
    assert found.p_value == opposite.p_value


def test_p_values_are_corrected_for_their_number():
    found = auc_differences(
        {("a", "b"): scored_rows(2, better=3.0), ("a", "c"): scored_rows(3), ("b", "c"): scored_rows(4)}
    )

    assert found[0].p_holm == pytest.approx(3 * found[0].p_value)
    assert all(difference.p_holm >= difference.p_value for difference in found)


def test_equal_scores_have_no_difference():
    given = scored_rows(5)
    (found,) = auc_differences({("a", "b"): replace(given, others=given.scores)})

    assert (found.score.value, found.p_value) == (0.0, 1.0)


def test_rows_of_one_label_are_left_out():
    only = ScoredRows(scores=[1.0, 2.0], others=[2.0, 1.0], labels=[True, True], prompts=["a", "b"], tokens=[5, 5])

    assert auc_differences({("a", "b"): only}) == []


def test_a_false_alarm_is_about_as_rare_as_it_says():
    p_values = [auc_differences({("a", "b"): scored_rows(100 + i)})[0].p_value for i in range(200)]

    assert np.mean(np.array(p_values) < 0.05) < 0.1


def test_auc_of_a_worked_example_with_a_tie() -> None:
    # Desirable 3 and 5, undesirable 1 and 3: of the four comparisons three are won and one is tied: 3.5 / 4.
    assert auc(np.array([3, 1, 5, 3]), np.array([True, False, True, False])) == 0.875


@given(st.lists(st.tuples(st.integers(0, 6), st.booleans()), min_size=1, max_size=60))
def test_auc_is_the_share_that_mann_and_whitney_count(rows: list[tuple[int, bool]]) -> None:
    value_N = np.array([value for value, _ in rows])
    desirable_N = np.array([label for _, label in rows])
    good, bad = value_N[desirable_N], value_N[~desirable_N]

    if len(good) == 0 or len(bad) == 0:
        assert auc(value_N, desirable_N) is None
    else:
        assert auc(value_N, desirable_N) == pytest.approx(mannwhitneyu(good, bad).statistic / (len(good) * len(bad)))


def test_the_noise_of_the_auc_is_its_spread_over_random_labels() -> None:
    rng = np.random.default_rng(0)
    value_N = np.arange(60)
    found = [auc(value_N, rng.permutation(np.arange(60) < 20)) for _ in range(3000)]

    assert auc_noise(20, 40) == pytest.approx(np.std(found), rel=0.05)

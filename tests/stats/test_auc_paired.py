"""Paired differences of AUCs: signs, rows, and p-values that are rarely small where nothing differs."""

import numpy as np
import pytest

from haloes.stats.auc import auc, auc_difference_with_interval
from haloes.stats.auc_paired import ScoredRows, auc_differences


def rows(seed: int, *, better: float = 0.0, num: int = 60) -> ScoredRows:
    rng = np.random.default_rng(seed)
    labels = np.arange(num) % 2 == 0
    return ScoredRows(
        scores=(rng.normal(size=num) + better * labels).tolist(),
        others=rng.normal(size=num).tolist(),
        labels=labels.tolist(),
        prompts=(np.arange(num) // 2).tolist(),
    )


def test_a_difference_is_the_first_minus_the_second():
    given = rows(0, better=3.0)
    (found,) = auc_differences({("good", "noise"): given})

    assert (found.model, found.other) == ("good", "noise")
    assert found.score.value == pytest.approx(auc(given.scores, given.labels) - auc(given.others, given.labels))
    assert found.score == auc_difference_with_interval(given.others, given.scores, given.labels, given.prompts)
    assert found.p_value < 0.01


def test_exchanged_models_give_the_opposite():
    one = rows(1, better=1.0)
    other = ScoredRows(scores=one.others, others=one.scores, labels=one.labels, prompts=one.prompts)
    (found,), (opposite,) = auc_differences({("a", "b"): one}), auc_differences({("b", "a"): other})

    assert found.score.value == -opposite.score.value
    assert found.score.low == pytest.approx(-opposite.score.high)
    assert found.p_value == opposite.p_value


def test_p_values_are_corrected_for_their_number():
    found = auc_differences({("a", "b"): rows(2, better=3.0), ("a", "c"): rows(3), ("b", "c"): rows(4)})

    assert found[0].p_holm == pytest.approx(3 * found[0].p_value)
    assert all(difference.p_holm >= difference.p_value for difference in found)


def test_equal_scores_have_no_difference():
    given = rows(5)
    (found,) = auc_differences(
        {("a", "b"): ScoredRows(scores=given.scores, others=given.scores, labels=given.labels, prompts=given.prompts)}
    )

    assert (found.score.value, found.p_value) == (0.0, 1.0)


def test_rows_of_one_label_are_left_out():
    only = ScoredRows(scores=[1.0, 2.0], others=[2.0, 1.0], labels=[True, True], prompts=["a", "b"])

    assert auc_differences({("a", "b"): only}) == []


def test_a_false_alarm_is_about_as_rare_as_it_says():
    p_values = [auc_differences({("a", "b"): rows(100 + i)}, draws=200)[0].p_value for i in range(200)]

    assert np.mean(np.array(p_values) < 0.05) < 0.1

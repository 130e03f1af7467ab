"""Which AUC counts, and that a ranking of lengths is no success."""

import pytest

from haloes.report.auc_verdict import auc_verdict
from haloes.results import Score

Interval = tuple[float, float, float]


def score(name: str, interval: Interval, label: str = "") -> Score:
    value, low, high = interval
    numbers = {"value": value, "low": low, "high": high, "num_rows": 80, "num_clusters": 40}
    return Score(name=name, variant="after", method="m", label=label, **numbers)


def verdict(pooled: Interval, controlled: Interval | None, length: Interval | None):
    return auc_verdict(
        score("auc", pooled),
        None if controlled is None else score("auc_length_controlled", controlled),
        None if length is None else score("auc_length", length, "AUC of length alone (shorter is better)"),
    )


def test_where_length_says_nothing_the_auc_of_all_answers_leads():
    found = verdict((0.7, 0.62, 0.77), (0.69, 0.58, 0.78), (0.52, 0.45, 0.59))

    assert (found.leading.name, found.verdict) == ("auc", "signal")
    assert "At equal length: 0.69" in found.sentence
    assert "AUC of length alone (shorter is better): 0.52" in found.sentence


def test_a_wider_interval_of_fewer_answers_is_no_disagreement():
    found = verdict((0.6, 0.53, 0.66), (0.59, 0.49, 0.68), (0.51, 0.45, 0.57))

    assert (found.leading.name, found.verdict) == ("auc", "signal")


def test_a_ranking_that_is_gone_at_equal_length_is_undecided_and_says_why():
    found = verdict((0.7, 0.62, 0.77), (0.51, 0.4, 0.62), (0.66, 0.58, 0.73))

    assert (found.leading.name, found.verdict) == ("auc_length_controlled", "unclear")
    assert "Over all answers it is 0.70" in found.sentence
    assert "so the number at equal length counts" in found.sentence


def test_a_reward_that_drifts_the_wrong_way_is_not_called_worse():
    found = verdict((0.42, 0.36, 0.48), (0.64, 0.55, 0.72), (0.6, 0.53, 0.67))

    assert (found.leading.name, found.verdict) == ("auc_length_controlled", "signal")


@pytest.mark.parametrize("controlled", [(0.9, 0.8, 0.95), (0.6, 0.4, 0.8), None])
def test_where_length_alone_does_as_well_it_is_no_success(controlled: Interval | None):
    found = verdict((0.9, 0.84, 0.94), controlled, (0.92, 0.86, 0.96))

    assert found.verdict == "unclear"
    assert "0.92" in found.sentence
    knows_more = controlled is not None and controlled[1] > 0.5
    assert ("At equal length it tells them apart too" in found.sentence) == knows_more


def test_length_alone_within_the_interval_leaves_it_open_unless_equal_length_shows_more():
    assert verdict((0.92, 0.85, 0.96), None, (0.9, 0.83, 0.95)).verdict == "unclear"
    assert verdict((0.92, 0.85, 0.96), (0.91, 0.7, 0.97), (0.9, 0.83, 0.95)).verdict == "signal"


def test_a_run_of_before_these_numbers_is_judged_by_its_auc():
    found = verdict((0.7, 0.62, 0.78), None, None)

    assert (found.leading.name, found.verdict) == ("auc", "signal")
    assert "length" not in found.sentence

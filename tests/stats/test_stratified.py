"""Means and paired differences over a benchmark's questions, against sums done by hand and simulation."""

import numpy as np
import pytest

from haloes.errors import DataError
from haloes.stats.stratified import benchmark_changes, benchmark_mean, resampled_means


def mean(values: list[float], questions: list[str], subtasks: list[str]):
    return benchmark_mean(values, questions, subtasks, name="acc", variant="after", seed=1)


def rows(*per_subtask: tuple[int, int]) -> tuple[list[float], list[str], list[str]]:
    """Of each subtask (right, wrong): the values, the questions and the subtasks."""
    values, questions, subtasks = [], [], []
    for i, (right, wrong) in enumerate(per_subtask):
        values += [1.0] * right + [0.0] * wrong
        questions += [f"{i}-{j}" for j in range(right + wrong)]
        subtasks += [f"s{i}"] * (right + wrong)
    return values, questions, subtasks


def test_every_question_counts_once_whatever_its_subtask():
    score = mean(*rows((90, 10), (10, 40)))
    assert score is not None
    assert score.value == pytest.approx(100 / 150)
    assert (score.num_rows, score.num_clusters) == (150, 150)
    assert "within 2 subtasks" in score.method


def test_how_hard_a_subtask_is_does_not_widen_the_interval():
    values, questions, subtasks = rows((95, 5), (5, 95))
    inside = mean(values, questions, subtasks)
    across = mean(values, questions, ["all"] * len(values))
    assert inside is not None
    assert across is not None
    # Standard errors: sqrt(2 * 100 * 0.95 * 0.05) / 200 = 0.0154 within, sqrt(0.25 / 200) = 0.0354 across.
    assert inside.high - inside.low == pytest.approx(2 * 1.96 * 0.0154, rel=0.08)
    assert across.high - across.low == pytest.approx(2 * 1.96 * 0.0354, rel=0.08)


def test_two_questions_a_subtask_keep_their_whole_variance():
    rng = np.random.default_rng(0)
    mean_C, stratum_C = rng.random(400), np.repeat(np.arange(200), 2)
    drawn = resampled_means(mean_C, stratum_C, draws=4000, seed=0)
    # The variance of a stratified mean: sum over strata of n^2 * s^2 / n, over N^2.
    pairs = mean_C.reshape(200, 2)
    exact = sum(2 * pair.var(ddof=1) for pair in pairs) / 400**2
    assert drawn.var() == pytest.approx(exact, rel=0.08)
    assert drawn.mean() == pytest.approx(mean_C.mean(), abs=0.001)


def test_subtasks_with_one_question_are_thrown_together():
    drawn = resampled_means(np.array([0.0, 1.0, 0.0, 1.0]), np.arange(4), draws=4000, seed=0)
    # Four questions in one stratum: variance s^2 / n = (1/3) / 4.
    assert drawn.var() == pytest.approx(1 / 12, rel=0.1)


def test_a_single_question_alone_joins_another_subtask():
    drawn = resampled_means(np.array([1.0, 0.0, 1.0, 1.0]), np.array([0, 0, 0, 1]), draws=4000, seed=0)
    # Together {1, 0, 1, 1}: s^2 / n = 0.25 / 4.
    assert drawn.var() == pytest.approx(0.25 / 4, rel=0.1)


def test_few_or_one_sided_scores_get_the_interval_without_subtasks():
    for given in (rows((3, 3), (2, 2)), rows((60, 1), (60, 2)), rows((0, 40), (0, 40))):
        score = mean(*given)
        assert score is not None
        assert "Wilson" in score.method
        assert score.low < score.high


def test_there_is_no_score_of_a_single_question():
    assert mean([1.0], ["q"], ["s"]) is None


def test_the_parts_of_a_question_stay_together():
    score = mean([1.0, 1.0, 0.0, 0.0], ["a", "a", "b", "c"], ["s"] * 4)
    assert score is not None
    assert score.value == pytest.approx(1 / 3)
    assert score.num_clusters == 3


def test_intervals_within_subtasks_cover_as_often_as_they_say():
    rng = np.random.default_rng(3)
    chances = np.repeat([0.9, 0.6, 0.3, 0.1], 30)
    questions = [str(i) for i in range(len(chances))]
    subtasks = np.repeat(["a", "b", "c", "d"], 30).tolist()
    covered = 0
    for i in range(400):
        values = (rng.random(len(chances)) < chances).astype(float).tolist()
        score = benchmark_mean(values, questions, subtasks, name="x", variant="x", draws=400, seed=i)
        assert score is not None
        covered += score.low <= chances.mean() <= score.high
    assert 0.91 <= covered / 400 <= 0.98


def pair(before: list[int], after: list[int], subtask: str = "s"):
    keys = [str(i) for i in range(len(before))]
    return (
        dict(zip(keys, map(float, before), strict=True)),
        dict(zip(keys, map(float, after), strict=True)),
        dict.fromkeys(keys, subtask),
    )


def test_a_change_is_paired_by_question():
    # Of 8 questions: 5 gained, 0 lost. McNemar's exact p = 2 * (1/2)^5.
    found = benchmark_changes({"gsm8k": pair([0] * 5 + [1] * 3, [1] * 8)})["gsm8k"]
    assert found.score.value == pytest.approx(5 / 8)
    assert (found.test.up, found.test.down, found.test.same) == (5, 0, 3)
    assert found.test.p_value == pytest.approx(2 / 32)
    assert found.p_holm == found.test.p_value
    assert found.score.variant == "difference"
    assert found.score.low < 5 / 8 < found.score.high


def test_several_benchmarks_are_corrected_together():
    found = benchmark_changes(
        {"a": pair([0] * 8, [1] * 8), "b": pair([0] * 5 + [1], [1] * 6), "c": pair([1, 0, 1], [0, 1, 1])}
    )
    # Raw: 2/2^8, 2/2^5, 1. By Holm's steps: times 3, 2 and 1.
    assert [found[name].p_holm for name in "abc"] == pytest.approx([3 * 2 / 256, 2 * 2 / 32, 1.0])


def test_swapping_before_and_after_turns_the_sign():
    rng = np.random.default_rng(5)
    before, after = (rng.integers(2, size=300).tolist() for _ in range(2))
    one = benchmark_changes({"x": pair(before, after)})["x"].score
    other = benchmark_changes({"x": pair(after, before)})["x"].score
    assert one.value == pytest.approx(-other.value)
    assert one.low == pytest.approx(-other.high, abs=0.01)


def test_questions_of_one_side_only_are_refused():
    before, after, subtasks = pair([1, 0], [1, 0])
    del after["1"]
    with pytest.raises(DataError, match="question '1' is on one side only"):
        benchmark_changes({"x": (before, after, subtasks)})


def test_a_question_in_two_subtasks_and_a_score_above_one_are_refused():
    with pytest.raises(DataError, match="stands in the subtasks 's' and 't'"):
        mean([1.0, 0.0], ["q", "q"], ["s", "t"])
    with pytest.raises(DataError, match=r"value 2.0 of row 0 is not in \[0, 1\]"):
        mean([2.0, 0.0], ["q", "r"], ["s", "s"])
    with pytest.raises(DataError, match="1 values"):
        mean([1.0], ["q", "r"], ["s", "s"])

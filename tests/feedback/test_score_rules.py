"""Scores to labels, against sums done by hand."""

import json
import math
from collections.abc import Sequence

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from haloes.errors import ConfigError
from haloes.feedback.keys import group_of
from haloes.feedback.score_rules import RULES, AboveMean, AboveMedian, Bernoulli, ScoreRule, Threshold, label_scores
from haloes.records import Feedback, Pair, Refusal, Where

finite = st.floats(-1e6, 1e6)


def scored(scores: Sequence[float | None], prompts: str = "") -> list[Feedback]:
    prompts = prompts or "p" * len(scores)
    return [
        Feedback(prompt=prompt, completion=f"answer {i}", score=score)
        for i, (prompt, score) in enumerate(zip(prompts, scores, strict=True))
    ]


def labels(rule: ScoreRule, scores: Sequence[float], prompts: str = "") -> list[bool | str | None]:
    """One verdict a row: True, False, or "-" for a row that was dropped."""
    done = label_scores(scored(scores, prompts), rule)
    return ["-" if isinstance(row, Refusal) else row.label for row in done]  # type: ignore[union-attr]


def test_a_score_at_the_threshold_is_desirable() -> None:
    assert labels(Threshold(tau=3), [2, 3, 4]) == [False, True, True]


def test_the_dead_zone_is_dropped_and_its_edges_are_not() -> None:
    # 3 - 1 = 2 is bad, 3 + 1 = 4 is good, what lies between says nothing.
    assert labels(Threshold(tau=3, dead_zone=1), [1, 2, 2.1, 3, 3.9, 4, 5]) == [False, False, "-", "-", "-", True, True]


def test_above_the_mean_of_all() -> None:
    # The mean of 1, 2, 9 and 4 is 4: equal to it is neither.
    assert labels(AboveMean(), [1, 2, 9, 4]) == [False, False, True, "-"]


def test_above_the_mean_of_each_prompt() -> None:
    # p: mean 2; q: mean 20; r has a single answer, which is its own mean.
    assert labels(AboveMean(per_prompt=True), [1, 10, 3, 30, 7], "pqpqr") == [False, False, True, True, "-"]


def test_above_the_median_of_all() -> None:
    # Sorted 1, 2, 3, 100: the median is 2.5, the mean 26.5.
    assert labels(AboveMedian(), [100, 1, 3, 2]) == [True, False, True, False]
    assert labels(AboveMedian(), [100, 1, 3]) == [True, False, "-"]


def test_above_the_median_of_each_prompt() -> None:
    # p: 1, 2, 3 -> 2; q: 10, 40 -> 25; r is alone.
    assert labels(AboveMedian(per_prompt=True), [3, 40, 1, 10, 2, 5], "pqpqpr") == [True, True, False, False, "-", "-"]


def test_equal_scores_tie_whatever_their_sum_is_rounded_to() -> None:
    # (0.1 + 0.1 + 0.1) / 3 is 0.10000000000000002 in floating point.
    assert labels(AboveMean(), [0.1] * 3) == ["-"] * 3
    assert labels(AboveMean(per_prompt=True), [0.1, 0.7, 0.1, 0.7, 0.1, 0.7], "pqpqpq") == ["-"] * 6


@given(st.lists(st.tuples(st.sampled_from("pqr"), st.integers(1, 5)), min_size=1, max_size=30))
def test_centres_per_prompt_are_those_of_numpy(rows: list[tuple[str, int]]) -> None:
    scores, prompts = [float(score) for _, score in rows], "".join(prompt for prompt, _ in rows)
    for rule, centre in ((AboveMean(per_prompt=True), np.mean), (AboveMedian(per_prompt=True), np.median)):
        expected = []
        for prompt, score in rows:
            middle = centre([other for p, other in rows if p == prompt])
            expected.append("-" if score == pytest.approx(middle) else bool(score > middle))
        assert labels(rule, scores, prompts) == expected


def test_a_draw_is_desirable_as_often_as_the_logistic_says() -> None:
    for score in (-2.0, 0.0, 1.0, 3.0):
        rule = Bernoulli(location=1.0, scale=2.0, seed=5)
        share = np.mean([label is True for label in labels(rule, [score] * 4000)])
        # Four standard errors of a share over 4000 draws are at most 0.032.
        assert share == pytest.approx(1 / (1 + math.exp(-(score - 1.0) / 2.0)), abs=0.032)


@given(st.lists(finite, min_size=1, max_size=20), st.randoms(use_true_random=False), st.integers())
def test_a_draw_belongs_to_its_row(scores: list[float], random: object, seed: int) -> None:
    rule = Bernoulli(location=0.0, scale=1000.0, seed=seed)
    rows = scored(scores)
    together = {row.completion: row for row in label_scores(rows, rule)}  # type: ignore[union-attr]
    random.shuffle(rows)  # type: ignore[attr-defined]

    assert {row.completion: row for row in label_scores(rows, rule)} == together  # type: ignore[union-attr]
    assert [next(iter(label_scores([row], rule))) for row in rows] == [together[row.completion] for row in rows]


@given(finite, st.floats(0, 1e6), st.integers())
def test_a_higher_score_never_turns_a_good_answer_bad(score: float, more: float, seed: int) -> None:
    rule = Bernoulli(location=0.0, scale=100.0, seed=seed)

    assert labels(rule, [score + more]) >= labels(rule, [score])  # type: ignore[operator]


def test_another_seed_draws_anew() -> None:
    draws = {tuple(labels(Bernoulli(location=0.0, scale=1.0, seed=seed), [0.0] * 20)) for seed in range(10)}

    assert len(draws) == 10


def test_extreme_scores_are_certain_without_a_warning() -> None:
    assert labels(Bernoulli(location=0.0, scale=1e-300), [1e300, -1e300]) == [True, False]


def test_a_missing_score_is_refused_with_its_place() -> None:
    rows = [
        Feedback(prompt="p", completion="a", label=True, where=Where("f.jsonl", 7)),
        Feedback(prompt="p", completion="b", score=float("nan")),
        Feedback(prompt="p", completion="c", score=float("inf")),
        Feedback(prompt="p", completion="d", score=1.0),
    ]

    *refused, dropped = label_scores(rows, AboveMean())

    assert [str(row) for row in refused] == [
        "f.jsonl:7: the row has no score; give it one, or leave the row out",
        "row:2: the row has the score nan, which is no finite number; give it one, or leave the row out",
        "row:3: the row has the score inf, which is no finite number; give it one, or leave the row out",
    ]
    assert {row.reason for row in refused if isinstance(row, Refusal)} == {"score"}
    # The only score left is the mean itself.
    assert dropped == Refusal(Where("row", 4), "no verdict", "the score equals the mean: 1")


def test_the_score_decides_over_a_label_and_all_else_stays() -> None:
    row = Feedback(prompt="p", completion="c", label=True, score=1.0, id="1", user="ann", weight=2.0, source="s")

    [done] = label_scores([row], Threshold(tau=2))

    assert done == Feedback(
        prompt="p", completion="c", label=False, score=1.0, id="1", user="ann", weight=2.0, source="s"
    )


def test_pairs_and_refusals_pass_and_nothing_at_all_is_fine() -> None:
    whole = Pair(prompt="p", chosen="c", rejected="r")
    refusal = Refusal(Where("f", 1), "label", "none")

    for rule in (Threshold(tau=0), AboveMean(), AboveMedian(per_prompt=True), Bernoulli(location=0, scale=1)):
        assert list(label_scores([whole, refusal], rule)) == [whole, refusal]
        assert list(label_scores([], rule)) == []


def test_a_generator_is_as_good_as_a_list() -> None:
    rows = scored([1.0, 2.0, 6.0])

    assert list(label_scores(iter(rows), AboveMean())) == list(label_scores(rows, AboveMean()))


def test_settings_that_make_no_sense_are_refused() -> None:
    with pytest.raises(ConfigError, match="dead_zone must be 0 or more, got -1"):
        Threshold(tau=0, dead_zone=-1)
    with pytest.raises(ConfigError, match="tau must be a number, got nan"):
        Threshold(tau=float("nan"))
    with pytest.raises(ConfigError, match="scale must be positive, got 0"):
        Bernoulli(location=0, scale=0)
    with pytest.raises(ConfigError, match="location must be a number, got inf"):
        Bernoulli(location=float("inf"), scale=1)


def test_every_rule_is_found_by_its_name() -> None:
    assert list(RULES) == ["threshold", "mean", "median", "bernoulli"]
    assert RULES["bernoulli"](location=0.0, scale=1.0) == Bernoulli(location=0.0, scale=1.0)


def test_groups_decide_what_is_one_prompt() -> None:
    rows = [Feedback(prompt=str(i), completion="c", score=float(i), group="g") for i in range(2)]

    assert len({group_of(row) for row in rows}) == 1
    assert [row.label for row in label_scores(rows, AboveMean(per_prompt=True))] == [False, True]  # type: ignore[union-attr]


def test_verdicts_are_plain_booleans() -> None:
    [row] = label_scores(scored([3.0]), Threshold(tau=1))

    assert json.dumps(row.label) == "true"  # type: ignore[union-attr]

"""Before and after: three numbers for each thing measured, or none where none can be given."""

from collections.abc import Iterable

import pytest

from haloes.errors import DataError
from haloes.records import Completion
from haloes.results import Score
from haloes.stats.before_after import compare_completions, compare_means, compare_shares
from haloes.stats.both_sides import BothSides


def answer(prompt_id: str, text: str, model: str, *, finished: bool = True) -> Completion:
    return Completion(
        prompt_id=prompt_id,
        prompt="?",
        completion=text,
        model=model,
        num_tokens=2 * len(text.split()),
        finished=finished,
    )


def by_name(scores: Iterable[Score]) -> dict[tuple[str, str], Score]:
    return {(score.name, score.variant): score for score in scores}


def test_shares_come_as_before_after_and_difference():
    keys = list(range(10))
    scores = by_name(
        compare_shares(BothSides([True] * 2 + [False] * 8, keys, [True] * 7 + [False] * 3, keys), name="liked")
    )
    assert {key: score.value for key, score in scores.items()} == pytest.approx(
        {("liked", "before"): 0.2, ("liked", "after"): 0.7, ("liked", "difference"): 0.5}
    )


def test_means_come_as_before_after_and_difference():
    keys = ["a", "b"]
    scores = compare_means(BothSides([1.0, 3.0], keys, [2.0, 8.0], keys), name="kl", label="KL to the reference")
    assert [(s.variant, s.value) for s in scores] == [("before", 2.0), ("after", 5.0), ("difference", 3.0)]
    assert {s.label for s in scores} == {"KL to the reference"}


def test_a_single_prompt_gives_no_scores():
    assert compare_shares(BothSides([True], ["a"], [True], ["a"]), name="liked") == ()
    assert compare_means(BothSides([1.0], ["a"], [1.0], ["a"]), name="kl") == ()


def test_completions_are_compared_on_what_can_be_counted():
    before = [answer("a", "one two three four", "before"), answer("b", "one two", "before", finished=False)]
    after = [answer("b", "one", "after"), answer("a", "one two three", "after")]
    scores = by_name(compare_completions(before, after))
    assert scores["words", "before"].value == 3
    assert scores["words", "after"].value == 2
    assert scores["words", "difference"].value == -1
    assert scores["tokens", "difference"].value == -2
    assert scores["repetition", "after"].value == 0
    assert scores["finished", "before"].value == 0.5
    assert scores["finished", "difference"].value == 0.5


def test_answers_that_repeat_themselves_are_counted_on_both_sides():
    before = [answer(name, "It is cold.", "before") for name in "abcd"]
    after = [answer("a", "1. 1. 1. 2. 3.", "after"), *(answer(name, "It is cold.", "after") for name in "bcd")]
    scores = by_name(compare_completions(before, after))
    assert [scores["repeats", side].value for side in ("before", "after", "difference")] == [0, 0.25, 0.25]
    assert scores["repeats", "difference"].low < 0.25 < scores["repeats", "difference"].high


def test_answers_to_different_prompts_are_not_compared():
    with pytest.raises(DataError, match="on one side only"):
        compare_completions([answer("a", "x", "before")], [answer("b", "x", "after")])

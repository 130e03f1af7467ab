"""Which of two answers is better: names, scales in both directions, ties, and what is refused."""

from typing import Any

import pytest

from haloes.errors import ConfigError, DataError
from haloes.feedback.preferences import BY_NAMES, Preference, check_preference_column, preference_scale
from haloes.feedback.refusals import RefusalError


def reason(settings: dict[str, Any] | None, value: object) -> str:
    with pytest.raises(RefusalError) as refused:
        preference_scale(settings).read(value)
    return refused.value.reason


@pytest.mark.parametrize(
    ("value", "side"),
    [
        *(
            (name, "a")
            for name in ("A", "a", "model_a", "Model A", "left", "first", "answer_a", "A is better", "response-a")
        ),
        *((name, "b") for name in ("B", "model_b", " right ", "second", "assistant_b", "b wins")),
    ],
)
def test_names_of_a_side_need_no_scale(value: str, side: str) -> None:
    assert BY_NAMES.read(value).side == side
    assert BY_NAMES.read(value).strength is None


@pytest.mark.parametrize("value", ["tie", "Tie", "both_bad", "tie (bothbad)", "both good", "neither", "no preference"])
def test_ties_are_told_apart_from_what_nobody_compared(value: str) -> None:
    assert reason(None, value) == "tie"
    assert [reason(None, empty) for empty in (None, "", "  ")] == ["no label"] * 3


@pytest.mark.parametrize("ends", [(1, 5), (5, 1)])
def test_a_scale_is_read_in_the_direction_that_is_stated(ends: tuple[int, int]) -> None:
    scale = preference_scale({"a": ends[0], "b": ends[1]})
    high, low = ("b", "a") if ends == (1, 5) else ("a", "b")

    assert [scale.read(value) for value in (1, "2", 4.0, 5)] == [
        Preference(low, 2.0), Preference(low, 1.0), Preference(high, 1.0), Preference(high, 2.0),
    ]  # fmt: skip
    assert reason({"a": ends[0], "b": ends[1]}, 3) == "tie"


def test_a_scale_may_be_negative_have_no_middle_and_name_further_ties() -> None:
    assert preference_scale({"a": -3, "b": 3}).read(-1) == Preference("a", 1.0)
    assert preference_scale({"a": 0, "b": 1}).read(1) == Preference("b", 0.5)
    assert reason({"a": 1, "b": 4, "tie": [2, 3]}, 3) == "tie"
    assert preference_scale({"a": 1, "b": 4, "tie": [2, 3]}).read(4) == Preference("b", 1.5)


def test_words_and_single_numbers_can_be_named() -> None:
    scale = preference_scale({"a": ["GPT", "Strongly left"], "b": "llama", "tie": ["beide"]})
    assert [scale.read(value).side for value in ("gpt", "strongly  LEFT", "Llama")] == ["a", "a", "b"]
    assert reason({"a": ["gpt"], "b": ["llama"], "tie": ["beide"]}, "Beide") == "tie"
    assert preference_scale({"a": [1, 2], "b": [3]}).read("2") == Preference("a")
    assert preference_scale({"a": [False], "b": [True]}).read("True") == Preference("b")


@pytest.mark.parametrize(
    ("settings", "value"),
    [
        (None, 1),
        (None, "5"),
        (None, "maybe"),
        (None, True),
        (None, []),
        ({"a": 1, "b": 5}, 0),
        ({"a": [1], "b": [2]}, 3),
    ],
)
def test_what_is_not_said_is_refused(settings: dict[str, Any] | None, value: object) -> None:
    assert reason(settings, value) == "preference"


@pytest.mark.parametrize(
    "settings",
    [{}, {"a": 1}, {"a": 1, "b": 1}, {"a": 1, "b": 5, "c": 3}, {"a": ["x"], "b": ["X"]}, {"a": [None], "b": "x"}],
)
def test_a_scale_that_says_nothing_is_refused_with_an_example(settings: dict[str, Any]) -> None:
    with pytest.raises(ConfigError, match=r"feedback\.preference_scale.*such as \{a: 1, b: 5\}"):
        preference_scale(settings)


def test_a_column_of_numbers_is_refused_as_a_whole_with_both_directions_to_type() -> None:
    values = [(f"f:{line}", value) for line, value in enumerate(["A", 1, "", 5, 3], start=1)]
    with pytest.raises(DataError) as refused:
        check_preference_column(values, BY_NAMES)
    message = str(refused.value)
    assert message.startswith("f:2: the preferences are numbers (seen: 1, 3, 5), which do not say")
    assert "--set feedback.preference_scale='{a: 1, b: 5}' where 5 means that B is better" in message
    assert "'{a: 5, b: 1}' where it means that A is" in message
    check_preference_column(values, preference_scale({"a": 1, "b": 5}))
    check_preference_column(values[:1], BY_NAMES)


def test_a_scale_is_described_for_a_person_to_check() -> None:
    assert preference_scale({"a": 5, "b": 1}).describe() == "from 5 (A is better) to 1 (B is better), 3 is a tie"
    assert preference_scale({"a": ["x"], "b": [2], "tie": "z"}).describe() == "x: A is better; 2: B is better; z: a tie"

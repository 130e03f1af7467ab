"""Labels and scores: an explicit list, and nothing else."""

import math

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from haloes.errors import DataError
from haloes.feedback.labels import check_label_column, parse_label, parse_score
from haloes.feedback.refusals import RefusalError

# Written by hand, not taken from the code under test.
DESIRABLE = {"true", "1", "1.0", "+1", "yes", "good", "up", "like", "desirable", "positive"}
DESIRABLE |= {"thumbs_up", "thumbs-up", "thumbs up", "thumbsup", "thumb_up"}
DESIRABLE |= {"👍", "👍🏻", "👍🏼", "👍🏽", "👍🏾", "👍🏿", "👍\ufe0f"}
UNDESIRABLE = {"false", "0", "0.0", "-1", "no", "bad", "down", "dislike", "undesirable", "negative"}
UNDESIRABLE |= {"thumbs_down", "thumbs-down", "thumbs down", "thumbsdown", "thumb_down"}
UNDESIRABLE |= {"👎", "👎🏻", "👎🏼", "👎🏽", "👎🏾", "👎🏿", "👎\ufe0f"}


@pytest.mark.parametrize("word", sorted(DESIRABLE))
def test_words_for_desirable(word: str) -> None:
    assert parse_label(word) is parse_label(word.upper()) is parse_label(f" {word.title()}\n") is True


@pytest.mark.parametrize("word", sorted(UNDESIRABLE))
def test_words_for_undesirable(word: str) -> None:
    assert parse_label(word) is parse_label(word.upper()) is parse_label(f" {word.title()}\n") is False


@pytest.mark.parametrize(
    ("value", "label"), [(True, True), (False, False), (1, True), (0, False), (1.0, True), (0.0, False)]
)
def test_booleans_and_the_numbers_0_and_1(value: object, label: bool) -> None:
    assert parse_label(value) is label


@pytest.mark.parametrize(
    "value", [-1, 2, 0.2, 0.999, -1.0, 10**400, math.inf, "2", "0.2", "-1.0", "maybe", "none", [], {}, [True]]
)
def test_anything_else_is_refused_with_its_value(value: object) -> None:
    with pytest.raises(RefusalError) as refused:
        parse_label(value)
    assert refused.value.reason == "label"
    assert repr(value)[:20] in refused.value.message


@pytest.mark.parametrize("value", [-1, 0.2, "0.2", "3"])
def test_a_number_on_a_scale_points_to_scores(value: object) -> None:
    with pytest.raises(RefusalError, match=r"feedback\.labels_from"):
        parse_label(value)


@pytest.mark.parametrize(
    ("value", "reason"), [(math.nan, "NaN"), ("NaN", "NaN"), (None, "no label"), ("", "no label"), (" ", "no label")]
)
def test_an_absent_label_is_not_a_wrong_one(value: object, reason: str) -> None:
    with pytest.raises(RefusalError) as refused:
        parse_label(value)
    assert refused.value.reason == reason


@given(st.none() | st.booleans() | st.integers() | st.floats() | st.text() | st.lists(st.booleans()))
def test_no_value_outside_the_list_ever_becomes_a_label(value: object) -> None:
    listed = value.strip().casefold() in DESIRABLE | UNDESIRABLE if isinstance(value, str) else value in (0, 1)
    assume(not listed)
    with pytest.raises(RefusalError):
        parse_label(value)


@given(st.floats(allow_nan=False, allow_infinity=False) | st.integers(-(10**15), 10**15))
def test_a_score_is_a_number_or_a_text_that_spells_one(number: float) -> None:
    assert parse_score(number) == parse_score(str(number)) == float(number)


@pytest.mark.parametrize(
    ("value", "reason"),
    [(True, "score"), ("good", "score"), (None, "score"), (math.inf, "score"), ("inf", "score"), (10**400, "score"),
     ("1_000", "score"), (math.nan, "NaN")],
)  # fmt: skip
def test_what_is_not_a_finite_number_is_no_score(value: object, reason: str) -> None:
    with pytest.raises(RefusalError) as refused:
        parse_score(value)
    assert refused.value.reason == reason


def column(*values: object) -> list[tuple[str, object]]:
    return [(f"f.jsonl:{line}", value) for line, value in enumerate(values, start=1)]


@pytest.mark.parametrize(
    "values",
    [
        [1, -1] * 4,  # a 1 would pass as desirable, and every -1 would be lost
        [1, 0, -1] * 3,  # a draw would pass as undesirable
        [5, 4, 1, 2, 3, 5, 1, 4],  # the worst of five stars would pass as desirable
        ["5", "4", "1", "2", "3", "5", "1", "4"],
        [0.0, 0.25, 1.0, 0.5, 0.0, 0.75, 1.0, 0.5],
        ["1", "0", "-1"],
    ],
)
def test_a_column_of_other_numbers_is_refused_before_its_0s_and_1s_pass_for_labels(values: list[object]) -> None:
    with pytest.raises(
        DataError, match=r"f.jsonl:\d+: the labels are numbers other than 0 and 1.*feedback.labels_from"
    ):
        check_label_column(column(*values))


@pytest.mark.parametrize(
    "values",
    [
        [],
        [1, 0] * 20,
        [True, False, -1, 0.2, "good", None],  # some bad values among labels: refused row by row
        [1, 0, -1],  # too few to say what the column means
        [*([1, 0] * 20), 7],  # a slip of the hand
        ["1", "-1"] * 20,
        ["+1", "-1"] * 20,
        [0.2, 0.5] * 20,  # none of these can pass for a label
        [None, ""] * 20,
    ],
)
def test_a_column_of_labels_is_left_to_its_rows(values: list[object]) -> None:
    check_label_column(column(*values))

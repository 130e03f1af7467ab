"""Values of exports: thumbs are never turned round, and nothing is trusted."""

import pytest

from haloes.feedback.importers.values import as_id, as_list, as_map, as_number, as_text, at, first_of, has_ended, thumb
from haloes.feedback.refusals import RefusalError


@pytest.mark.parametrize("value", [0, 0.0, False, "0", " 0 ", "0.0", "false", "FALSE"])
def test_a_zero_is_a_thumb_down_and_not_missing(value: object):
    assert thumb(value, up=(1,), down=(0,)) is False


@pytest.mark.parametrize("value", [1, 1.0, True, "1", "+1", "true"])
def test_a_one_is_a_thumb_up(value: object):
    assert thumb(value, up=(1,), down=(0,)) is True


def test_words_are_read_in_any_case():
    assert thumb(" Like ", up=("like",), down=("dislike",)) is True
    assert thumb("DISLIKE", up=("like",), down=("dislike",)) is False


@pytest.mark.parametrize("value", [None, "", "  ", 0, "0"])
def test_what_is_no_verdict_is_none(value: object):
    assert thumb(value, up=(1,), down=(-1,), none=(0,)) is None


@pytest.mark.parametrize("value", [2, "up", float("nan"), [], {}, [1], 10**400, "nan"])
def test_a_verdict_that_is_none_of_the_known_is_refused(value: object):
    with pytest.raises(RefusalError, match="is none of 1, -1"):
        thumb(value, up=(1,), down=(-1,))


def test_values_of_the_wrong_kind_are_nothing():
    assert at({"a": {"b": 1}}, "a", "b") == 1
    assert at({"a": [1]}, "a", "b") is at(None, "a") is None
    assert first_of({"a": None, "b": 0}, "a", "b") == 0
    assert as_map("[1]") == as_map(None) == {}
    assert as_list('{"a": 1}') == as_list("x") == []
    assert as_list("[1]") == as_list((1,)) == [1]
    assert as_text(" ") is as_text(3) is None
    assert [as_id(value) for value in ("x", 4, 4.0, {"$oid": "y"}, True, 1.5, {}, [])] == ["x", "4", "4", "y"] + [
        None
    ] * 4
    assert [as_number(value) for value in ("4", 4, True, "x", float("nan"), 10**400)] == [4, 4, None, None, None, None]


def test_an_answer_without_a_finish_reason_may_have_ended_or_not():
    reasons = ("length", "MAX_TOKENS", "stop", None, 3, " ")
    assert [has_ended(reason) for reason in reasons] == [False, False, True, None, None, None]

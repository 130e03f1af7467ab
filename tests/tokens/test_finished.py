"""An answer that was cut off is not taught to end where it was cut."""

import pytest

from fakes import IM_END_ID, byte_tokenizer
from haloes.feedback.formats.unpaired import UNPAIRED
from haloes.feedback.refusals import RefusalError
from haloes.records import Feedback, Where, to_json
from haloes.tokens.encode import Encoded, make_encoder


def encoded(completion: str, *, finished: bool) -> Encoded:
    [row] = make_encoder(byte_tokenizer(), max_length=512).encode([("Hi", completion, ())], finished=[finished])
    assert isinstance(row, Encoded)
    return row


def test_a_cut_off_answer_gets_no_end_of_turn():
    whole, cut = encoded("Hello", finished=True), encoded("Hello", finished=False)

    assert whole.completion.tolist() == [*cut.completion.tolist(), IM_END_ID]
    assert cut.trained.all()
    assert not cut.completion_cut


def parsed(**fields: object) -> Feedback:
    row = {"prompt": "Hi", "completion": "Hello", "label": True} | fields
    [record] = UNPAIRED.parse(row, Where("f.jsonl", 1))
    assert isinstance(record, Feedback)
    return record


def test_a_row_says_whether_its_answer_came_to_an_end():
    assert parsed().finished
    assert parsed(finished=None).finished
    assert not parsed(finished=False).finished
    assert to_json(parsed(finished=False))["finished"] is False
    assert "finished" not in to_json(parsed())


@pytest.mark.parametrize("value", ["false", 0, 1.0, "yes"])
def test_finished_is_true_or_false_and_nothing_else(value: object):
    with pytest.raises(RefusalError, match="finished must be true or false"):
        parsed(finished=value)

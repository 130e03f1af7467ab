"""What the doctor finds in tokens, against rows small enough to count by hand."""

import json
from collections.abc import Iterator
from weakref import WeakSet

import pytest

from fake_tokenizers import CHATML, REFUSES_SYSTEM, REWRITES
from fakes import byte_tokenizer
from haloes.errors import ModelError
from haloes.feedback.doctor.findings import Tally, as_json
from haloes.records import Feedback, Message, Pair, Refusal, Text, Where
from haloes.tokens.doctor.advice import advise
from haloes.tokens.doctor.inspect import RenderingDifference, TokenLength, inspect_tokens
from haloes.tokens.encode import Encoder, make_encoder

# In this template a prompt of n letters has n + 19 tokens (n + 8 for the user's turn, 11 for the generation prompt),
# and an answer of n letters n + 1.


def encoder(chat_template: str | None = CHATML, *, max_length: int = 100) -> Encoder:
    return make_encoder(byte_tokenizer(chat_template=chat_template), max_length=max_length)


def vote(line: int, prompt: Text, completion: Text, label: bool | None = True) -> Feedback:
    return Feedback(prompt=prompt, completion=completion, label=label, where=Where("f", line))


def test_lengths_are_counted_by_text_and_label_before_anything_is_cut() -> None:
    rows = [
        vote(1, "p" * 2, "a" * 3, True),
        vote(2, "p" * 4, "a" * 5, True),
        vote(3, "p" * 200, "a" * 300, True),
        vote(4, "p", "", False),
        vote(5, "p", "aa", None),
    ]

    found = inspect_tokens(rows, encoder())

    assert found.lengths == (
        TokenLength(text="prompt", label="desirable", median=23, p95=219, maximum=219),
        TokenLength(text="prompt", label="undesirable", median=20, p95=20, maximum=20),
        TokenLength(text="prompt", label="unlabelled", median=20, p95=20, maximum=20),
        TokenLength(text="completion", label="desirable", median=6, p95=301, maximum=301),
        TokenLength(text="completion", label="undesirable", median=1, p95=1, maximum=1),
        TokenLength(text="completion", label="unlabelled", median=3, p95=3, maximum=3),
        TokenLength(text="both", label="desirable", median=29, p95=520, maximum=520),
        TokenLength(text="both", label="undesirable", median=21, p95=21, maximum=21),
        TokenLength(text="both", label="unlabelled", median=23, p95=23, maximum=23),
    )
    assert found.longest == 520


def test_what_does_not_fit_the_window_is_counted_with_its_first_places() -> None:
    rows = [
        vote(1, "p" * 70, "a" * 10),  # 89 + 11: just fits
        vote(2, "p" * 71, "a" * 10),  # the prompt loses one token
        vote(3, "p" * 20, "a" * 61),  # 39 + 62: the completion loses one
        vote(4, "p" * 99, "a" * 99),  # both
        vote(5, "p" * 90, "a"),
    ]

    found = inspect_tokens(rows, encoder(max_length=100), num_examples=2)

    assert (found.window, found.num_over_window) == (100, 4)
    assert found.prompts_cut == Tally(3, ("f:2", "f:4"))
    assert found.completions_cut == Tally(2, ("f:3", "f:4"))


def test_a_pair_is_one_row_whichever_of_its_sides_is_cut() -> None:
    rows = [
        Pair(prompt="p", chosen="a" * 100, rejected="b" * 200, where=Where("f", 1)),
        Pair(prompt="p", chosen="a", rejected="b" * 100, where=Where("f", 2)),
        Pair(prompt="p", chosen="a", rejected="b", where=Where("f", 3)),
    ]

    found = inspect_tokens(rows, encoder())

    assert (found.num_rows, found.num_encoded, found.num_over_window) == (3, 3, 2)
    assert found.completions_cut == Tally(2, ("f:1", "f:2"))
    assert {(one.text, one.label, one.maximum) for one in found.lengths if one.text == "completion"} == {
        ("completion", "desirable", 101),
        ("completion", "undesirable", 201),
    }


def test_rows_that_the_template_refuses_are_counted_by_reason() -> None:
    system = (Message("system", "Be."), Message("user", "Hi"))
    rows = [
        vote(1, "Hi", (Message("user", "Me."),)),
        vote(2, system, "a"),
        Pair(prompt="Hi", chosen="a", rejected=(Message("tool", "b"), Message("assistant", "c")), where=Where("f", 3)),
        vote(4, system, "a"),
        vote(5, "Hi", "a"),
    ]

    found = inspect_tokens(rows, encoder(REFUSES_SYSTEM), num_examples=1)

    refused = "the chat template refuses these messages: System role not supported"
    assert (found.num_rows, found.num_encoded) == (5, 1)
    (reason, tally), *others = found.refusals.items()
    assert (reason, tally.num) == ("chat template", 3)
    assert tally.examples[0].startswith(f"f:2: {refused}")
    assert "tokens.chat_template_kwargs.merge_system" in tally.examples[0]
    assert others == [("nothing to train on", Tally(1, ("f:1: the completion has no turn of the assistant",)))]
    assert {one.maximum for one in found.lengths if one.text == "completion"} == {2}


def test_joint_renderings_that_differ_are_counted_and_the_first_is_shown() -> None:
    rows = [
        vote(1, "Hi", "Hello"),
        vote(2, "Hi", "Hello."),
        Pair(prompt="Hi", chosen="A", rejected="B.", where=Where("f", 3)),
    ]

    found = inspect_tokens(rows, encoder(REWRITES, max_length=1000))

    assert found.disagreements == Tally(2, ("f:2", "f:3"))
    assert found.difference == RenderingDifference(
        where="f:2",
        inference="...Hi<|im_end|>\n<|im_start|>assistant\nHello.<|im_end|>",
        joint="...Hi<|im_end|>\n<|im_start|>assistant\nHello!<|im_end|>\n",
    )


def test_a_difference_is_shown_with_little_around_it() -> None:
    found = inspect_tokens([vote(1, "p" * 500, "." * 500)], encoder(REWRITES, max_length=2000))

    assert found.difference is not None
    assert found.difference.inference == "...ppppppp<|im_end|>\n<|im_start|>assistant\n" + "." * 80 + "..."
    assert len(found.difference.joint) == 3 + 40 + 80 + 3


def test_nothing_differs_where_the_template_writes_what_inference_sees() -> None:
    found = inspect_tokens([vote(1, "Hi", "Hello.")], encoder())

    assert (found.disagreements, found.difference) == (Tally(), None)


def test_the_first_rows_are_shown_as_they_are_trained_both_sides_of_a_pair() -> None:
    rows = [
        vote(1, "Hi", (Message("user", "no answer"),)),
        vote(2, "Hi", "Hello.", label=False),
        Pair(prompt="Hi", chosen="a" * 100, rejected="b", where=Where("f", 3)),
        vote(4, "Hi", "Hello."),
    ]

    found = inspect_tokens(rows, encoder(), previews=2)

    assert [(one.where, one.label, one.prompt_cut, one.completion_cut) for one in found.previews] == [
        ("f:2", "undesirable", False, False),
        ("f:3", "desirable", False, True),
        ("f:3", "undesirable", False, False),
    ]
    assert "".join(piece.text for piece in found.previews[0].pieces if piece.trained) == "Hello.<|im_end|>"
    assert "".join(piece.text for piece in found.previews[1].pieces if piece.trained) == "a" * 79


def test_no_previews_are_made_where_none_are_wanted() -> None:
    assert inspect_tokens([vote(1, "Hi", "Hello.")], encoder(), previews=0).previews == ()


def test_refusals_of_the_reader_are_passed_over_and_rows_without_a_place_named_by_their_position() -> None:
    rows = [Refusal(Where("f", 1), "label", "what?"), Feedback(prompt="Hi", completion="a" * 100, label=True)]

    found = inspect_tokens(rows, encoder())

    assert (found.num_rows, found.completions_cut) == (1, Tally(1, ("row:2",)))


def test_nothing_is_found_in_nothing() -> None:
    found = inspect_tokens([], encoder())

    assert (found.num_rows, found.lengths, found.longest, found.previews) == (0, (), 0, ())


def test_the_template_and_the_end_of_a_turn_are_named() -> None:
    chat, plain = inspect_tokens([], encoder()), inspect_tokens([], encoder(None))

    assert (chat.has_chat_template, chat.end_of_turn) == (True, "<|im_end|>")
    assert (plain.has_chat_template, plain.end_of_turn) == (False, "<|im_end|>")


def test_messages_without_a_chat_template_stop_it() -> None:
    with pytest.raises(ModelError, match="no chat template"):
        inspect_tokens([vote(1, (Message("user", "Hi"),), "Hello.")], encoder(None))


def test_many_rows_are_counted_as_a_few() -> None:
    rows = [vote(line, "p" * (line % 7), "a" * (line % 5), label=line % 3 == 0) for line in range(1, 1001)]

    found = inspect_tokens(rows, encoder(max_length=26))

    # 19 + line % 7 + line % 5 + 1 > 26
    over = [line for line in range(1, 1001) if line % 7 + line % 5 > 6]
    assert (found.num_rows, found.num_encoded, found.num_over_window) == (1000, 1000, len(over))
    assert found.prompts_cut.examples == tuple(f"f:{line}" for line in over[:3])


class Traced(str):
    """A text of which one can see whether it is still in memory."""

    __slots__ = ("__weakref__",)


def test_no_more_texts_are_in_memory_than_are_encoded_at_once() -> None:
    alive: WeakSet[Traced] = WeakSet()
    most = 0

    def rows() -> Iterator[Feedback]:
        nonlocal most
        for line in range(1000):
            text = Traced(f"answer {line}")
            alive.add(text)
            most = max(most, len(alive))
            yield vote(line, "Hi", text)

    found = inspect_tokens(rows(), encoder())

    assert found.num_encoded == 1000
    assert most < 600


def test_findings_are_ready_for_json() -> None:
    rows = [vote(1, "Hi", "Hello."), vote(2, "Hi", (Message("user", "Me."),)), vote(3, "p" * 200, "a")]

    written = json.loads(json.dumps(as_json(inspect_tokens(rows, encoder(REWRITES)))))

    assert written["difference"]["where"] == "f:1"
    assert written["refusals"]["nothing to train on"]["num"] == 1
    assert written["previews"][0]["pieces"][-1] == {"text": "<|im_end|>", "trained": True, "role": "end"}


def test_answers_that_spell_their_end_are_counted_and_ended_once() -> None:
    rows = [
        vote(1, "Hi", "Hello.<|im_end|>\n"),
        vote(2, "Hi", "It is <|im_end|>, he said."),
        vote(3, "Hi", (Message("assistant", "Yes<|im_end|>"),)),
    ]
    found = inspect_tokens(rows, encoder())

    assert found.ends_spelled.num == 2
    assert "".join(piece.text for piece in found.previews[0].pieces).count("<|im_end|>") == 2
    assert [advice.name for advice in advise(found)] == ["ends in the text"]

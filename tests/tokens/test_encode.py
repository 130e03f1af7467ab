"""Rows as token ids: exactly what inference sees and says, within the window."""

import copy
from collections.abc import Sequence
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fake_tokenizers import (
    CHATML,
    DROPS_THINKING,
    INSERTS_THINKING,
    REFUSES_SYSTEM,
    REWRITES,
    WITHOUT_END,
    WRITES_BOS,
    bos_tokenizer,
    bpe_tokenizer,
    word_tokenizer,
)
from fakes import IM_END_ID, byte_tokenizer
from haloes.errors import ConfigError, ModelError
from haloes.records import Message, Text
from haloes.tokens.encode import Encoded, Encoder, Unencodable, make_encoder, tokenizer_fingerprint

ASKED = "<|im_start|>user\nHi<|im_end|>\n<|im_start|>assistant\n"
TOOL = {"type": "function", "function": {"name": "add", "description": "adds", "parameters": {}}}


def ids(tokenizer: Any, text: str) -> list[int]:
    return tokenizer(text, add_special_tokens=False)["input_ids"]


def encoder(tokenizer: Any = None, *, max_length: int = 1000) -> Encoder:
    return make_encoder(tokenizer or byte_tokenizer(chat_template=CHATML), max_length=max_length)


def encode(prompt: Text, completion: Text, *, tokenizer: Any = None, max_length: int = 1000) -> Encoded:
    [row] = encoder(tokenizer, max_length=max_length).encode([(prompt, completion, ())])
    assert isinstance(row, Encoded), row
    return row


def text(tokens: Sequence[int]) -> str:
    return byte_tokenizer().decode([int(token) for token in tokens])


def chat(*words: str) -> tuple[Message, ...]:
    """Turns of user and assistant in turn, the user first."""
    return tuple(Message("user" if i % 2 == 0 else "assistant", word) for i, word in enumerate(words))


def turn(role: str, words: str) -> str:
    return f"<|im_start|>{role}\n{words}<|im_end|>\n"


TEMPLATES = {"chatml": CHATML, "drops": DROPS_THINKING, "inserts": INSERTS_THINKING, "bos": WRITES_BOS}


@pytest.mark.parametrize("name", TEMPLATES)
@pytest.mark.parametrize("answer", ["Hello.", "<think>\nhm\n</think>\n\nHello.", "é 🙂", "\n\nHello.", " Hello. "])
def test_a_row_is_what_inference_sees_and_then_the_answer_with_its_end_of_turn(name: str, answer: str) -> None:
    tokenizer = bos_tokenizer(chat_template=TEMPLATES[name])
    inference = tokenizer.apply_chat_template([{"role": "user", "content": "Hi"}], add_generation_prompt=True)

    [row] = encoder(tokenizer).with_reasoning(trained=True).encode([("Hi", answer, ())])
    assert isinstance(row, Encoded)
    # What a template puts in place of a missing thought is shown, and not trained.
    block = "<think>\n\n</think>\n\n" if name == "inserts" and "<think>" not in answer else ""

    assert row.prompt.tolist() == inference["input_ids"]
    assert row.completion[row.trained].tolist() == ids(tokenizer, answer + "<|im_end|>")
    assert row.completion[~row.trained].tolist() == ids(tokenizer, block)
    assert row.trained[len(ids(tokenizer, block)) :].all()
    assert (row.prompt_cut, row.completion_cut) == (False, False)


def test_plain_text_is_what_stands_there_and_then_the_end_of_text() -> None:
    tokenizer = byte_tokenizer(chat_template=None)

    row = encode("1 + 1 =", " 2", tokenizer=tokenizer)

    assert row.prompt.tolist() == ids(tokenizer, "1 + 1 =")
    assert row.completion.tolist() == ids(tokenizer, " 2<|im_end|>")


def test_no_token_crosses_from_prompt_to_completion() -> None:
    tokenizer = bpe_tokenizer("Ċ H", "H i", "l o", chat_template=CHATML)
    joint = ids(tokenizer, ASKED + "Hello<|im_end|>")

    row = encode("Hi", "Hello", tokenizer=tokenizer)

    assert row.prompt.tolist() == ids(tokenizer, ASKED)
    assert row.completion.tolist() == ids(tokenizer, "Hello<|im_end|>")
    assert [*row.prompt.tolist(), *row.completion.tolist()] != joint, (
        "the joint ids merge across, or this shows nothing"
    )


def test_an_answer_begins_with_no_space_that_the_tokenizer_writes_before_a_text() -> None:
    tokenizer = word_tokenizer(chat_template=CHATML)
    joint = ids(tokenizer, ASKED + "a b<|im_end|>")

    row = encode("Hi", "a b", tokenizer=tokenizer)

    assert tokenizer.convert_ids_to_tokens(row.completion.tolist()) == ["a", "▁b", "<|im_end|>"]
    assert [*row.prompt.tolist(), *row.completion.tolist()] == joint


def test_a_space_that_an_answer_begins_with_is_not_doubled() -> None:
    tokenizer = word_tokenizer(chat_template=None)

    row = encode("a:", " b", tokenizer=tokenizer)

    assert tokenizer.convert_ids_to_tokens(row.prompt.tolist()) == ["▁a", ":"]
    assert tokenizer.convert_ids_to_tokens(row.completion.tolist()) == ["▁b", "<|im_end|>"]


def test_a_bos_that_the_tokenizer_adds_to_plain_text_stands_there_once() -> None:
    tokenizer = bos_tokenizer(chat_template=None)
    bos = tokenizer.bos_token_id

    for prompt in ("Hi", "<|bos|>Hi"):
        row = encode(prompt, " you", tokenizer=tokenizer)

        assert row.prompt.tolist() == [bos, *ids(tokenizer, "Hi")]
        assert row.completion.tolist() == ids(tokenizer, " you<|im_end|>")
        assert encoder(tokenizer).prompt_ids(prompt) == row.prompt.tolist()


def test_a_chat_template_alone_decides_about_bos() -> None:
    for chat_template, opening in ((WRITES_BOS, "<|bos|>"), (CHATML, "")):
        tokenizer = bos_tokenizer(chat_template=chat_template)

        assert encode("Hi", "Hello.", tokenizer=tokenizer).prompt.tolist() == ids(tokenizer, opening + ASKED)


def test_a_tokenizer_that_adds_no_bos_gets_none() -> None:
    tokenizer = byte_tokenizer(chat_template=None)

    assert encode("Hi", " you", tokenizer=tokenizer).prompt.tolist() == ids(tokenizer, "Hi")


def test_the_end_token_is_trained_although_it_also_pads() -> None:
    tokenizer = byte_tokenizer(chat_template=CHATML)
    assert tokenizer.pad_token_id == tokenizer.eos_token_id == IM_END_ID

    row = encode("Hi", "One <|im_end|> two.", tokenizer=tokenizer)

    assert row.completion.tolist().count(IM_END_ID) == 2
    assert row.completion[-1] == IM_END_ID
    assert row.trained.all()


def test_an_empty_answer_is_the_end_of_the_turn() -> None:
    assert encode("Hi", "").completion.tolist() == [IM_END_ID]


def test_an_answer_that_was_cut_off_gets_no_end_of_turn() -> None:
    turns = (Message("assistant", "Yes?"), Message("user", "Bye"), Message("assistant", "See"))
    rows = [("Hi", "Hel", ()), ("Hi", "Hello.", ()), ("Hi", turns, ())]

    cut, whole, last = encoder().encode(rows, finished=[False, True, False])

    assert isinstance(cut, Encoded)
    assert isinstance(whole, Encoded)
    assert isinstance(last, Encoded)
    assert text(cut.completion) == "Hel"
    assert cut.trained.all()
    assert text(whole.completion) == "Hello.<|im_end|>"
    assert text(last.completion[last.trained]) == "Yes?<|im_end|>See"


def test_an_answer_that_was_cut_off_before_its_first_word_is_refused() -> None:
    [row] = encoder().encode([("Hi", "", ())], finished=[False])

    assert row == Unencodable("nothing to train on", "the answer was cut off before its first word")


def test_turns_of_others_inside_a_completion_are_not_trained() -> None:
    completion = (Message("assistant", "Yes?"), Message("user", "2 + 2"), Message("assistant", "4"))

    row = encode("Hi", completion)

    assert text(row.completion[row.trained]) == "Yes?<|im_end|>4<|im_end|>"
    assert text(row.completion[~row.trained]) == "\n<|im_start|>user\n2 + 2<|im_end|>\n<|im_start|>assistant\n"
    assert text(row.completion) == (
        "Yes?<|im_end|>\n<|im_start|>user\n2 + 2<|im_end|>\n<|im_start|>assistant\n4<|im_end|>"
    )


def test_tools_belong_to_the_prompt() -> None:
    shows = "{% for t in tools or [] %}{{ 'Tool: ' + t['function']['name'] + '\n' }}{% endfor %}" + CHATML
    found = encoder(byte_tokenizer(chat_template=shows))

    [row] = found.encode([("Hi", "Hello.", (TOOL,))])

    assert isinstance(row, Encoded)
    assert text(row.prompt) == "Tool: add\n" + ASKED
    assert found.prompt_ids("Hi", (TOOL,)) == row.prompt.tolist()


@pytest.mark.parametrize(("chat_template", "agrees"), [(CHATML, True), (REWRITES, False)])
def test_a_joint_rendering_that_differs_is_marked(chat_template: str, agrees: bool) -> None:
    row = encode("Hi", "Hello.", tokenizer=byte_tokenizer(chat_template=chat_template))

    assert row.agrees is agrees


def test_rows_are_encoded_together_as_each_alone() -> None:
    rows: list[tuple[Text, Text, tuple[()]]] = [
        ("Hi", "Hello.", ()),
        ((Message("system", "Be."), Message("user", "Hi")), "Refused.", ()),
        ("Two", chat("a", "b", "c", "d")[1:], ()),
        ("Last", "", ()),
    ]
    found = encoder(byte_tokenizer(chat_template=REFUSES_SYSTEM))

    together = found.encode(rows)

    assert repr(together) == repr([found.encode([row])[0] for row in rows])
    assert [type(row) for row in together] == [Encoded, Unencodable, Encoded, Encoded]
    assert found.encode([]) == []


def test_a_row_that_the_template_refuses_comes_back_with_the_reason() -> None:
    prompt = (Message("system", "Be."), Message("user", "Hi"))

    [row] = encoder(byte_tokenizer(chat_template=REFUSES_SYSTEM)).encode([(prompt, "Hello.", ())])

    assert isinstance(row, Unencodable)
    assert row.reason == "chat template"
    assert row.message.startswith("the chat template refuses these messages: System role not supported; tokens.")


@pytest.mark.parametrize("completion", [(), (Message("user", "Me."),), (Message("tool", "2"), Message("user", "Me."))])
def test_a_completion_in_which_the_model_says_nothing_is_refused(completion: tuple[Message, ...]) -> None:
    [row] = encoder().encode([("Hi", completion, ())])

    assert row == Unencodable("nothing to train on", "the completion has no turn of the assistant")


def test_a_completion_that_begins_with_somebody_else_comes_back_with_the_reason() -> None:
    [row] = encoder().encode([("Hi", chat("Me.", "Hello."), ())])

    assert isinstance(row, Unencodable)
    assert row.reason == "chat template"
    assert "begins with an assistant turn" in row.message


def test_messages_without_a_chat_template_stop_everything() -> None:
    with pytest.raises(ModelError, match="no chat template"):
        encoder(byte_tokenizer(chat_template=None)).encode([("Hi", (Message("assistant", "Hello."),), ())])


def test_a_prompt_without_tokens_is_refused_as_nothing_can_follow_it() -> None:
    [row] = encoder(byte_tokenizer(chat_template=None)).encode([("", "Hello.", ())])
    [opened] = encoder(bos_tokenizer(chat_template=None)).encode([("", "Hello.", ())])

    assert isinstance(row, Unencodable)
    assert row.reason == "empty prompt"
    assert isinstance(opened, Encoded)


# The window. A user's turn of n letters has n + 8 tokens in this template (two marks, the role, two line ends), the
# generation prompt has 11, and an answer of n letters n + 1.


def test_a_row_that_just_fits_is_not_cut() -> None:
    whole = encode("Hi", "Hello.")
    length = len(whole.prompt) + len(whole.completion)

    assert (len(whole.prompt), len(whole.completion)) == (2 + 8 + 11, 7)
    assert repr(encode("Hi", "Hello.", max_length=length)) == repr(whole)


def test_the_prompts_oldest_turns_go_first() -> None:
    prompt = chat("first", "answer", "second", "reply", "third")
    kept = [chat("first", "answer", "second", "reply", "third"), chat("second", "reply", "third"), chat("third")]
    expected = ["".join(turn(m.role, m.content) for m in turns) + "<|im_start|>assistant\n" for turns in kept]
    sizes = [len(ids(byte_tokenizer(), one)) for one in expected]

    for size, after in zip(sizes, expected, strict=True):
        row = encode(prompt, "Hello.", max_length=size + 7)

        assert text(row.prompt) == after
        assert text(row.completion) == "Hello.<|im_end|>"
        assert row.prompt_cut == (after != expected[0])
        assert not row.completion_cut


def test_the_system_turn_stays() -> None:
    prompt = (Message("system", "Be kind."), *chat("first", "answer", "second"))
    expected = turn("system", "Be kind.") + turn("user", "second") + "<|im_start|>assistant\n"

    row = encode(prompt, "Hello.", max_length=len(ids(byte_tokenizer(), expected)) + 7)

    assert text(row.prompt) == expected


def test_all_older_turns_go_before_a_token_of_the_completion_does() -> None:
    # The completion alone has more than half of the window, and both fit only without any older turn: with one (x: 9
    # tokens, y: 14) the prompt would have less than half, and yet the completion would lose its end.
    row = encode(chat("x" * 40, "y" * 40, "x", "y", "z"), "w" * 100, max_length=1 + 8 + 11 + 101)

    assert text(row.prompt) == turn("user", "z") + "<|im_start|>assistant\n"
    assert text(row.completion) == "w" * 100 + "<|im_end|>"
    assert row.prompt_cut
    assert not row.completion_cut


def test_a_last_turn_that_is_too_long_loses_its_beginning() -> None:
    row = encode("0123456789" * 10, "Hello.", max_length=50)

    assert len(row.prompt) == 50 - 7
    assert text(row.prompt).endswith("0123456789<|im_end|>\n<|im_start|>assistant\n")
    assert text(row.completion) == "Hello.<|im_end|>"
    assert (row.prompt_cut, row.completion_cut) == (True, False)


@pytest.mark.parametrize("chat_template", [None, WRITES_BOS])
def test_a_prompt_that_loses_its_beginning_keeps_bos(chat_template: str | None) -> None:
    tokenizer = bos_tokenizer(chat_template=chat_template)

    row = encode("0123456789" * 10, "Hello.", tokenizer=tokenizer, max_length=50)

    assert len(row.prompt) == 50 - 7
    assert row.prompt[0] == tokenizer.bos_token_id
    assert tokenizer.bos_token_id not in row.prompt[1:]
    end = "" if chat_template is None else "<|im_end|>\n<|im_start|>assistant\n"
    assert tokenizer.decode(row.prompt[1:].tolist()).endswith("0123456789" + end)


def test_a_mark_that_begins_every_turn_is_not_kept_as_bos() -> None:
    row = encode("0123456789" * 10, "Hello.", max_length=50)

    assert text(row.prompt[:1]) in "0123456789"


def test_a_completion_that_is_too_long_loses_its_end_token_and_is_marked() -> None:
    row = encode("Hi", "w" * 100, max_length=21 + 40)

    assert text(row.prompt) == ASKED
    assert text(row.completion) == "w" * 40
    assert IM_END_ID not in row.completion
    assert len(row.trained) == 40
    assert (row.prompt_cut, row.completion_cut) == (False, True)


def test_a_completion_that_lacks_room_for_its_end_token_alone_is_cut() -> None:
    row = encode("Hi", "w" * 40, max_length=21 + 40)

    assert text(row.completion) == "w" * 40
    assert row.completion_cut


def test_prompt_and_completion_that_are_both_too_long_share_the_window() -> None:
    row = encode("p" * 100, "w" * 100, max_length=60)

    assert (len(row.prompt), len(row.completion)) == (30, 30)
    assert (row.prompt_cut, row.completion_cut) == (True, True)


def test_a_template_that_refuses_a_shortened_prompt_leaves_the_cut_to_its_tokens() -> None:
    refuses = "{% if messages[0]['content'][0] == 'q' %}{{ raise_exception('no') }}{% endif %}" + CHATML
    prompt = chat("hello", "yes", "q" * 50)

    row = encode(prompt, "Hello.", tokenizer=byte_tokenizer(chat_template=refuses), max_length=40)

    assert row.prompt_cut
    assert text(row.prompt) == "q" * (40 - 7 - 2 - 11) + "<|im_end|>\n<|im_start|>assistant\n"


@pytest.mark.parametrize("max_length", [7, 0, -1])
def test_a_window_that_holds_nothing_is_refused(max_length: int) -> None:
    with pytest.raises(ConfigError, match=f"tokens.max_length must be at least 8, got {max_length}"):
        encoder(max_length=max_length)


def test_a_prompt_for_inference_is_not_cut() -> None:
    assert text(encoder(max_length=8).prompt_ids("Hi")) == ASKED


def test_a_text_longer_than_the_models_window_raises_no_warning(caplog: pytest.LogCaptureFixture) -> None:
    tokenizer = byte_tokenizer(chat_template=CHATML)
    tokenizer.model_max_length = 10

    encode("Hi" * 50, "Hello.", tokenizer=tokenizer)

    assert not caplog.records


words = st.text(st.characters(exclude_categories=["Cs"]), max_size=30)


@st.composite
def rows(draw: st.DrawFn) -> tuple[Text, Text, tuple[()]]:
    """A conversation: a text or turns that end with the user's, and an answer of one or several turns."""
    asked = chat(*draw(st.lists(words, min_size=1, max_size=5).filter(lambda turns: len(turns) % 2 == 1)))
    answers = chat("", *draw(st.lists(words, min_size=1, max_size=4)))[1:]
    if draw(st.booleans()):
        asked = (Message("system", draw(words)), *asked)
    one: Text = answers[0].content if len(answers) == 1 and draw(st.booleans()) else answers
    return asked, one, ()


@given(row=rows(), max_length=st.integers(8, 300))
def test_whatever_the_row_and_the_window_nothing_is_cut_unmarked(
    row: tuple[Text, Text, tuple[()]], max_length: int
) -> None:
    [whole] = encoder(max_length=100_000).encode([row])
    [cut] = encoder(max_length=max_length).encode([row])
    assert isinstance(whole, Encoded)
    assert isinstance(cut, Encoded)
    completion, trained = whole.completion.tolist(), whole.trained.tolist()
    num_prompt, num_completion = len(cut.prompt), len(cut.completion)

    assert num_prompt + num_completion <= max_length
    assert num_completion >= min(len(completion), max_length - max_length // 2)
    assert num_prompt >= 1
    assert cut.completion.tolist() == completion[:num_completion]
    assert cut.trained.tolist() == trained[:num_completion]
    assert cut.completion_cut == (num_completion < len(completion))
    assert cut.prompt_cut == (num_prompt < len(whole.prompt))
    assert cut.prompt_cut or cut.prompt.tolist() == whole.prompt.tolist()
    assert cut.prompt.tolist()[-1:] == whole.prompt.tolist()[-1:]
    assert (cut.prompt_cut or cut.completion_cut) == (len(whole.prompt) + len(completion) > max_length)


@given(row=rows())
def test_the_trained_words_are_the_assistants_and_each_ends_its_turn(row: tuple[Text, Text, tuple[()]]) -> None:
    [encoded] = encoder().encode([row])
    assert isinstance(encoded, Encoded)
    said = row[1] if isinstance(row[1], tuple) else (Message("assistant", row[1]),)
    tokenizer = byte_tokenizer()
    expected = [token for m in said if m.role == "assistant" for token in ids(tokenizer, m.content + "<|im_end|>")]

    assert encoded.completion[encoded.trained].tolist() == expected


def test_a_fingerprint_is_that_of_an_equal_tokenizer() -> None:
    tokenizer = byte_tokenizer()

    assert tokenizer_fingerprint(tokenizer) == tokenizer_fingerprint(byte_tokenizer())
    assert tokenizer_fingerprint(tokenizer) == tokenizer_fingerprint(copy.deepcopy(tokenizer))


def test_a_fingerprint_does_not_depend_on_what_the_tokenizer_was_used_for() -> None:
    tokenizer = byte_tokenizer()
    before = tokenizer_fingerprint(tokenizer)

    tokenizer(["Hi", "Hello"], padding="max_length", truncation=True, max_length=4)

    assert tokenizer_fingerprint(tokenizer) == before


def test_a_fingerprint_changes_with_everything_that_decides_about_ids() -> None:
    other_eos = byte_tokenizer()
    other_eos.eos_token = "<|im_start|>"
    tokenizers = [
        byte_tokenizer(),
        byte_tokenizer(chat_template=None),
        byte_tokenizer(chat_template=CHATML),
        bpe_tokenizer("a b"),
        bpe_tokenizer("a b", "b c"),
        bpe_tokenizer("b c", "a b"),
        bos_tokenizer(chat_template=CHATML),
        other_eos,
    ]

    assert len({tokenizer_fingerprint(tokenizer) for tokenizer in tokenizers}) == len(tokenizers)


def test_a_template_without_end_of_turn_trains_the_end_of_text() -> None:
    row = encode("Hi", "Hello.", tokenizer=byte_tokenizer(chat_template=WITHOUT_END))

    assert text(row.prompt) == "User: Hi\nBot: "
    assert text(row.completion) == "Hello.<|im_end|>"


def encoded_hi(completion: str, *, finished: bool) -> Encoded:
    [row] = make_encoder(byte_tokenizer(), max_length=512).encode([("Hi", completion, ())], finished=[finished])
    assert isinstance(row, Encoded)
    return row


def test_a_cut_off_answer_gets_no_end_of_turn():
    whole, cut = encoded_hi("Hello", finished=True), encoded_hi("Hello", finished=False)

    assert whole.completion.tolist() == [*cut.completion.tolist(), IM_END_ID]
    assert cut.trained.all()
    assert not cut.completion_cut


def test_reasoning_gives_way_before_the_answer_does_and_is_counted_as_a_cut_prompt() -> None:
    tokenizer = byte_tokenizer(chat_template=INSERTS_THINKING)
    answer = "<think>\n" + "hm " * 99 + "so\n</think>\n\nHello."

    given = encode("Hi", answer, tokenizer=tokenizer, max_length=60)
    [kept] = encoder(tokenizer, max_length=60).with_reasoning(trained=True).encode([("Hi", answer, ())])

    assert text(given.completion[given.trained]) == "Hello.<|im_end|>"
    assert text(given.completion[~given.trained]).startswith("<")
    assert text(given.completion[~given.trained]).endswith("so\n</think>\n\n")
    assert len(given.prompt) + len(given.completion) == 60
    assert (given.prompt_cut, given.completion_cut) == (True, False)
    # What is trained is not cut at its beginning.
    assert isinstance(kept, Encoded)
    assert text(kept.completion).startswith("<think>\nhm hm")
    assert (kept.prompt_cut, kept.completion_cut) == (False, True)


def test_a_scorer_of_whole_conversations_sees_no_reasoning_unless_it_is_kept() -> None:
    row = ("Hi", "<think>\nhm\n</think>\n\nHello.", ())
    scorer = encoder().for_whole_conversations()

    for found, shown in ((scorer, False), (scorer.with_reasoning(trained=True), True)):
        [whole] = found.encode([row])
        assert isinstance(whole, Encoded)
        assert ("hm" in text(whole.completion)) is shown
        assert (whole.reasons, whole.shows_reasoning) == (True, shown)


def test_a_tokenizer_without_a_template_is_given_the_thought_as_it_stands() -> None:
    row = encode("1 + 1 =", "<think>hm</think> 2", tokenizer=byte_tokenizer(chat_template=None))

    assert text(row.completion[row.trained]) == "2<|im_end|>"
    assert text(row.completion[~row.trained]) == "<think>hm</think> "

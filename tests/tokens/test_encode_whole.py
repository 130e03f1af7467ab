"""Whole conversations for models that score them: the very ids that everybody gets from the chat template."""

from typing import Any

import pytest

from fakes import CHAT_TEMPLATE, byte_tokenizer
from haloes.records import Message
from haloes.tokens.chat_template import plain_chat_template
from haloes.tokens.encode import Encoded, Encoder, Unencodable, make_encoder
from haloes.tokens.rendering import render_messages

CHAT = (Message("user", "Hi"), Message("assistant", "Hello"), Message("user", "Why?"))
THINKS = CHAT_TEMPLATE.replace(
    "{{ '<|im_start|>' + message['role'] + '\n' + message['content'] + '<|im_end|>' + '\n' }}",
    "{{ '<|im_start|>' + message['role'] + '\n' + ('<think></think>' if message['role'] == 'assistant' else '')"
    " + message['content'] + '<|im_end|>' + '\n' }}",
)
"""Writes words into finished answers that inference does not begin with."""


def encoder(template: str | None = CHAT_TEMPLATE, *, max_length: int = 400) -> Encoder:
    return make_encoder(byte_tokenizer(chat_template=template), max_length=max_length).for_whole_conversations()


def encode(made: Encoder, prompt: Any, completion: Any, **more: Any) -> Encoded:
    [found] = made.encode([(prompt, completion, ())], **more)
    assert isinstance(found, Encoded)
    return found


@pytest.mark.parametrize("template", [CHAT_TEMPLATE, THINKS], ids=["plain", "thinks"])
@pytest.mark.parametrize("prompt", ["Why?", CHAT])
def test_prompt_and_completion_are_what_the_template_writes_of_the_conversation(template: str, prompt: Any):
    made = encoder(template)
    found = encode(made, prompt, "\nBecause.")
    asked = prompt if isinstance(prompt, tuple) else (Message("user", prompt),)
    tokenizer = made.template.tokenizer
    text = render_messages(tokenizer, (*asked, Message("assistant", "\nBecause.")), generation=False)

    assert text.endswith("<|im_end|>\n")
    assert [*found.prompt.tolist(), *found.completion.tolist()] == tokenizer(text)["input_ids"]
    assert found.prompt.tolist() == tokenizer(made.template.prompt(prompt))["input_ids"]
    assert found.trained.all()
    assert found.agrees


def test_an_answer_that_was_cut_off_ends_as_any_other_for_who_scores_it_is_not_told():
    made = encoder()

    assert (
        encode(made, "Why?", "Beca", finished=[False]).completion.tolist()
        == encode(made, "Why?", "Beca").completion.tolist()
    )


def test_without_a_chat_template_the_words_stand_as_they_are_and_end():
    made = encoder(None)
    found = encode(made, "Why? ", "Because.")
    tokenizer = made.template.tokenizer

    assert tokenizer.decode([*found.prompt, *found.completion]) == "Why? Because.<|im_end|>"
    # With the chat template that such a tokenizer is given, everybody gets the same.
    tokenizer.chat_template = plain_chat_template(tokenizer, made.template.end_of_turn)
    turns = (Message("user", "Why? "), Message("assistant", "Because."))
    assert render_messages(tokenizer, turns, generation=False) == "Why? Because.<|im_end|>"
    assert render_messages(tokenizer, turns[:1], generation=True) == "Why? "


def test_the_beginning_of_a_text_is_written_where_the_tokenizer_writes_one():
    from tokenizers.processors import TemplateProcessing

    tokenizer = byte_tokenizer(chat_template=None)
    tokenizer.backend_tokenizer.post_processor = TemplateProcessing(
        single="<|im_start|> $A", special_tokens=[("<|im_start|>", 0)]
    )
    made = make_encoder(tokenizer, max_length=100).for_whole_conversations()
    found = encode(made, "Why?", "So.")
    tokenizer.chat_template = plain_chat_template(tokenizer, made.template.end_of_turn)
    text = render_messages(tokenizer, (Message("user", "Why?"), Message("assistant", "So.")), generation=False)

    ids = tokenizer(text, add_special_tokens=False)["input_ids"]
    assert [*found.prompt, *found.completion] == ids
    assert ids[0] == 0


def test_a_window_takes_the_oldest_turns_first_and_keeps_the_end_of_the_answer():
    roomy, tight = encoder(), encoder(max_length=80)
    whole, cut = encode(roomy, CHAT, "Because."), encode(tight, CHAT, "Because.")

    assert len(whole.prompt) + len(whole.completion) > 80 >= len(cut.prompt) + len(cut.completion)
    assert cut.prompt_cut
    assert cut.completion.tolist() == whole.completion.tolist()


def test_what_cannot_be_encoded_comes_back_as_the_reason():
    made = encoder()
    nothing, fine = made.encode([("Why?", (Message("user", "x"),), ()), ("Why?", "So.", ())])

    assert isinstance(nothing, Unencodable)
    assert nothing.reason == "nothing to train on"
    assert isinstance(fine, Encoded)

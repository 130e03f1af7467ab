"""Conversations as text: the cut between prompt and completion, and what of a completion the model said itself."""

import dataclasses
import json
from pathlib import Path
from typing import Any

import pytest
from transformers import AutoTokenizer

from fake_tokenizers import (
    ASKS_FOR_THINKING,
    CHATML,
    DROPS_THINKING,
    INSERTS_THINKING,
    REFUSES_SYSTEM,
    WITHOUT_END,
    WRITES_BOS,
    bos_tokenizer,
    word_tokenizer,
)
from fakes import SYSTEM, byte_tokenizer
from haloes.errors import DataError, ModelError
from haloes.records import Message, Text
from haloes.tokens.chat_template import control_text, with_control_text
from haloes.tokens.rendering import render_messages
from haloes.tokens.template import Rendered, Template, make_template
from haloes.tokens.turns import Segment

ASKED = "<|im_start|>user\nHi<|im_end|>\n<|im_start|>assistant\n"
"""What inference sees of the prompt "Hi" under every template here that adds no system turn."""
CALL = {"type": "function", "function": {"name": "add", "arguments": {"a": 1}}}


def template(chat_template: str | None = CHATML, *, trains_reasoning: bool = True) -> Template:
    return dataclasses.replace(
        make_template(byte_tokenizer(chat_template=chat_template)), trains_reasoning=trains_reasoning
    )


def user(text: str) -> Message:
    return Message("user", text)


def bot(text: str, *calls: dict[str, Any]) -> Message:
    return Message("assistant", text, calls)


def own(text: str) -> Segment:
    return Segment(text, trained=True)


def others(text: str) -> Segment:
    return Segment(text, trained=False)


def test_a_prompt_ends_where_the_model_begins_to_speak_and_the_answer_with_the_end_of_its_turn() -> None:
    rendered = make_template(byte_tokenizer()).render("Hi", "Hello.")

    assert rendered == Rendered(
        f"<|im_start|>system\n{SYSTEM}<|im_end|>\n" + ASKED, (own("Hello.<|im_end|>"),), agrees=True
    )
    assert rendered.text == rendered.prompt + "Hello.<|im_end|>"


def test_plain_text_is_one_message_of_a_chat() -> None:
    assert template().render("Hi", "Hello.") == template().render((user("Hi"),), (bot("Hello."),))


def test_the_prompt_alone_is_what_inference_sees() -> None:
    assert template().prompt("Hi") == ASKED
    assert template().prompt((user("Hi"), bot("Hello."), user("Bye"))) == (
        "<|im_start|>user\nHi<|im_end|>\n<|im_start|>assistant\nHello.<|im_end|>\n"
        "<|im_start|>user\nBye<|im_end|>\n<|im_start|>assistant\n"
    )


def test_without_a_chat_template_text_stays_as_it_is_and_ends_with_the_end_of_text() -> None:
    plain = template(None)

    assert plain.render("1 + 1 =", " 2") == Rendered("1 + 1 =", (own(" 2<|im_end|>"),), agrees=True)
    assert plain.prompt("1 + 1 =") == "1 + 1 ="
    assert plain.joint("1 + 1 =", " 2") == "1 + 1 = 2"


@pytest.mark.parametrize(("prompt", "completion"), [((user("Hi"),), "Hello."), ("Hi", (bot("Hello."),))])
def test_messages_without_a_chat_template_are_refused_with_the_way_out(prompt: Text, completion: Text) -> None:
    with pytest.raises(ModelError, match="no chat template; give prompts and completions as plain text"):
        template(None).render(prompt, completion)


def test_a_template_that_drops_thinking_does_not_drop_it_from_training() -> None:
    rendered = template(DROPS_THINKING).render("Hi", "<think>\nhm\n</think>\n\nHello.")

    assert rendered.completion == (own("<think>\nhm\n</think>\n\nHello.<|im_end|>"),)
    assert (rendered.prompt, rendered.reasons, rendered.shows_reasoning) == (ASKED, True, True)


def test_a_template_that_inserts_thinking_does_not_put_it_into_the_models_mouth() -> None:
    rendered = template(INSERTS_THINKING).render("Hi", "Hello.")

    # As in the mode without thinking: right after the prompt the model would think, and not answer.
    assert rendered == Rendered(ASKED, (others("<think>\n\n</think>\n\n"), own("Hello.<|im_end|>")), agrees=True)
    assert template(INSERTS_THINKING).joint("Hi", "Hello.") == (
        "<|im_start|>user\nHi<|im_end|>\n<|im_start|>assistant\n<think>\n\n</think>\n\nHello.<|im_end|>\n"
    )


def test_a_template_that_begins_the_answer_itself_leaves_the_rest_to_the_model() -> None:
    rendered = template(ASKS_FOR_THINKING).render("Hi", "hm\n</think>\nHello.")

    assert rendered.prompt == ASKED + "<think>\n"
    assert rendered.completion == (own("hm\n</think>\nHello.<|im_end|>"),)


def test_whitespace_that_a_template_strips_is_no_disagreement() -> None:
    rendered = template(CHATML.replace("m['content']", "m['content'] | trim")).render("Hi", " Hello.\n")

    assert rendered == Rendered(ASKED, (own("Hello.<|im_end|>"),), agrees=True)


def test_an_end_of_turn_token_inside_an_answer_does_not_end_it() -> None:
    rendered = template().render("Hi", "One <|im_end|> two.")

    assert rendered.completion == (own("One <|im_end|> two.<|im_end|>"),)
    assert rendered.agrees


def test_a_template_without_an_end_of_turn_token_gets_the_end_of_text_in_place_of_its_separator() -> None:
    found = template(WITHOUT_END)

    assert (found.end_of_turn, found.marks.separator) == ("<|im_end|>", "\n")
    assert found.render("Hi", "Hello.") == Rendered("User: Hi\nBot: ", (own("Hello.<|im_end|>"),), agrees=True)
    assert found.render("Hi", "Hello.\n").completion == (own("Hello.\n<|im_end|>"),)


def test_the_end_of_a_turn_is_the_templates_and_not_the_end_of_text() -> None:
    tokenizer = bos_tokenizer(chat_template=WRITES_BOS)
    tokenizer.eos_token = "<|bos|>"

    assert make_template(tokenizer).end_of_turn == "<|im_end|>"


def test_an_unknown_token_after_the_answer_does_not_end_a_turn() -> None:
    tokenizer = word_tokenizer(chat_template=WITHOUT_END.replace("\n", "\x00"))
    tokenizer.backend_tokenizer.model.byte_fallback = False

    assert make_template(tokenizer).end_of_turn == "<|im_end|>"


def test_a_tokenizer_that_cannot_end_a_text_is_refused() -> None:
    tokenizer = byte_tokenizer(chat_template=None)
    tokenizer.eos_token = None

    with pytest.raises(ModelError, match="no end-of-text token"):
        make_template(tokenizer)


@pytest.mark.parametrize(("prompt", "completion"), [((Message("system", "Be."), user("Hi")), "Hello.")])
def test_what_a_template_refuses_is_refused_with_its_own_words(prompt: Text, completion: Text) -> None:
    with pytest.raises(DataError, match="the chat template refuses these messages: System role not supported"):
        template(REFUSES_SYSTEM).render(prompt, completion)


def test_a_value_that_a_template_stumbles_over_is_refused() -> None:
    stumbles = CHATML.replace("m['content']", "m['content'] + (m['tool_calls'] or '')")

    with pytest.raises(DataError, match="the chat template refuses these messages: can only concatenate str"):
        template(stumbles).render((user("Hi"), bot("", CALL), Message("tool", "2")), "Hello.")


@pytest.mark.parametrize(
    ("completion", "first"), [((), "nothing"), ((user("Me."), bot("Hello.")), "a turn of the role 'user'")]
)
def test_a_completion_begins_with_the_models_own_turn(completion: tuple[Message, ...], first: str) -> None:
    with pytest.raises(DataError, match=f"begins with an assistant turn, and this one with {first}"):
        template().render("Hi", completion)


def test_turns_of_others_inside_a_completion_are_not_trained() -> None:
    rendered = template().render("Hi", (bot("Yes?"), user("Bye"), bot("See you."), user("Thanks")))

    assert rendered == Rendered(
        ASKED,
        (
            own("Yes?<|im_end|>"),
            others("\n<|im_start|>user\nBye<|im_end|>\n<|im_start|>assistant\n"),
            own("See you.<|im_end|>"),
        ),
        agrees=True,
    )


def test_several_turns_are_trained_as_inference_saw_them_where_the_template_inserts_thinking() -> None:
    rendered = template(INSERTS_THINKING).render("Hi", (bot("Yes?"), user("Bye"), bot("See you.")))

    assert rendered == Rendered(
        ASKED,
        (
            own("Yes?<|im_end|>"),
            others("\n<|im_start|>user\nBye<|im_end|>\n<|im_start|>assistant\n<think>\n\n</think>\n\n"),
            own("See you.<|im_end|>"),
        ),
        agrees=True,
    )


def test_several_turns_of_which_the_template_rewrites_the_first_are_refused() -> None:
    turns = (bot("<think>\nhm\n</think>\nYes?"), user("Bye"), bot("See you."))

    with pytest.raises(DataError, match=r"rewrites earlier turns.*as a completion of its own"):
        template(DROPS_THINKING).render("Hi", turns)


def test_the_text_of_all_segments_is_what_the_template_writes_for_the_conversation() -> None:
    found = template()
    turns = (bot("Yes?"), user("Bye"), bot("See you."))

    assert found.joint("Hi", turns) == found.render("Hi", turns).text + "\n"


def test_tool_calls_are_the_models_own_words_and_tool_outputs_are_not() -> None:
    rendered = template(INSERTS_THINKING).render("1 + 1?", (bot("", CALL), Message("tool", "2"), bot("It is 2.")))

    assert rendered.completion == (
        own('<tool_call>add {"a": 1}</tool_call><|im_end|>'),
        others("\n<|im_start|>user\n2<|im_end|>\n<|im_start|>assistant\n<think>\n\n</think>\n\n"),
        own("It is 2.<|im_end|>"),
    )
    assert rendered.agrees


def test_words_before_a_tool_call_are_kept_with_their_thinking() -> None:
    rendered = template(INSERTS_THINKING).render("1 + 1?", (bot("<think>\nadd\n</think>\n\nWait.", CALL),))

    assert rendered.completion == (own('<think>\nadd\n</think>\n\nWait.<tool_call>add {"a": 1}</tool_call><|im_end|>'),)
    assert rendered.agrees


def test_a_template_that_begins_an_answer_in_two_ways_is_refused() -> None:
    begins = INSERTS_THINKING.replace("assistant\n' }}{% endif %}", "assistant\n<think>\nLet' }}{% endif %}")

    with pytest.raises(ModelError, match=r"cannot be told whether the model writes it; set tokens\."):
        template(begins)


def test_words_that_a_template_drops_before_a_tool_call_are_a_disagreement() -> None:
    inserts_nothing = INSERTS_THINKING.replace("loop.last", "false")
    drops = inserts_nothing.replace("{{ m['content'] }}", "{% if not m['tool_calls'] %}{{ m['content'] }}{% endif %}")

    for chat_template, agrees in ((inserts_nothing, True), (drops, False)):
        assert template(chat_template).render("1 + 1?", (bot("Wait.", CALL),)).agrees is agrees
        assert template(chat_template).render("1 + 1?", (bot("", CALL),)).agrees


@pytest.mark.parametrize("words", ["", "Let me look."])
def test_an_answer_whose_tool_calls_the_template_leaves_out_is_refused(words: str) -> None:
    with pytest.raises(
        DataError, match="the chat template leaves tool calls out, so that this answer would be trained"
    ):
        template().render("1 + 1?", (bot(words, CALL),))

    # What was called before is told by the template as inference sees it.
    asked = (user("1 + 1?"), bot(words, CALL), Message("tool", "2"))
    assert template().render(asked, "It is 2.").agrees


@pytest.mark.parametrize(
    ("arguments", "written"),
    [({"a": 1}, '{"a": 1}'), (json.dumps({"a": 1}), '{"a": 1}'), ("", "{}"), ("{broken", '"{broken"')],
)
def test_arguments_that_are_a_string_of_json_are_rendered_as_the_values_they_hold(
    arguments: object, written: str
) -> None:
    call = {"type": "function", "function": {"name": "add", "arguments": arguments}}
    rendered = template(INSERTS_THINKING).render("1 + 1?", (bot("", call),))

    assert rendered.completion[-1] == own(f"<tool_call>add {written}</tool_call><|im_end|>")


def test_tools_reach_the_template() -> None:
    tool = {"type": "function", "function": {"name": "add", "description": "adds", "parameters": {}}}
    shows = "{% for t in tools or [] %}{{ 'Tool: ' + t['function']['name'] + '\n' }}{% endfor %}" + CHATML

    assert template(shows).prompt("Hi", (tool,)) == "Tool: add\n" + ASKED
    assert template(shows).prompt("Hi") == ASKED
    assert template(shows).render("Hi", "Hello.", (tool,)).agrees


def with_control(chat_template: str | None, control: str = "<|good|>") -> Template:
    return dataclasses.replace(template(chat_template), control=control)


def test_a_control_text_stands_after_the_prompt_and_before_the_completion() -> None:
    found = with_control(CHATML)

    assert found.prompt("Hi") == ASKED + "<|good|>"
    assert found.render("Hi", "Hello.") == Rendered(ASKED + "<|good|>", (own("Hello.<|im_end|>"),), agrees=True)


def test_without_a_chat_template_a_control_text_ends_the_prompt_too() -> None:
    found = with_control(None, " ok:")

    assert found.prompt("1 + 1 =") == "1 + 1 = ok:"
    assert found.render("1 + 1 =", " 2") == Rendered("1 + 1 = ok:", (own(" 2<|im_end|>"),), agrees=True)


def test_a_control_text_is_no_disagreement_and_stands_once_before_several_turns() -> None:
    rendered = with_control(CHATML).render("Hi", (bot("Yes?"), user("Bye"), bot("See you.")))

    assert rendered.agrees
    assert rendered.text.count("<|good|>") == 1
    assert rendered.prompt.endswith("<|good|>")


CONTROLS = ["<|good|>", ' a "quoted"\nline\\ ', "{{ 1 }} {% endif %} }}", "gut: \u00fc \u4f60 \U0001f600", "it's"]


@pytest.mark.parametrize("control", CONTROLS)
@pytest.mark.parametrize("chat_template", [CHATML, CHATML + "\n", WITHOUT_END, INSERTS_THINKING, ASKS_FOR_THINKING])
def test_a_controlled_template_writes_the_control_text_after_its_generation_prompt_and_nowhere_else(
    chat_template: str, control: str
) -> None:
    plain = byte_tokenizer(chat_template=chat_template)
    steered = with_control_text(plain, control)
    turns = (user("Hi"), bot("Hello."))

    asked = [render_messages(tokenizer, turns[:1], generation=True) for tokenizer in (plain, steered)]
    told = [render_messages(tokenizer, turns, generation=False) for tokenizer in (plain, steered)]

    assert asked[1] == asked[0] + control
    assert told[1] == told[0]


@pytest.mark.parametrize("control", CONTROLS)
def test_a_controlled_template_writes_what_the_model_was_trained_on(control: str) -> None:
    steered = make_template(with_control_text(byte_tokenizer(chat_template=CHATML), control))

    assert steered.prompt("Hi") == with_control(CHATML, control).prompt("Hi")


def test_a_tokenizer_without_a_chat_template_knows_its_control_text_after_it_was_saved(tmp_path: Path) -> None:
    with_control_text(byte_tokenizer(chat_template=None), " <|good|>").save_pretrained(tmp_path)
    loaded = AutoTokenizer.from_pretrained(tmp_path)

    assert control_text(loaded) == " <|good|>"
    assert make_template(loaded).prompt("Hi") == "Hi <|good|>"
    assert control_text(byte_tokenizer(chat_template=None)) == ""


ROWS: list[tuple[Text, Text, tuple[dict[str, Any], ...]]] = [
    ("Hi", "Hello.", ()),
    ("Hi", " Bye.\n", ()),
    ((user("Hi"),), (bot("Hello."), user("And?"), bot("<think>hm</think>Well.")), ()),
    ((Message("system", "Be brief."), user("Hi")), "Hello.", ()),
    ("Hi", "<think>hm</think>Hello.", ()),
    ("Hi", (bot("", CALL),), ()),
    ("Hi", "Hello.", ({"name": "add"},)),
    ((), "Hello.", ()),
    ("Hi", (user("Hello."),), ()),
]


def rendered_or_refused(template: Template, row: tuple[Text, Text, Any]) -> Rendered | str:
    try:
        return template.render(*row)
    except DataError as error:
        return str(error)


@pytest.mark.parametrize(
    "chat_template", [CHATML, DROPS_THINKING, INSERTS_THINKING, ASKS_FOR_THINKING, REFUSES_SYSTEM, WITHOUT_END]
)
@pytest.mark.parametrize("rows", [ROWS, ROWS[:3], ROWS[4:6]])
def test_rows_that_are_rendered_together_agree_or_not_as_they_do_alone(chat_template: str, rows: list[Any]) -> None:
    alone = template(chat_template)
    together = alone.with_rendered(rows)

    for row in rows:
        assert rendered_or_refused(together, row) == rendered_or_refused(alone, row)


def test_rows_that_are_rendered_together_take_two_calls_and_equal_prompts_one_rendering(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    found, asked = template(), []
    apply = found.tokenizer.apply_chat_template

    def counted(turns: list[Any], **how: Any) -> Any:
        asked.append(len(turns))
        return apply(turns, **how)

    monkeypatch.setattr(found.tokenizer, "apply_chat_template", counted)
    together = found.with_rendered(ROWS[:2])
    for row in ROWS[:2]:
        together.render(*row)
        together.joint(*row)

    assert asked == [1, 2]

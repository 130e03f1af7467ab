"""What a chat template makes of a turn: header, end, words in parts, words that are lost; and what is trained then."""

import copy
from typing import Any

import numpy as np
import pytest
from tokenizers import AddedToken

from fake_tokenizers import CHATML, DROPS_THINKING, INSERTS_THINKING, REFUSES_SYSTEM, WITHOUT_END
from fakes import byte_tokenizer
from haloes.errors import DataError, ModelError
from haloes.records import Message
from haloes.sampling.answers import read_answer
from haloes.tokens.chat_template import control_text, with_control_text
from haloes.tokens.encode import Encoded, Unencodable, make_encoder, tokenizer_fingerprint
from haloes.tokens.template import Template, make_template
from haloes.tokens.turns import Segment

HARMONY = (
    "{% for m in messages %}{% if m['role'] == 'assistant' %}"
    "{% if '<|channel|>' in m['content'] %}{{ raise_exception('channel tags in the content') }}{% endif %}"
    "{{ '<|start|>assistant<|channel|>final<|message|>' + m['content'] }}"
    "{{ '<|return|>' if loop.last and not add_generation_prompt else '<|end|>' }}"
    "{% else %}{{ '<|start|>' + m['role'] + '<|message|>' + m['content'] + '<|end|>' }}{% endif %}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|start|>assistant' }}{% endif %}"
)
"""As gpt-oss: the model writes its channel itself, and ends the last answer with another mark than earlier ones."""
HARMONY_MARKS = ("<|start|>", "<|channel|>", "<|message|>", "<|return|>", "<|end|>")

COHERE = (
    "{% for m in messages %}{{ '<|turn|>' + ('<|bot|>' if m['role'] == 'assistant' else '<|user|>') }}"
    "{{ '<|resp|>' + m['content'] + '<|/resp|>' if m['role'] == 'assistant' else m['content'] }}{{ '<|eot|>' }}"
    "{% endfor %}{% if add_generation_prompt %}{{ '<|turn|><|bot|>' }}{% endif %}"
)
"""As Command R7B: the model opens and closes its response itself, and then ends its turn."""
COHERE_MARKS = ("<|turn|>", "<|bot|>", "<|user|>", "<|resp|>", "<|/resp|>", "<|eot|>")

GLM = (
    "{% for m in messages %}{{ '<|' + m['role'] + '|>\n' }}{% if m['role'] == 'assistant' %}"
    "{% if '</think>' in m['content'] %}{{ m['content'].split('</think>')[0] + '</think>\n' }}"
    "{{ m['content'].split('</think>')[1].strip() }}{% else %}{{ '<think></think>\n' + m['content'] }}{% endif %}"
    "{% else %}{{ m['content'] }}{% endif %}{{ '<|im_end|>' }}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|assistant|>\n' }}{% endif %}"
)
"""As GLM-4.5: every answer has a think block, an empty one where there is no reasoning."""

THINKING_ONLY = INSERTS_THINKING.replace("assistant\n' }}{% endif %}", "assistant\n<think>\n' }}{% endif %}")
"""As Qwen3-Thinking: the generation prompt opens the block that the joint rendering leaves empty."""

PARTS = CHATML.replace(
    "m['content']", "(m['content'] | selectattr('type', 'equalto', 'text') | map(attribute='text') | join)"
)
"""Reads content parts only: of a text it writes nothing."""

TWO_ENDS = CHATML.replace("{% if add", "{% if not add_generation_prompt %}{{ '<|eot|>' }}{% endif %}{% if add")
"""Ends turns with one mark and the whole text with another, as Phi-3's does."""


def tokenizer(chat_template: Any, *marks: str) -> Any:
    made = byte_tokenizer(chat_template=chat_template)
    made.add_special_tokens(
        {"additional_special_tokens": [AddedToken(mark, special=True, normalized=False) for mark in marks]}
    )
    return made


def template(chat_template: Any, *marks: str) -> Template:
    return make_template(tokenizer(chat_template, *marks))


def trained(made: Any, prompt: Any, completion: Any, **how: Any) -> str:
    """Return the trained text of one row."""
    [row] = make_encoder(made, max_length=500).with_reasoning(trained=True).encode([(prompt, completion, ())], **how)
    assert isinstance(row, Encoded), row
    return str(made.decode(np.array(row.completion)[row.trained]))


@pytest.mark.parametrize(
    ("chat_template", "marks", "prompt", "answer"),
    [
        (HARMONY, HARMONY_MARKS, "<|start|>assistant", "<|channel|>final<|message|>Hello.<|return|>"),
        (COHERE, COHERE_MARKS, "<|turn|><|bot|>", "<|resp|>Hello.<|/resp|><|eot|>"),
        (GLM, (), "<|assistant|>\n", "Hello.<|im_end|>"),
        (THINKING_ONLY, (), "assistant\n<think>\n", "Hello.<|im_end|>"),
        (INSERTS_THINKING, (), "assistant\n", "Hello.<|im_end|>"),
        (DROPS_THINKING, (), "assistant\n", "Hello.<|im_end|>"),
        (TWO_ENDS, ("<|eot|>",), "assistant\n", "Hello.<|im_end|>"),
        (CHATML.replace("{% if add", "{% if false and add"), (), "", "<|im_start|>assistant\nHello.<|im_end|>"),
    ],
)
def test_what_inference_does_not_add_before_an_answer_is_trained_where_every_answer_has_it(
    chat_template: str, marks: tuple[str, ...], prompt: str, answer: str
) -> None:
    made = tokenizer(chat_template, *marks)
    rendered = make_template(made).render("Hi", "Hello.")

    assert rendered.prompt == made.apply_chat_template(
        [{"role": "user", "content": "Hi"}], tokenize=False, add_generation_prompt=True
    )
    assert rendered.prompt.endswith(prompt)
    assert trained(made, "Hi", "Hello.") == answer


@pytest.mark.parametrize(("chat_template", "marks"), [(HARMONY, HARMONY_MARKS), (COHERE, COHERE_MARKS), (GLM, ())])
def test_an_answer_with_its_header_agrees_with_the_template(chat_template: str, marks: tuple[str, ...]) -> None:
    assert template(chat_template, *marks).render("Hi", "Hello.").agrees


def test_a_header_stays_the_models_under_a_control_text() -> None:
    made = with_control_text(tokenizer(COHERE, *COHERE_MARKS), "<|turn|>")

    assert make_template(made).render("Hi", "Hello.").prompt.endswith("<|bot|><|turn|>")
    assert trained(made, "Hi", "Hello.") == "<|resp|>Hello.<|/resp|><|eot|>"


def test_an_answer_that_brings_its_header_is_not_given_a_second_one() -> None:
    assert trained(tokenizer(COHERE, *COHERE_MARKS), "Hi", "<|resp|>Hello.") == "<|resp|>Hello.<|/resp|><|eot|>"
    assert trained(tokenizer(GLM), "Hi", "<think>hm</think>Hello.") == "<think>hm</think>\nHello.<|im_end|>"


@pytest.mark.parametrize("answer", ["<think>\nhm\n</think>\n\nHello.", "hm\n</think>\n\nHello."])
def test_thinking_that_the_prompt_opens_is_not_opened_again(answer: str) -> None:
    for chat_template in (
        THINKING_ONLY,
        DROPS_THINKING.replace("assistant\n' }}{% endif", "assistant\n<think>\n' }}{% endif"),
    ):
        assert trained(tokenizer(chat_template), "Hi", answer) == "hm\n</think>\n\nHello.<|im_end|>"


def test_a_header_of_the_last_answer_alone_is_refused_where_the_template_does_not_know_it_again() -> None:
    last = CHATML.replace(
        "{{ '<|im_start|>'", "{{ ('' if m['role'] == 'user' or not loop.last else '[final]') + '<|im_start|>'"
    )
    between = last.replace(
        "'[final]') + '<|im_start|>' + m['role'] + '\n'",
        "'') + '<|im_start|>' + m['role'] + '\n' + ('[final]' if loop.last and m['role'] == 'assistant' else '')",
    )

    with pytest.raises(
        ModelError, match=r"writes '\[final\]' before an answer, and it stands before the last answer alone"
    ):
        template(between)


def test_an_answer_that_was_cut_off_loses_all_of_its_closing() -> None:
    assert trained(tokenizer(COHERE, *COHERE_MARKS), "Hi", "Hel", finished=[False]) == "<|resp|>Hel"


@pytest.mark.parametrize(
    ("chat_template", "marks", "written", "words"),
    [
        (COHERE, COHERE_MARKS, "<|resp|>Hello.<|/resp|><|eot|>", "Hello."),
        (HARMONY, HARMONY_MARKS, "<|channel|>final<|message|>Hello.<|return|>", "Hello."),
        (
            HARMONY,
            HARMONY_MARKS,
            "<|channel|>analysis<|message|>hm<|end|><|start|>assistant<|channel|>final<|message|>Hello.<|return|>",
            "Hello.",
        ),
        (GLM, (), "<think></think>\nHello.<|im_end|>", "Hello."),
        (GLM, (), "<think>hm</think>\nHello.<|im_end|>", "Hello."),
        (CHATML, (), "Hello.<|im_end|>", "Hello."),
        (COHERE, COHERE_MARKS, "Hel", "Hel"),
    ],
)
def test_a_sampled_answer_is_its_words_without_what_the_model_writes_around_them(
    chat_template: str, marks: tuple[str, ...], written: str, words: str
) -> None:
    made = tokenizer(chat_template, *marks)
    ids = made(written, add_special_tokens=False)["input_ids"]
    found = make_template(made)

    ends = frozenset({made.convert_tokens_to_ids(found.end_of_turn)})

    assert read_answer(found, [], ids, ends, ended=True).words == words


ENDED = [
    "Hello.",
    "Hello.<|im_end|>",
    "Hello.<|im_end|>\n",
    "Hello.<|im_end|> <|im_end|>",
    "Hello.</s>\n",
    "Hello.</s><|im_end|>",
]


@pytest.mark.parametrize("answer", ENDED)
@pytest.mark.parametrize(
    "chat_template", [CHATML, INSERTS_THINKING, WITHOUT_END.replace("\n'", "' + eos_token + '\n'"), None]
)
def test_an_answer_that_spells_the_end_of_its_turn_or_text_is_ended_once(
    chat_template: str | None, answer: str
) -> None:
    made = tokenizer(chat_template, "</s>")
    made.eos_token = "</s>"
    end = make_template(made).end_of_turn
    if "<|im_end|>" in answer and end != "<|im_end|>":
        return  # no end of this tokenizer

    assert trained(made, "Hi", answer) == "Hello." + end
    assert trained(made, "Hi", answer, finished=[False]) == "Hello."


def test_ends_that_earlier_answers_spell_are_not_doubled_in_the_prompt_either() -> None:
    found, turns = (
        template(CHATML),
        (Message("user", "Hi"), Message("assistant", "Yes?<|im_end|>\n"), Message("user", "Why?")),
    )

    assert found.prompt(turns).count("<|im_end|>") == 3
    assert found.with_rendered([(turns, "So.", ())]).render(turns, "So.").prompt == found.prompt(turns)


def test_words_of_the_end_elsewhere_stay() -> None:
    assert trained(tokenizer(CHATML), "Hi", "It is <|im_end|>, or </s>") == "It is <|im_end|>, or </s><|im_end|>"
    assert "Hi<|im_end|><|im_end|>" in template(CHATML).prompt("Hi<|im_end|>")


def test_an_answer_that_is_nothing_but_the_end_is_refused() -> None:
    [row] = make_encoder(tokenizer(CHATML), max_length=100).encode([("Hi", "<|im_end|>\n", ())])

    assert row == Unencodable("nothing to train on", "the answer is nothing but the end of a turn")


def test_a_template_that_reads_content_parts_is_given_parts() -> None:
    turns = (Message("system", "Be."), Message("user", "Hi"), Message("assistant", "Yes?"), Message("user", "Why?"))

    for prompt in ("Hi", turns):
        assert template(PARTS).render(prompt, "Hello.") == template(CHATML).render(prompt, "Hello.")
    assert template(PARTS).with_rendered([("Hi", "Hello.", ())]).render("Hi", "Hello.") == template(CHATML).render(
        "Hi", "Hello."
    )


def test_parts_are_given_to_the_role_that_wants_them_alone() -> None:
    mixed = PARTS.replace("(m['content'] |", "(m['content'] if m['role'] != 'user' else m['content'] |", 1)

    assert template(mixed).marks.parts == {"user"}
    assert template(mixed).render("Hi", "Hello.") == template(CHATML).render("Hi", "Hello.")


def test_a_template_that_loses_the_words_is_refused() -> None:
    with pytest.raises(ModelError, match="does not write the words of user and assistant"):
        template(CHATML.replace("m['content']", "(m['text'] or '')"))


@pytest.mark.parametrize("role", ["system", "tool"])
def test_turns_whose_words_a_template_loses_are_refused_and_others_are_not(role: str) -> None:
    found = template(
        CHATML.replace("{% for m in messages %}", "{% for m in messages if m['role'] != '" + role + "' %}")
    )

    assert found.render("Hi", "Hello.").agrees
    with pytest.raises(DataError, match=f"does not write the words of {role} turns"):
        found.prompt((Message("user", "Hi"), Message(role, "Be.")))


def test_a_template_that_refuses_system_turns_refuses_them_in_its_own_words() -> None:
    with pytest.raises(DataError, match="System role not supported"):
        template(REFUSES_SYSTEM).prompt((Message("system", "Be."), Message("user", "Hi")))


NAMED = {
    "default": CHATML,
    "tool_use": "{% for t in tools or [] %}{{ t['function']['name'] + '\n' }}{% endfor %}" + CHATML,
}
TOOL = {"type": "function", "function": {"name": "add"}}


def test_of_several_named_templates_the_one_for_tools_is_used_with_tools() -> None:
    found = template(NAMED)

    assert found.render("Hi", "Hello.") == template(CHATML).render("Hi", "Hello.")
    assert found.prompt("Hi", (TOOL,)) == "add\n" + found.prompt("Hi")


def test_a_control_text_is_written_by_every_named_template() -> None:
    steered = make_template(with_control_text(tokenizer(NAMED), "<|good|>"))

    assert steered.prompt("Hi").endswith("assistant\n<|good|>")
    assert steered.prompt("Hi", (TOOL,)).endswith("assistant\n<|good|>")
    assert control_text(steered.tokenizer) == "<|good|>"


def test_named_templates_that_end_an_answer_in_two_ways_are_refused_where_there_are_tools() -> None:
    found = template(NAMED | {"tool_use": WITHOUT_END})

    assert found.render("Hi", "Hello.").agrees
    with pytest.raises(DataError, match="for tools ends or begins an answer otherwise"):
        found.render("Hi", "Hello.", (TOOL,))


def test_named_templates_without_a_default_are_refused_by_name() -> None:
    with pytest.raises(ModelError, match=r"several chat templates \(tool_use\) and none that is called default"):
        template({"tool_use": CHATML})


def test_named_templates_are_part_of_a_tokenizers_identity() -> None:
    one, other = tokenizer(NAMED), tokenizer(copy.deepcopy(NAMED) | {"tool_use": CHATML})

    assert tokenizer_fingerprint(one) != tokenizer_fingerprint(other)


WEATHER = (
    "{% for m in messages %}{% if m['role'] == 'tool' %}"
    "{% if m['tool_call_id'] is not defined %}{{ raise_exception('no tool_call_id') }}{% endif %}"
    "{{ '<|im_start|>' + m['name'] + '|' + m['tool_call_id'] + '\n' + m['content'] + '<|im_end|>\n' }}"
    "{% else %}{{ '<|im_start|>' + m['role'] + '\n' + m['content'] + '<|im_end|>\n' }}{% endif %}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}"
)


def test_every_key_of_a_turn_reaches_the_template() -> None:
    tool = Message("tool", "20 C", extra=(("name", "weather"), ("tool_call_id", "abcdef000")))
    turns = (Message("user", "Hi"), tool)

    assert "<|im_start|>weather|abcdef000\n20 C<|im_end|>" in template(WEATHER).prompt(turns)
    assert template(WEATHER).with_rendered([(turns, "So.", ())]).render(turns, "So.").agrees


def test_turns_that_differ_in_another_key_are_rendered_apart() -> None:
    one, other = (
        (Message("user", "Hi"), Message("tool", "20 C", extra=(("name", name), ("tool_call_id", "a")))) for name in "xy"
    )
    found = template(WEATHER).with_rendered([(one, "So.", ()), (other, "So.", ())])

    assert "x|a" in found.render(one, "So.").prompt
    assert "y|a" in found.render(other, "So.").prompt


def test_segments_of_several_turns_have_their_headers() -> None:
    turns = (Message("assistant", "Yes?"), Message("user", "Bye"), Message("assistant", "So."))
    rendered = template(COHERE, *COHERE_MARKS).render("Hi", turns)

    assert rendered.completion == (
        Segment("<|resp|>Yes?<|/resp|><|eot|>", trained=True),
        Segment("<|turn|><|user|>Bye<|eot|><|turn|><|bot|>", trained=False),
        Segment("<|resp|>So.<|/resp|><|eot|>", trained=True),
    )

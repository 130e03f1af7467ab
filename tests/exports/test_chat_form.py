"""Chat templates as tables of the texts between turns, and as Go templates that write the same."""

import json
import shutil
import subprocess
from pathlib import Path

import pytest

import chat_templates as known
from fakes import byte_tokenizer
from haloes.exports.chat_form import ChatForm, learn_form
from haloes.exports.ollama import ollama_template
from haloes.records import Message
from haloes.tokens.template import Template, make_template

CHAT = (Message("user", "A?"), Message("assistant", "B."), Message("user", 'C {{ .Role }} "c"\n'))
BRIEF = Message("system", "Be brief.")
WITH_SYSTEM = ("CHATML", "SMOLLM", "LLAMA3", "MISTRAL", "QWEN3", "TOOLS")


def template(name: str) -> Template:
    return make_template(byte_tokenizer(chat_template=getattr(known, name)))


def form(name: str) -> ChatForm:
    learnt = learn_form(template(name), opening="")
    assert learnt is not None
    return learnt


@pytest.mark.parametrize("name", [*WITH_SYSTEM, "GEMMA"])
def test_the_form_writes_what_the_template_writes(name: str):
    for turns in (CHAT[:1], (*CHAT[:2], Message("user", "C"))):
        assert form(name).render(turns) == template(name).prompt(turns)


@pytest.mark.parametrize("name", WITH_SYSTEM)
def test_the_form_writes_system_turns_where_the_template_does(name: str):
    turns = (BRIEF, *CHAT[:2], Message("user", "C"))

    assert form(name).render(turns) == template(name).prompt(turns)


def test_a_template_that_refuses_system_turns_has_a_form_without_them():
    with pytest.raises(KeyError):
        form("GEMMA").render((BRIEF, CHAT[0]))
    assert '"system"' not in form("GEMMA").go_template()


@pytest.mark.parametrize("name", ["MISTRAL_LAST", "COUNTS"])
def test_a_template_that_looks_further_than_the_turn_before_has_no_form(name: str):
    assert learn_form(template(name), opening="") is None


def test_what_stands_before_every_text_is_not_written_twice():
    learnt = learn_form(template("LLAMA3"), opening="<|im_start|>")

    assert learnt is not None
    assert learnt.render(CHAT[:1]).startswith("<|start_header_id|>user")


def test_a_form_without_equal_text_is_said_and_left_out():
    text, note = ollama_template(byte_tokenizer(chat_template=known.MISTRAL_LAST))

    assert text is None
    assert "the Modelfile has no TEMPLATE" in note


def test_tools_are_said_to_be_missing():
    text, note = ollama_template(byte_tokenizer(chat_template=known.TOOLS))

    assert text is not None
    assert "It offers no tools" in note


def test_a_tokenizer_without_a_chat_template_passes_the_prompt_on():
    assert ollama_template(byte_tokenizer(chat_template=None))[0] == "{{ .Prompt }}"


@pytest.fixture(scope="module")
def go(tmp_path_factory: pytest.TempPathFactory) -> Path:
    if shutil.which("go") is None:
        pytest.skip("Go is not installed; with it, the Go templates are rendered by Go's own text/template")
    folder = tmp_path_factory.mktemp("go")
    shutil.copy(Path(__file__).with_name("go_templates.go"), folder / "main.go")
    subprocess.run(["go", "build", "-o", "render", "main.go"], cwd=folder, check=True)
    return folder / "render"


@pytest.mark.parametrize("name", [*WITH_SYSTEM, "GEMMA"])
def test_go_renders_the_form_s_template_as_the_form_does(name: str, go: Path):
    chats = [CHAT[:1], CHAT, *([(BRIEF, CHAT[0]), (BRIEF, *CHAT)] if name in WITH_SYSTEM else [])]
    given = {
        "Template": form(name).go_template(),
        "Conversations": [[{"Role": turn.role, "Content": turn.content} for turn in turns] for turns in chats],
    }

    said = subprocess.run([go], input=json.dumps(given), capture_output=True, text=True, check=True).stdout

    assert json.loads(said) == [form(name).render(turns) for turns in chats]


def test_go_passes_over_turns_that_the_form_does_not_know(go: Path):
    turns = [{"Role": role, "Content": role} for role in ("system", "user", "tool")]
    given = {"Template": form("GEMMA").go_template(), "Conversations": [turns]}

    said = subprocess.run([go], input=json.dumps(given), capture_output=True, text=True, check=True).stdout

    assert json.loads(said) == [form("GEMMA").render((Message("user", "user"),))]

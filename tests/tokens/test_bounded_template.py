"""A template's loops come to an end, and what it writes stays the same."""

from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st
from transformers.utils.chat_template_utils import render_jinja_template

import fake_tokenizers
from fakes import CHAT_TEMPLATE, byte_tokenizer
from haloes.errors import DataError, ModelError
from haloes.records import Message
from haloes.tokens import bounded_template as module
from haloes.tokens.bounded_template import MOST_STEPS
from haloes.tokens.rendering import render_messages
from haloes.tokens.template import make_template

TURNS = (Message("system", "Be brief."), Message("user", " Why? "), Message("assistant", "So.\n"), Message("user", "!"))
NEVER_ENDING = {
    "loops in loops": "{% for a in range(100000) %}{% for b in range(100000) %}{% endfor %}{% endfor %}",
    "loops over one list": "{% set l = range(9) %}" + "{% for a in l %}" * 15 + "{% endfor %}" * 15,
    "a macro that calls itself twice": "{% macro f(n) %}{% if n %}{{ f(n - 1) }}{{ f(n - 1) }}{% endif %}{% endmacro %}"
    "{{ f(90) }}",
    "macros that call one another twice": "{% macro f0() %}{% endmacro %}"
    + "".join(f"{{% macro f{i}() %}}{{{{ f{i - 1}() }}}}{{{{ f{i - 1}() }}}}{{% endmacro %}}" for i in range(1, 60))
    + "{{ f59() }}",
    "a recursive loop": "{% for a in [60, 60] recursive %}{% if a %}{{ loop([a - 1, a - 1]) }}{% endif %}{% endfor %}",
    "a block in itself": "{% set ns = namespace(n=0) %}{% block b %}{% set ns.n = ns.n + 1 %}"
    "{% if ns.n < 40 %}{{ self.b() }}{{ self.b() }}{% endif %}{% set ns.n = ns.n - 1 %}{% endblock %}",
    "names set anew": "{% for a in range(100000) %}{% for b in range(100000) %}{% set haloes_0 = range(9) | batch(1) %}"
    "{% set raise_exception = dict %}{% endfor %}{% endfor %}",
    "a loop with a filter": "{% for a in range(100000) %}{% for b in range(100000) if false %}{% endfor %}{% endfor %}",
    "a filter of two": "{% for a in range(100000) %}{% for b in range(100000) if false if a < 0 else false recursive %}"
    "{% endfor %}{% endfor %}",
}


@pytest.fixture
def _fewer_steps(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A third of the steps, to be quick."""
    monkeypatch.setattr(module, "_RANGES", 1)
    module._bounded.cache_clear()
    yield
    module._bounded.cache_clear()


@pytest.mark.usefixtures("_fewer_steps")
@pytest.mark.parametrize("what", list(NEVER_ENDING))
def test_a_template_that_does_not_come_to_an_end_is_refused(what: str):
    tokenizer = byte_tokenizer()
    tokenizer.chat_template = NEVER_ENDING[what] + tokenizer.chat_template

    with pytest.raises(ModelError, match="does not come to an end: more than 300,000 rounds"):
        make_template(tokenizer)


def test_a_loop_that_ends_only_for_made_up_words_is_refused_at_the_row_that_it_does_not_end_for():
    tokenizer = byte_tokenizer()
    tokenizer.chat_template = (
        "{% if 'So.' in messages[-1].content %}" + NEVER_ENDING["loops in loops"] + "{% endif %}" + CHAT_TEMPLATE
    )
    template = make_template(tokenizer)

    with pytest.raises(ModelError, match="does not come to an end"):
        template.render("Why?", "So.")


def test_each_conversation_has_all_its_steps():
    assert MOST_STEPS < 8 * 90_000
    tokenizer = byte_tokenizer()
    tokenizer.chat_template = "{% for a in range(90000) %}{% endfor %}" + tokenizer.chat_template
    template = make_template(tokenizer)

    rows = [(f"Question {i}", "Answer") for i in range(8)]
    assert template.with_rendered(rows).renderer.rendered


@pytest.mark.parametrize("power", ["{{ 10 ** 10 ** 10 }}", "{% set a = messages | length ** 2 %}"])
def test_a_power_is_not_rendered(power: str):
    tokenizer = byte_tokenizer()
    tokenizer.chat_template = power + tokenizer.chat_template

    with pytest.raises(ModelError, match="raises a number to a power"):
        make_template(tokenizer)


def test_a_template_that_is_none_is_refused_as_before():
    tokenizer = byte_tokenizer()
    tokenizer.chat_template = "{% for m in messages %}{{ m"

    with pytest.raises(DataError, match="the chat template refuses these messages"):
        make_template(tokenizer)


@pytest.mark.parametrize(
    "failing",
    [
        "{% for m in messages %}" * 40 + "{% endfor %}" * 40,
        "{% macro f() %}{{ f() }}{% endmacro %}{{ f() }}",
        "{{ 1 / 0 }}",
        "{{ [1][5].x }}",
    ],
)
def test_a_template_that_fails_refuses(failing: str):
    tokenizer = byte_tokenizer()
    tokenizer.chat_template = failing

    with pytest.raises(DataError, match="the chat template refuses these messages"):
        make_template(tokenizer)


@pytest.mark.parametrize("name", [name for name in dir(fake_tokenizers) if name.isupper()])
def test_what_is_written_is_the_same(name: str):
    text = getattr(fake_tokenizers, name)
    tokenizer = byte_tokenizer()
    tokenizer.chat_template = text
    turns = [turn for turn in TURNS if turn.role != "system"]

    if "{%" in text:
        written = render_messages(tokenizer, turns, generation=True)
        assert written == tokenizer.apply_chat_template(
            [{"role": turn.role, "content": turn.content} for turn in turns], tokenize=False, add_generation_prompt=True
        )


SPACE = st.sampled_from(
    ["", " ", "\n", "\n\n", "  \n  ", "\n    ", "x", "x\n", "\nx", "{# c #}", "{#- c -#}\n", "{{ 'v' }}"]
)
OPEN, CLOSE = st.sampled_from(["{%", "{%-", "{%+"]), st.sampled_from(["%}", "-%}", "+%}"])
BODIES = (
    ("for m in messages", "endfor"),
    ("for m in messages if m.content", "endfor"),
    ("for m in messages if not m.content or true if 1 else (2 if 3 else 4) recursive", "endfor"),
    ("for m in (messages if true else []) if[1]", "endfor"),
    ("for m in messages if recursive", "endfor"),
    ("for m in [1, [2]] recursive", "endfor"),
    ("if messages", "endif"),
    ("macro f(a)", "endmacro"),
    ("block b", "endblock"),
    ("set s", "endset"),
    ("raw", "endraw"),
    ("filter upper", "endfilter"),
    ("generation", "endgeneration"),
)


@st.composite
def templates(draw: st.DrawFn, depth: int = 2) -> str:
    """Templates with tags of every kind, and with whitespace and its marks around them."""
    text = draw(SPACE)
    for i in range(draw(st.integers(0, 2))):
        begin, end = draw(st.sampled_from(BODIES))
        begin = begin.replace("block b", f"block b{draw(st.uuids()).hex}")
        close = "%}" if begin == "raw" else draw(CLOSE)  # Jinja knows no other
        inner = draw(templates(depth - 1)) if depth and begin != "raw" else draw(SPACE)
        first, last = draw(OPEN), draw(OPEN)
        text += f"{first} {begin} {close}{inner}{last} {end} {draw(CLOSE) if begin != 'raw' else '%}'}{draw(SPACE)}"
        if begin.startswith("macro") and i % 2:
            text += "{{ f(1) }}"
    return text


@given(templates())
def test_whitespace_stays_where_it_was(text: str):
    messages = [{"role": "user", "content": "c"}, {"role": "user", "content": ""}]

    def written(template: str) -> object:
        try:
            return render_jinja_template([messages], chat_template=template)[0]
        except Exception as error:  # noqa: BLE001 - which one it is, is compared
            return type(error)

    assert written(module._bounded(text)) == written(text)

"""A Python function as judge."""

from pathlib import Path

import pytest

from haloes.errors import ConfigError
from haloes.judging._contract import JudgeReply, OrderedPair
from haloes.judging.functions import load_function
from haloes.judging.rule import RuleJudge
from haloes.records import Message


def opinion(value: str, folder: Path, *, prompt: object = "p") -> JudgeReply:
    (folder / "rule.py").write_text(f"def f(prompt, first, second):\n    return {value}\n")
    judge = RuleJudge(rule=f"{folder}/rule.py:f")
    asked = OrderedPair(prompt_id="7", prompt=prompt, first="long answer", second="short")
    ((place, found),) = judge.compare([asked])
    assert place == 0
    assert isinstance(found, JudgeReply)
    return found


@pytest.mark.parametrize(
    ("value", "verdict", "preference"),
    [
        ("'first'", "first", None),
        ("'second'", "second", None),
        ("'tie'", "tie", None),
        ("None", None, None),
        ("0.75", "first", 0.75),
        ("0", "second", 0.0),
        ("0.5", "tie", 0.5),
        ("__import__('numpy').float32(1)", "first", 1.0),
    ],
)
def test_what_a_rule_may_say(value: str, verdict: str | None, preference: float | None, tmp_path: Path):
    found = opinion(value, tmp_path)

    assert (found.verdict, found.preference) == (verdict, preference)
    assert found.reason.startswith("the rule says")


def test_a_rule_may_give_its_reason(tmp_path: Path):
    found = opinion("('second' if len(second) < len(first) else 'first', 'shorter')", tmp_path)

    assert (found.verdict, found.reason) == ("second", "shorter")


def test_a_rule_sees_the_messages(tmp_path: Path):
    assert opinion("'first' if prompt[0].role == 'user' else None", tmp_path, prompt=(Message("user", "x"),)).verdict


ODD = ["True", "'First'", "1.5", "-0.1", "float('nan')", "float('inf')", "[]", "('first', 'a', 'b')", "10**400"]


@pytest.mark.parametrize("value", ODD)
def test_anything_else_is_unscored_with_the_reason(value: str, tmp_path: Path):
    found = opinion(value, tmp_path)

    assert (found.verdict, found.preference) == (None, None)
    assert "rule.py:f gave back " in found.reason
    assert found.reason.endswith("a number from 0 to 1 for the first answer")


@pytest.mark.parametrize(
    ("value", "words"),
    [
        ("10**9999", "gave back a value of the type int"),
        ("type('Odd', (), {'__repr__': lambda self: 1 / 0, '__float__': lambda self: 1 / 0})()", "of the type Odd"),
        ("'x' * 10000", "…"),
    ],
)
def test_what_cannot_be_written_out_is_named_by_its_type(value: str, words: str, tmp_path: Path):
    found = opinion(value, tmp_path)

    assert found.verdict is None
    assert words in found.reason
    assert len(found.reason) < 1000


@pytest.mark.parametrize(
    ("value", "why"),
    [("1 / 0", "ZeroDivisionError: division by zero"), ("__import__('sys').exit(0)", "SystemExit: 0")],
)
def test_a_rule_that_fails_is_unscored_with_the_reason(value: str, why: str, tmp_path: Path):
    found = opinion(value, tmp_path)

    assert found.verdict is None
    assert found.reason.endswith(f"rule.py:f failed ({why})")


def test_a_rule_of_other_arguments_is_refused_before_it_is_asked(tmp_path: Path):
    (tmp_path / "rule.py").write_text("def f(first, second):\n    return 'first'\n")
    asked = OrderedPair(prompt_id="7", prompt="p", first="a", second="b")

    with pytest.raises(ConfigError, match=r"takes \(first, second\), and is called with \(prompt, first, second\)"):
        list(RuleJudge(rule=f"{tmp_path}/rule.py:f").compare([asked]))


def test_a_file_that_ends_the_program_cannot_be_loaded(tmp_path: Path):
    (tmp_path / "rule.py").write_text("import sys\nsys.exit(0)\n")
    with pytest.raises(ConfigError, match="cannot be loaded"):
        load_function(f"{tmp_path}/rule.py:f")


@pytest.mark.parametrize("name", ["math:nothing", "nowhere.py:f", "no.such.module:f", "math", "math:pi", ""])
def test_a_rule_that_is_not_there_is_refused(name: str):
    with pytest.raises(ConfigError, match=r"judge\.rule"):
        load_function(name)


def test_another_source_is_another_judge(tmp_path: Path):
    opinion("'first'", tmp_path)
    before = RuleJudge(rule=f"{tmp_path}/rule.py:f").identity
    opinion("'second'", tmp_path)

    assert RuleJudge(rule=f"{tmp_path}/rule.py:f").identity != before
    assert RuleJudge(rule="math:sqrt").identity.settings["source"]

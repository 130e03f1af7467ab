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


@pytest.mark.parametrize("value", ["True", "'First'", "1.5", "-0.1", "float('nan')", "[]", "('first', 'a', 'b')"])
def test_anything_else_is_refused(value: str, tmp_path: Path):
    with pytest.raises(ConfigError, match="for prompt 7; expected"):
        opinion(value, tmp_path)


def test_a_rule_that_fails_is_named_with_its_prompt(tmp_path: Path):
    with pytest.raises(ConfigError, match=r"rule\.py:f failed on the answers to prompt 7 \(ZeroDivisionError"):
        opinion("1 / 0", tmp_path)


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

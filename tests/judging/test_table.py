"""Judges by name, and settings that are refused."""

import dataclasses
from typing import Any

import pytest

from haloes.errors import ConfigError
from haloes.judging.http import HttpJudge
from haloes.judging.table import JUDGES, deciding_settings, make_judge

HTTP = {"model": "m", "base_url": "http://127.0.0.1:1/v1"}


def test_settings_become_a_judge():
    judge = make_judge("http", {**HTTP, "timeout": 5, "body": {"top_k": 1}})

    assert judge == HttpJudge(model="m", base_url="http://127.0.0.1:1/v1", timeout=5.0, body={"top_k": 1})
    assert make_judge("local", {}).identity.name == "embedded"


@pytest.mark.parametrize(
    ("name", "settings", "fault"),
    [
        ("htpp", {}, 'Did you mean "http"'),
        ("http", {"model": "m"}, r"judge\.base_url: the http judge needs it"),
        ("http", {**HTTP, "time_out": 3}, 'Did you mean "timeout"'),
        ("http", {**HTTP, "timeout": "soon"}, r"judge\.timeout: "),
        ("http", {**HTTP, "timeout": -1}, "timeout must be positive"),
        ("http", {**HTTP, "concurrency": 0}, "concurrency must be at least 1"),
        ("http", {**HTTP, "top_logprobs": 21}, "from 0 to 20"),
        ("http", {**HTTP, "top_logprobs": 5}, "a template whose reply is a label alone"),
        ("http", {**HTTP, "price_prompt": 1.0}, "given together"),
        ("http", {**HTTP, "template": "nope"}, "there is no 'nope'"),
        ("http", {**HTTP, "key_env": "sk-123"}, "give the NAME"),
        ("local", {"tie_margin": 0.5}, "tie_margin"),
        ("local", {"batch_tokens": 0}, "batch_tokens"),
        ("local", {"_kept": {}}, "no such setting"),
        ("local", {"template": "nope"}, "there is no 'nope'"),
        ("local", {"dtype": "int8"}, r"judge\.dtype"),
        ("reward", {}, r"judge\.model: the reward judge needs it"),
        ("reward", {"model": "m", "tie_margin": -1}, "tie_margin"),
        ("rule", {}, r"judge\.rule: the rule judge needs it"),
    ],
)
def test_what_does_not_fit_is_refused(name: str, settings: dict[str, Any], fault: str):
    with pytest.raises(ConfigError, match=fault):
        make_judge(name, settings)


@pytest.mark.parametrize("cls", JUDGES.values(), ids=lambda cls: cls.__name__)
def test_settings_are_plain_values_that_can_be_written_down(cls: type[Any]):
    for field in dataclasses.fields(cls):
        assert field.name.startswith("_") != field.init


@pytest.mark.parametrize("name", JUDGES)
def test_free_settings_are_settings_and_decide_no_verdict(name: str):
    needed = {"http": HTTP, "reward": {"model": "m"}, "reward-model": {"model": "m"}, "rule": {"rule": "math:gcd"}}
    judge = make_judge(name, needed.get(name, {}))
    free = JUDGES[name].FREE_SETTINGS

    assert free <= {field.name for field in dataclasses.fields(JUDGES[name]) if field.init}
    assert not free & set(judge.identity.settings)
    assert deciding_settings(name, {**dict.fromkeys(free, 1), "kind": name, "new": 2}) == {"kind": name, "new": 2}

"""
The judges that haloes knows by name.

A new judge is a file in this folder (a `Judge` of `_contract.py`; its fields are its settings, and those that decide no
verdict are named in its `FREE_SETTINGS`) and a row here. Its name goes into `JudgeName` (`api/arguments.py`: what type
checkers and the command line accept, without importing the judges), with a word in the help of `haloes judge` and
`haloes.judge`. Further settings need nothing: `make_judge` takes every field of the class. Settings that deserve an
option of their own go into `JudgeOptions` (`cli/flags.py`) and the arguments of `haloes.judge` and `haloes.online`.
"""

import dataclasses
import difflib
from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

from haloes.errors import ConfigError
from haloes.judging._contract import Judge
from haloes.judging.http import HttpJudge
from haloes.judging.local import LocalJudge
from haloes.judging.reward_model import RewardModelJudge
from haloes.judging.rule import FunctionJudge, Rule, RuleJudge

JUDGES: Mapping[str, type[Any]] = MappingProxyType(
    {
        "http": HttpJudge,
        "local": LocalJudge,
        "reward": RewardModelJudge,
        "reward-model": RewardModelJudge,
        "rule": RuleJudge,
    }
)
"""Judges by name. A reward model has two: the short one, and its usual one."""


def make_judge(name: str, settings: Mapping[str, Any]) -> Judge:
    """
    Make a judge by its name and settings.

    Raises:
        ConfigError: there is no such judge or setting (with a suggestion), or a value is not what it must be.
    """
    import json

    from pydantic import TypeAdapter, ValidationError

    if name not in JUDGES:
        raise ConfigError(
            f"judge: there is no judge {name!r}.{_near(name, list(JUDGES))} There are: {', '.join(JUDGES)}"
        )
    allowed = [field.name for field in dataclasses.fields(JUDGES[name]) if field.init]
    for key in settings:
        if key not in allowed:
            raise ConfigError(
                f"judge.{key}: the {name} judge has no such setting.{_near(key, allowed)} It has: {', '.join(allowed)}"
            )
    try:
        # Through JSON and strictly: settings come from a command line or YAML, and "5" is not 5.
        judge: Judge = TypeAdapter(JUDGES[name]).validate_json(json.dumps(dict(settings), default=str), strict=True)
    except ValidationError as error:
        raise ConfigError("; ".join(_explained(name, fault) for fault in error.errors())) from error
    return judge


def given_judge(judge: str | Rule, settings: Mapping[str, Any]) -> Judge:
    """
    Make a judge by its name and settings, or of a function, which has none.

    Raises:
        ConfigError: as `make_judge`, or a function has settings.
    """
    if isinstance(judge, str):
        return make_judge(judge, settings)
    if settings:
        raise ConfigError(f"judge.{next(iter(settings))}: the judge is a function, which has no settings; leave it out")
    return FunctionJudge(judge)


def deciding_settings(name: str, settings: Mapping[str, Any]) -> dict[str, Any]:
    """Return those of a judge's settings that may decide verdicts: all but the free ones, so new ones count."""
    free = JUDGES[name].FREE_SETTINGS if name in JUDGES else frozenset()
    return {key: value for key, value in settings.items() if key not in free}


def _explained(name: str, fault: Mapping[str, Any]) -> str:
    place = ".".join(map(str, fault["loc"]))
    if fault["type"] == "missing":
        return f"judge.{place}: the {name} judge needs it"
    return f"judge.{place}: {fault['msg']}"


def _near(word: str, known: list[str]) -> str:
    close = difflib.get_close_matches(word, known, n=1)
    return f' Did you mean "{close[0]}"?' if close else ""

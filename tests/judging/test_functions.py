"""Functions of the user: the name under which one is recorded, and what counts as another one."""

import re
from collections.abc import Callable
from functools import partial
from typing import Any

import pytest

from haloes.errors import ConfigError
from haloes.judging._contract import JudgeReply, OrderedPair
from haloes.judging.functions import fingerprint, load_function, name_of
from haloes.judging.rule import FunctionJudge
from haloes.judging.table import given_judge
from haloes.recipes.demo import rule as demo


def longer(limit: int) -> Callable[..., Any]:
    return lambda prompt, first, second: "first" if len(first) > limit else "second"


def shorter(limit: int) -> Callable[..., Any]:
    return lambda prompt, first, second: "first" if len(first) < limit else "second"


class Judging:
    def __init__(self, limit: int) -> None:
        self.limit = limit

    def __call__(self, prompt: Any, first: str, second: str) -> str:
        return "first" if len(first) > self.limit else "second"


def test_a_function_of_a_module_is_recorded_by_the_name_that_loads_it_again():
    function = next(
        value for name, value in vars(demo).items() if callable(value) and value.__module__ == demo.__name__
    )

    assert load_function(name_of(function)) is function


@pytest.mark.parametrize(
    ("function", "name"),
    [
        (longer(3), "<longer.lambda of test_functions>"),
        (partial(longer, 3), "<longer of test_functions>"),
        (Judging(3), "<Judging of test_functions>"),
    ],
)
def test_a_function_that_cannot_be_loaded_again_says_so_when_it_is(function: Any, name: str):
    assert name_of(function).replace("tests.judging.", "") == name
    with pytest.raises(
        ConfigError, match=r"was given from Python and cannot be loaded again; give it once more"
    ) as told:
        load_function(name_of(function), setting="samples.rater")
    assert "\n" not in str(told.value)


def test_another_function_is_one_with_other_code_another_default_or_another_value_inside():
    assert fingerprint(longer(3)) == fingerprint(longer(3))
    different = [longer(3), longer(4), shorter(3), partial(longer, 3), partial(longer, 4), Judging(3), len]
    assert len({fingerprint(function) for function in different}) == len(different)


def test_a_function_judges_as_it_is():
    pair = OrderedPair(
        prompt_id="p", prompt="p", first="long", second="s", first_finished=True, second_finished=True, seed=0
    )
    judge = given_judge(longer(3), {})
    [(place, reply)] = judge.compare([pair])

    assert isinstance(judge, FunctionJudge)
    assert isinstance(reply, JudgeReply)
    assert (place, reply.verdict) == (0, "first")
    with pytest.raises(ConfigError, match=r"^judge\.timeout: the judge is a function, which has no settings"):
        given_judge(longer(3), {"timeout": 3})


def test_a_function_that_fails_or_says_something_else_is_named():
    pair = OrderedPair(
        prompt_id="7", prompt="p", first="a", second="b", first_finished=True, second_finished=True, seed=0
    )
    ((_, odd),) = given_judge(lambda *_: "third", {}).compare([pair])
    ((_, failed),) = given_judge(lambda *_: 1 / 0, {}).compare([pair])

    assert isinstance(odd, JudgeReply)
    assert isinstance(failed, JudgeReply)
    assert (odd.verdict, failed.verdict) == (None, None)
    assert re.search(r"<.*lambda of .*> gave back 'third'; expected", odd.reason)
    assert re.search(r"<.*lambda of .*> failed \(ZeroDivisionError", failed.reason)

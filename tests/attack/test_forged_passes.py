"""A program that does not solve its task does not pass, whatever it tries; one that does, passes the same tests."""

import pytest

from forged_passes import CONTAINED, EQUAL, FORGERIES, LISTED, LOOPED, MAPPED, NEAR, SHIELDED, Forgery
from haloes.evaluation.bench.sandbox.run import FunctionTests, Limits, ProgramResult, check_program
from sandbox_here import needs_sandbox

GIVEN = 'def add(a, b):\n    """Add two numbers."""\n'


def judged(program: str, tests: str, seconds: float = 60) -> ProgramResult:
    asked = FunctionTests(source=f"{tests}\ncheck(add)\n", function="add", given=GIVEN)
    return check_program(program, asked, Limits(seconds=seconds, cpu_seconds=30))


@needs_sandbox
@pytest.mark.parametrize("forgery", FORGERIES, ids=lambda one: one.tries)
def test_it_does_not_pass(forgery: Forgery):
    found = judged(forgery.program, forgery.tests)
    assert found.ending in {"failed", "output"}
    assert found.detail


@needs_sandbox
@pytest.mark.parametrize("tests", [EQUAL, NEAR, MAPPED, LISTED, CONTAINED, SHIELDED])
def test_a_program_that_adds_passes(tests: str):
    assert judged("def add(a, b):\n    return a + b\n", tests).ending == "passed"


@needs_sandbox
def test_a_program_that_gives_what_can_be_looped_over_passes():
    assert judged("def add(a, b):\n    yield a + b\n", LOOPED).ending == "passed"


def test_there_are_many_and_each_tries_something_else():
    assert len({forgery.tries for forgery in FORGERIES}) == len(FORGERIES) > 100
    assert len({(forgery.program, forgery.tests) for forgery in FORGERIES}) == len(FORGERIES)

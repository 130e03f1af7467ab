"""Programs judged by tests that run elsewhere: right ones pass, and of wrong ones the reason is told."""

import subprocess
import sys

import pytest

from haloes.evaluation.bench.sandbox._contract import Jail
from haloes.evaluation.bench.sandbox.run import FunctionTests, Limits, ProgramResult, check_program
from program_problems import PROBLEMS, Problem
from sandbox_here import each_jail, needs_sandbox

LONG = Limits(seconds=120, cpu_seconds=60)


def judged(program: str, tests: str, *, given: str = "", limits: Limits = LONG) -> ProgramResult:
    return check_program(program, FunctionTests(source=tests, function="f", given=given), limits)


@needs_sandbox
@pytest.mark.parametrize("problem", PROBLEMS, ids=lambda one: one.name)
def test_a_right_solution_passes_and_one_that_returns_nothing_does_not(problem: Problem):
    asked = FunctionTests(source=problem.source, function=problem.name, given=problem.given)
    found = check_program(problem.given + problem.solution, asked, LONG)
    assert (found.ending, found.detail) == ("passed", "")
    assert check_program(problem.given + "    return 12345\n", asked, LONG).ending == "failed"


@pytest.mark.parametrize("problem", PROBLEMS, ids=lambda one: one.name)
def test_it_passes_in_one_process_too(problem: Problem):
    subprocess.run([sys.executable, "-c", problem.given + problem.solution + problem.source], check=True, timeout=60)


TOLD = "its tests pass a value of the type function, which cannot be sent to it"
FAILS = [
    ("def f(x):\n    return x", "assert f(1) == 2, 'twice'", "AssertionError: twice"),
    ("def f(x):\n    return object()", "f(1)", "it returned a value of the type object"),
    ("def f(x):\n    return f", "f(1)(1)", "it returned a value of the type function"),
    ("def f(x):\n    x.append(object())", "f([1])", "an argument became a value of the type object"),
    (
        "def f(x):\n    return x()",
        "f(lambda: 1)",
        TOLD,
    ),
    ("def g(x):\n    return x", "f(1)", "it does not define f"),
    ("f = 5", "f(1)", "TypeError: 'int' object is not callable"),
    ("def f(x):\n    return x", "assert 1 == 1", "its tests did not call it"),
    ("def f(x):\n    return x", "f(1)\nraise SystemExit(0)", "SystemExit: 0"),
    ("def f(x):\n    return x", "f(1)\nimport os\nos._exit(0)", "its tests ended early: it left before its last line"),
    ("def f(x):\n    return x", "def check(:", "SyntaxError: invalid syntax (tests.py, line 1)"),
    ("def f(x):\n    return x", "f(1)\nassert helper() == 3", "NameError: name 'helper' is not defined"),
    ("def f(x):\n    raise SystemExit", "try:\n    f(1)\nexcept BaseException:\n    pass", "it left with SystemExit"),
    ("def f(x):\n    1 / 0", "f(1)", "ZeroDivisionError: division by zero"),
    ("import nothing_of_the_kind", "f(1)", "ModuleNotFoundError: No module named 'nothing_of_the_kind'"),
    ("def f(x):\n    import os\n    os.abort()", "f(1)", "ended by SIGABRT"),
]


@needs_sandbox
@pytest.mark.parametrize(("program", "tests", "why"), FAILS, ids=[why for _, _, why in FAILS])
def test_of_a_wrong_program_the_reason_is_told(program: str, tests: str, why: str):
    found = judged(program, tests)
    assert (found.ending, found.detail) == ("failed", why)


@needs_sandbox
def test_tests_use_the_benchmark_s_own_functions_and_not_the_program_s():
    given = "def helper(x):\n    return x + 1\n\n\ndef f(x):\n    '''Call helper.'''\n"
    tests = "assert f(1) == helper(1)"
    lies = "def helper(x):\n    return 0\n\n\ndef f(x):\n    return helper(x)\n"
    assert judged(given + "    return helper(x)\n", tests, given=given).ending == "passed"
    assert judged(lies, tests, given=given).ending == "failed"
    assert judged("def f(x):\n    return x\n", "assert f(1) == 1", given="no Python (").ending == "passed"


@needs_sandbox
def test_what_it_prints_is_kept_and_what_it_reads_is_empty():
    found = judged("print('a')\ndef f(x):\n    print('b')\n    return input()", "f(1)")
    assert found.output == "a\nb\n"
    assert found.detail == "EOFError: EOF when reading a line"


@needs_sandbox
@pytest.mark.parametrize(
    ("program", "tests", "limits", "ending"),
    [
        ("import time\ndef f(x):\n    time.sleep(1000)", "f(1)", Limits(seconds=2), "time"),
        ("def f(x):\n    return x", "f(1)\nimport time\ntime.sleep(1000)", Limits(seconds=2), "time"),
        ("import os, time\nos.closerange(0, 9)\ntime.sleep(1000)", "f(1)", Limits(seconds=2), "time"),
        ("def f(x):\n    return 'x' * 99", "f(1)", Limits(seconds=60, answer_bytes=50), "output"),
        ("def f(x):\n    print('x' * 99)", "f(1)", Limits(seconds=60, output_bytes=50), "output"),
        ("def f(x):\n    while True: pass", "f(1)", Limits(seconds=60, cpu_seconds=1), "failed"),
        ("def f(x):\n    return x", "f(1)\nwhile True: pass", Limits(seconds=60, cpu_seconds=1), "failed"),
        ("def f(x):\n    return bytes(1 << 40)", "f(1)", Limits(seconds=60), "failed"),
        ("def f(x):\n    return range(1 << 40)", "list(f(1))", Limits(seconds=60), "failed"),
    ],
)
def test_limits_end_the_program_or_its_tests(program: str, tests: str, limits: Limits, ending: str):
    assert judged(program, tests, limits=limits).ending == ending


@needs_sandbox
def test_a_large_value_goes_both_ways():
    assert judged("def f(x):\n    return x + x", "x = 'a' * 3_000_000\nassert f(x) == x + x").ending == "passed"


@each_jail
def test_the_tests_are_shut_in_as_well(jail: Jail):
    tests = FunctionTests(source="f(1)\nopen('/etc/hostname')", function="f")
    found = check_program("def f(x):\n    return x", tests, LONG, jail=jail)
    assert found.detail == "FileNotFoundError: [Errno 2] No such file or directory: '/etc/hostname'"

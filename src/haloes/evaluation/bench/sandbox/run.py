"""
Run a Python program that nobody has read, and judge it by tests that it cannot reach.

The program runs in one jail and its tests in another. The tests call the program's function by name; what goes
there and back are plain values as text (`inside/values.py`), and a verdict counts only with a mark that the tests'
process alone was given. So the program can answer rightly or wrongly, and nothing else.
"""

import secrets
import signal
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from typing import Any, Literal

from haloes.errors import ConfigError
from haloes.evaluation.bench.sandbox._contract import Jail, command, view
from haloes.evaluation.bench.sandbox.bubblewrap import find_bubblewrap
from haloes.evaluation.bench.sandbox.inside.checker import CALL, VERDICT
from haloes.evaluation.bench.sandbox.inside.talk import HELLO
from haloes.evaluation.bench.sandbox.inside.values import dump, load
from haloes.evaluation.bench.sandbox.namespaces import OwnJail
from haloes.evaluation.bench.sandbox.relay import LimitReached, Relay, Side, sides

Ending = Literal["passed", "failed", "time", "output"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """Limits on what a program uses, and its tests."""

    seconds: float = 10.0
    """Wall-clock time of both, with the start of two jails (a tenth of a second)."""
    cpu_seconds: int = 5
    memory_bytes: int = 1 << 30
    """Address space."""
    output_bytes: int = 1 << 16
    """Most bytes of output; a program that prints more is ended."""
    answer_bytes: int = 1 << 24
    """One value that it returns, as text."""
    open_files: int = 64


@dataclass(frozen=True, slots=True, kw_only=True)
class FunctionTests:
    """Tests of a function."""

    source: str
    """Python that calls the function by its name, and raises where it does wrong."""
    function: str
    given: str = ""
    """The benchmark's own text before the answer: tests may use the functions in it. Ignored where it is not Python."""


@dataclass(frozen=True, slots=True)
class ProgramResult:
    """The end of a program, and its output."""

    ending: Ending
    """"passed": it came to its end, and its tests as well; "failed": it or they raised, left early or were ended by the
    kernel; "time" and "output": it was ended for taking too long or printing too much."""
    detail: str
    """Why it did not pass: the last line of it or of its tests, or the signal that ended it."""
    output: str
    """What it printed, up to the limit."""


def run_python(source: str, limits: Limits | None = None, *, jail: Jail | None = None) -> ProgramResult:
    """
    Run a program to its end, in a jail (`Jail` says what it finds there).

    That it came to its end is its own word: what it is worth is for `check_program` to find.

    Args:
        source: the program; its `__name__` is "program".
        limits: bounds on its time, memory and output; the defaults where None.
        jail: the one to use; the best that works here where None.

    Raises:
        ConfigError: the system refuses any part of this; the program was not run.
    """
    limits = limits or Limits()
    with _jailed(jail or find_jail(), {"solution": {"source": source}}, limits) as (relay, found):
        return _loaded(relay, found["solution"]) or ProgramResult("passed", "", _text(found["solution"]))


def check_program(
    source: str, tests: FunctionTests, limits: Limits | None = None, *, jail: Jail | None = None
) -> ProgramResult:
    """
    Run a program, and tests of its function in another jail.

    Args:
        source: the program; its `__name__` is "program".
        tests: what calls its function. Arguments are plain values (`to_json` lists the kinds). Changes that it makes to
            them are made to the tests' own. Results are rebuilt from such values, and exceptions by the name
            of the built-in class. An iterator is read to its end, or to its 10,000th item, before it is returned.
        limits: bounds on time, memory and output; the defaults where None.
        jail: the one to use; the best that works here where None.

    Raises:
        ConfigError: the system refuses any part of this; the program was not run.
    """
    limits = limits or Limits()
    mark = secrets.token_hex(16)
    jobs = {
        "solution": {"source": source},
        "checker": {"given": tests.given, "tests": tests.source, "function": tests.function, "mark": mark},
    }
    with _jailed(jail or find_jail(), jobs, limits) as (relay, found):
        solution, checker = found["solution"], found["checker"]
        try:
            return _loaded(relay, solution) or _judged(relay, solution, checker, mark)
        except LimitReached as reached:
            return ProgramResult(reached.limit, reached.detail, _text(solution))


def find_jail() -> Jail:
    """Return bubblewrap where it works, else the jail of this package. Raises ConfigError where neither does."""
    if sys.platform != "linux":
        raise ConfigError(
            f"generated code runs in a sandbox of Linux namespaces, and this is {sys.platform}; leave that benchmark "
            "out, or run it on a Linux machine (the answers in the folder can be copied there)"
        )
    return _best()


@cache
def _best() -> Jail:
    """Try the jails, once a process: what a kernel allows does not change under it."""
    bubblewrap = find_bubblewrap()
    if bubblewrap is not None and not refusal(bubblewrap):
        return bubblewrap
    own = OwnJail()
    if reason := refusal(own):
        raise ConfigError(reason)
    return own


_TRIAL = """
import os, socket
if not os.statvfs(".").f_flag & os.ST_RDONLY:
    raise SystemExit("a program can write files")
for what, work in {
    "make a socket": socket.socket,
    "start a process": os.fork,
    "see the processes": lambda: os.listdir("/proc"),
    "become another user": lambda: os.setuid(0),
}.items():
    try:
        work()
    except OSError:
        continue
    raise SystemExit(f"a program can {what}")
"""
"""Comes to its end where each of these is refused."""


def refusal(jail: Jail) -> str:
    """Run a trial program in a jail, and return why that does not work here; empty where it does."""
    try:
        found = run_python(_TRIAL, Limits(seconds=60), jail=jail)
    except ConfigError as error:
        return str(error)
    return "" if found.ending == "passed" else _refused(f"a trial program: {found.ending}, {found.detail}")


@contextmanager
def _jailed(
    jail: Jail, jobs: Mapping[str, Mapping[str, Any]], limits: Limits
) -> Iterator[tuple[Relay, dict[str, Side]]]:
    """Start a module of `inside` for each job and give it the job, once all of them are shut in."""
    deadline = time.monotonic() + limits.seconds
    seen = view()
    with sides({module: jail.start(command(module), seen) for module in jobs}) as found:
        relay = Relay(
            sides=list(found.values()),
            deadline=deadline,
            most_printed=limits.output_bytes,
            most_said=limits.answer_bytes,
        )
        for module, job in jobs.items():
            relay.send(found[module], dump({"limits": _rlimits(limits), **job}))
        yield relay, found


def _rlimits(limits: Limits) -> dict[str, int]:
    return {
        "CPU": limits.cpu_seconds,
        "AS": limits.memory_bytes,
        "FSIZE": 0,
        "NPROC": 1,
        "NOFILE": limits.open_files,
        "CORE": 0,
        "MEMLOCK": 0,
        "MSGQUEUE": 0,
        "SIGPENDING": 64,
    }


def _loaded(relay: Relay, solution: Side) -> ProgramResult | None:
    """Wait until the program has come to its end; return its result where it does not."""
    try:
        for side in relay.sides:
            if relay.line(side) != HELLO.rstrip():
                relay.end(side)
                raise ConfigError(_refused(_last(_text(side)) or "it ended without a word"))
        if relay.line(solution) is None:
            return _left(relay, solution)
    except LimitReached as reached:
        return ProgramResult(reached.limit, reached.detail, _text(solution))
    return None


def _judged(relay: Relay, solution: Side, checker: Side, mark: str) -> ProgramResult:
    """Carry calls to the program and its answers back, until there is a verdict."""
    while (line := relay.line(checker) or b"").startswith(CALL):
        relay.send(solution, line.removeprefix(CALL) + b"\n")
        answer = relay.line(solution)
        if answer is None:
            return _left(relay, solution)
        relay.send(checker, answer + b"\n")
    if not line.startswith(VERDICT):
        left = _left(relay, checker)
        return ProgramResult("failed", f"its tests ended early: {left.detail}", _text(solution))
    verdict = load(line.removeprefix(VERDICT))
    if verdict["mark"] == mark and verdict["passed"] is True:
        return ProgramResult("passed", "", _text(solution))
    return ProgramResult("failed", str(verdict["why"]), _text(solution))


def _left(relay: Relay, side: Side) -> ProgramResult:
    """Return the result of a program that ended before it should."""
    code = relay.end(side)
    text = _text(side)
    if code == 0:
        return ProgramResult("failed", "it left before its last line", text)
    known = {128 + signal.SIGXCPU: "out of CPU time", 128 + signal.SIGKILL: "out of CPU time or killed"}
    ended_by = {128 + number: f"ended by {number.name}" for number in signal.Signals}
    return ProgramResult("failed", known.get(code) or ended_by.get(code) or _last(text) or f"exit code {code}", text)


def _text(side: Side) -> str:
    return side.printed.decode(errors="replace")


def _last(text: str) -> str:
    return text.strip().rpartition("\n")[2]


def _refused(reason: str) -> str:
    return (
        f"generated code is not run, because this system refuses the sandbox ({reason}). It takes bubblewrap (apt-get "
        "install bubblewrap) or Linux 5.12 or later, with user namespaces for ordinary users: in a container allow "
        "unshare, mount and pivot_root (Docker: --security-opt seccomp=unconfined --security-opt apparmor=unconfined), "
        "on Ubuntu set kernel.apparmor_restrict_unprivileged_userns=0. Or leave that benchmark out"
    )

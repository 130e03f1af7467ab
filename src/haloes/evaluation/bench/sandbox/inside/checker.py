"""
The tests of a program, in a jail of their own: they call the program's function, which runs in another one.

Only plain values come from there, and only this process knows the mark that a verdict must carry.
"""

from collections.abc import Callable
from contextlib import suppress
from typing import Any

from haloes.evaluation.bench.sandbox.inside.talk import Talk
from haloes.evaluation.bench.sandbox.inside.values import (
    NotPlain,
    dump,
    from_json,
    load,
    put_back,
    raised_from_json,
    to_json,
)

CALL, VERDICT = b"?", b"!"
"""Beginnings of the lines that the tests write: a call for the program, and the verdict, which ends them."""


class NoAnswer(BaseException):
    """There is no answer that could be compared. No Exception, so that tests which catch those do not hide it."""


class Caller:
    """Calls the program's function, and remembers whether an answer failed to come."""

    def __init__(self, talk: Talk, function: str) -> None:
        """Call `function` by this `talk`."""
        self._talk = talk
        self._function = function
        self.calls = 0
        self.fault = ""

    def call(self, arguments: list[Any], named: dict[str, Any]) -> Any:
        """Return what the function returns, raise what it raises, and change the arguments as it changed them."""
        self.calls += 1
        try:
            return self._answer(arguments, named)
        except NotPlain as error:
            self.fault = f"it answered with {error}"
        raise NoAnswer(self.fault)

    def _answer(self, arguments: list[Any], named: dict[str, Any]) -> Any:
        try:
            sent = {"arguments": to_json(arguments, exact=True), "named": to_json(named, exact=True)}
        except NotPlain as error:
            self.fault = f"its tests pass {error}, which cannot be sent to it"
            raise NoAnswer(self.fault) from error
        self._talk.say(CALL + dump({"function": self._function, **sent}))
        said = load(self._talk.read())
        if isinstance(fault := said.get("fault"), str):
            self.fault = fault[:500] or "it gave no answer"
            raise NoAnswer(self.fault)
        for key, passed in (("arguments", arguments), ("named", named)):
            if key in said:
                put_back(passed, from_json(said[key]))
        if "raised" in said:
            raise raised_from_json(said["raised"])
        if "value" not in said:
            raise NotPlain("a message without a value")
        return from_json(said["value"])


def main() -> None:
    """Run the tests with a function that asks the program, and tell how they ended, with the mark."""
    talk = Talk()
    job = talk.begin()
    caller = Caller(talk, job["function"])
    why = ""
    try:
        _run(job, _function(caller, job["function"]))
    except BaseException as error:  # noqa: BLE001 - also SystemExit: tests that leave early have not passed
        why = f"{type(error).__name__}: {error}".removesuffix(": ")[:500]
    # An answer that failed to come fails the program, whatever the tests made of it.
    why = caller.fault or why or ("" if caller.calls else "its tests did not call it")
    talk.say(VERDICT + dump({"mark": job["mark"], "passed": not why, "why": why}))


def _run(job: dict[str, Any], function: Callable[..., Any]) -> None:
    """Run the tests among the names of the benchmark's own text, some of which they use."""
    namespace: dict[str, Any] = {"__name__": "tests"}
    with suppress(SyntaxError):
        exec(compile(job["given"], "given.py", "exec"), namespace)  # noqa: S102 - in a jail
    namespace[job["function"]] = function
    exec(compile(job["tests"], "tests.py", "exec"), namespace)  # noqa: S102 - in a jail


def _function(caller: Caller, name: str) -> Callable[..., Any]:
    def candidate(*arguments: Any, **named: Any) -> Any:
        return caller.call(list(arguments), named)

    candidate.__name__ = name
    return candidate

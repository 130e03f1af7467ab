"""
The jail's side of a program that a model wrote: it runs it, and then calls its function as often as it is asked to.

Nothing in this process is secret: it knows neither the tests nor what their outcome is told by. The program may
change all of this, and can only answer.
"""

from collections.abc import Callable
from typing import Any

from haloes.evaluation.bench.sandbox.inside.talk import Talk
from haloes.evaluation.bench.sandbox.inside.values import (
    NotPlain,
    from_json,
    load,
    raised_to_json,
    to_json,
)


def main() -> None:
    """Run the program, say that it came to its end, and answer calls until there are no more."""
    talk = Talk()
    job = talk.begin()
    namespace: dict[str, Any] = {"__name__": "program"}
    exec(compile(job["source"], "program.py", "exec"), namespace)  # noqa: S102 - what the jail is for
    talk.tell({"ready": True})
    while line := talk.read():
        talk.tell(_answer(namespace, load(line)))


def _answer(namespace: dict[str, Any], call: dict[str, Any]) -> dict[str, Any]:
    """Return what a call gives, or raises, and its arguments where the function changed them."""
    if call["function"] not in namespace:
        return {"fault": f"it does not define {call['function']}"}
    arguments, named = from_json(call["arguments"]), from_json(call["named"])
    try:
        said = _outcome(lambda: namespace[call["function"]](*arguments, **named))
        if said.get("fault") is None:
            after = {"arguments": to_json(arguments, exact=False), "named": to_json(named, exact=False)}
            said |= {key: value for key, value in after.items() if value != call[key]}
    except NotPlain as error:
        return {"fault": f"an argument became {error}"}
    return said


def _outcome(call: Callable[[], Any]) -> dict[str, Any]:
    try:
        return {"value": to_json(call(), exact=False)}
    except NotPlain as error:
        return {"fault": f"it returned {error}"}
    except Exception as error:  # noqa: BLE001 - whatever the program raises is its answer
        return {"raised": raised_to_json(error)}
    except BaseException as error:  # noqa: BLE001 - such as SystemExit: no answer to a test
        return {"fault": f"it left with {type(error).__name__}"}

"""A judge that is a Python function."""

import inspect
from collections.abc import Callable, Generator, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, TypeAlias, get_args

from haloes.errors import ConfigError
from haloes.judging._contract import Identity, JudgeReply, NoReply, OrderedPair, number_verdict
from haloes.judging.functions import fingerprint, load_function, name_of, source_hash
from haloes.records import Text, Verdict

Rule: TypeAlias = Callable[[Text, str, str], Any]
"""(prompt, first answer, second answer) to "first", "second", "tie", None (it cannot say), or a number in [0, 1] for
the first; or one of these with a reason, as a tuple."""

_MOST_SHOWN = 500


@dataclass(frozen=True, slots=True, kw_only=True)
class RuleJudge:
    """Asks a function, which is named, which of two answers is better."""

    __pydantic_config__: ClassVar[dict[str, Any]] = {"extra": "forbid"}
    FREE_SETTINGS: ClassVar[frozenset[str]] = frozenset()
    """Settings that do not decide verdicts: a run that watches by this judge may change them when it is resumed."""

    rule: str
    """`package.module:function` or `path/to/file.py:function`. It is called with (prompt, first, second) and returns
    "first", "second", "tie", None where it cannot say, or a number in [0, 1] for the first; also (that, reason)."""

    @property
    def identity(self) -> Identity:
        """Return the function's name and a hash of its source. Raises ConfigError where there is no such function."""
        return Identity(self.rule, settings={"source": source_hash(load_function(self.rule))})

    def compare(self, comparisons: Sequence[OrderedPair]) -> Generator[tuple[int, JudgeReply | NoReply], None, None]:
        """
        Ask for one after the other.

        Where the function fails or returns something else it is unscored, with its reason: one odd answer ends nothing.
        Raises ConfigError where it cannot be called with (prompt, first, second).
        """
        rule = load_function(self.rule)
        _check_signature(rule, self.rule)
        for place, comparison in enumerate(comparisons):
            yield place, _ask(rule, self.rule, comparison)


@dataclass(frozen=True, slots=True)
class FunctionJudge:
    """Asks a function, which is given as it is, which of two answers is better."""

    rule: Rule

    @property
    def identity(self) -> Identity:
        """Return the function's name, and a hash of its code and of what it closes over."""
        return Identity(name_of(self.rule), settings={"source": fingerprint(self.rule)})

    def compare(self, comparisons: Sequence[OrderedPair]) -> Generator[tuple[int, JudgeReply | NoReply], None, None]:
        """Ask for one after the other, as `RuleJudge` does. Raises ConfigError where it cannot be called."""
        _check_signature(self.rule, name_of(self.rule))
        for place, comparison in enumerate(comparisons):
            yield place, _ask(self.rule, name_of(self.rule), comparison)


def _check_signature(rule: Rule, name: str) -> None:
    try:
        signature = inspect.signature(rule)
    except (ValueError, TypeError):  # not written in Python
        return
    try:
        signature.bind("prompt", "first", "second")
    except TypeError as error:
        raise ConfigError(
            f"judge.rule: {name} takes {signature}, and is called with (prompt, first, second): {error}"
        ) from error


def _ask(rule: Rule, name: str, comparison: OrderedPair) -> JudgeReply:
    try:
        said = rule(comparison.prompt, comparison.first, comparison.second)
    # Whatever it does to one question, the others are asked; sys.exit would end haloes with a code of its own.
    except (Exception, SystemExit) as error:  # noqa: BLE001 - a user's function
        why = f"{name} failed ({type(error).__name__}: {shown(error, str)})"
        return JudgeReply(verdict=None, is_fault=True, reason=why)
    value, reason = said if isinstance(said, tuple) and len(said) == 2 else (said, "")  # noqa: PLR2004 - a pair
    reply = shown(value)
    why = (shown(reason, str) if reason is not None else "") or f"the rule says {reply}"
    if value is None:
        return JudgeReply(verdict=None, reply=reply, reason=why)
    if isinstance(value, str) and value in get_args(Verdict):
        verdict: Any = value
        return JudgeReply(verdict=verdict, reply=reply, reason=why)
    number = _share(value)
    if number is None:
        expected = '"first", "second", "tie", None, or a number from 0 to 1 for the first answer'
        why = f"{name} gave back {reply}; expected {expected}"
        return JudgeReply(verdict=None, is_fault=True, reply=reply, reason=why)
    return JudgeReply(verdict=number_verdict(number), preference=number, reply=reply, reason=why)


def shown(value: object, write: Callable[[Any], str] = repr) -> str:
    """Write out what a user's function gave back, not at length; its type where even that fails."""
    try:
        text = write(value)
    except Exception:  # noqa: BLE001 - whatever its own __repr__ does, or an integer of too many digits
        return f"a value of the type {type(value).__name__}"
    return text if len(text) <= _MOST_SHOWN else f"{text[: _MOST_SHOWN - 1]}…"


def _share(value: object) -> float | None:
    # True is 1.0 to Python, and a rule that returns it means something else than a certain first answer.
    if isinstance(value, bool):
        return None
    try:
        number = float(value)  # type: ignore[arg-type]
    except Exception:  # noqa: BLE001 - no number, one out of range, or whatever its own __float__ does
        return None
    return number if 0 <= number <= 1 else None

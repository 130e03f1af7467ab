"""A judge that is a Python function."""

import hashlib
import importlib
import importlib.util
import inspect
from collections.abc import Callable, Generator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, TypeAlias, get_args

from haloes.errors import ConfigError
from haloes.judging._contract import Identity, JudgeReply, NoReply, OrderedPair, number_verdict
from haloes.records import Text, Verdict

Rule: TypeAlias = Callable[[Text, str, str], Any]
"""(prompt, first answer, second answer) to "first", "second", "tie", None (it cannot say), or a number in [0, 1] for
the first; or one of these with a reason, as a tuple."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RuleJudge:
    """Asks a function which of two answers is better."""

    __pydantic_config__: ClassVar[dict[str, Any]] = {"extra": "forbid"}
    FREE_SETTINGS: ClassVar[frozenset[str]] = frozenset()
    """Settings that do not decide verdicts: a run that watches by this judge may change them when it is resumed."""

    rule: str
    """`package.module:function` or `path/to/file.py:function`. It is called with (prompt, first, second) and returns
    "first", "second", "tie", None where it cannot say, or a number in [0, 1] for the first; also (that, reason)."""

    @property
    def identity(self) -> Identity:
        """Return the function's name and a hash of its source. Raises ConfigError where there is no such function."""
        function = load_function(self.rule)
        try:
            source = Path(inspect.getsourcefile(function) or "").read_bytes()
        except (OSError, TypeError):  # not written in Python, or not a plain function
            source = b""
        return Identity(self.rule, settings={"source": hashlib.sha256(source).hexdigest()[:16]})

    def compare(self, comparisons: Sequence[OrderedPair]) -> Generator[tuple[int, JudgeReply | NoReply], None, None]:
        """Ask for one after the other. Raises ConfigError where the function fails or returns something else."""
        rule = load_function(self.rule)
        for place, comparison in enumerate(comparisons):
            yield place, self._ask(rule, comparison)

    def _ask(self, rule: Rule, comparison: OrderedPair) -> JudgeReply:
        try:
            said = rule(comparison.prompt, comparison.first, comparison.second)
        except Exception as error:
            raise ConfigError(
                f"judge.rule: {self.rule} failed on the answers to prompt {comparison.prompt_id} "
                f"({type(error).__name__}: {error}); it is called with (prompt, first, second)"
            ) from error
        value, reason = said if isinstance(said, tuple) and len(said) == 2 else (said, "")  # noqa: PLR2004 - a pair
        reply, why = repr(value), str(reason) or f"the rule says {value!r}"
        if value is None:
            return JudgeReply(verdict=None, reply=reply, reason=why)
        if isinstance(value, str) and value in get_args(Verdict):
            verdict: Any = value
            return JudgeReply(verdict=verdict, reply=reply, reason=why)
        number = _share(value)
        if number is None:
            raise ConfigError(
                f'judge.rule: {self.rule} gave back {value!r} for prompt {comparison.prompt_id}; expected "first", '
                '"second", "tie", None, or a number from 0 to 1 for the first answer'
            )
        return JudgeReply(verdict=number_verdict(number), preference=number, reply=reply, reason=why)


def load_function(name: str, *, setting: str = "judge.rule") -> Callable[..., Any]:
    """
    Load a function by `package.module:function` or `path/to/file.py:function`.

    Raises ConfigError where there is none, naming the setting that asked for it.
    """
    place, _, attribute = name.rpartition(":")
    try:
        found = getattr(_module(place), attribute)
    except Exception as error:
        raise ConfigError(
            f"{setting}: {name} cannot be loaded ({type(error).__name__}: {error}); give package.module:function or "
            "file.py:function"
        ) from error
    if not callable(found):
        raise ConfigError(f"{setting}: {name} is not a function")
    function: Callable[..., Any] = found
    return function


def _module(place: str) -> Any:
    if not place.endswith(".py"):
        return importlib.import_module(place)
    path = Path(place)
    if not path.is_file():
        raise FileNotFoundError(f"there is no file {path}")
    spec = importlib.util.spec_from_file_location(f"haloes_function_{path.stem}", path)
    if spec is None or spec.loader is None:
        raise ImportError(f"{path} is not Python")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def _share(value: object) -> float | None:
    # True is 1.0 to Python, and a rule that returns it means something else than a certain first answer.
    if isinstance(value, bool):
        return None
    try:
        number = float(value)  # type: ignore[arg-type]
    except (TypeError, ValueError):
        return None
    return number if 0 <= number <= 1 else None

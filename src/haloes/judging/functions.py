"""Functions of the user, as judges and raters: by a name that can be loaded again, or as they are."""

import hashlib
import importlib
import inspect
import sys
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from types import CodeType
from typing import Any, TypeAlias

from haloes.errors import ConfigError
from haloes.python_files import import_file

Function: TypeAlias = Callable[..., Any]


def load_function(name: str, *, setting: str = "judge.rule") -> Function:
    """
    Load a function by `package.module:function` or `path/to/file.py:function`.

    Raises ConfigError where there is none, naming the setting that asked for it.
    """
    if name.startswith("<"):
        raise ConfigError(
            f"{setting}: {name} was given from Python and cannot be loaded again; give it once more "
            f"(haloes.resume(run, rater=...)), or go on without: {setting}=null"
        )
    place, _, attribute = name.rpartition(":")
    try:
        found = getattr(_module(place), attribute)
    except (Exception, SystemExit) as error:
        raise ConfigError(
            f"{setting}: {name} cannot be loaded ({type(error).__name__}: {error}); give package.module:function or "
            "file.py:function"
        ) from error
    if not callable(found):
        raise ConfigError(f"{setting}: {name} is not a function")
    function: Function = found
    return function


def name_of(function: Function) -> str:
    """
    Return the name by which a function is recorded.

    It is `package.module:function` where `load_function` finds the same again: not for what was typed at a prompt,
    defined in the script that runs or inside a function, or has no name. Those are "<lambda of __main__>" and the like.
    """
    inner = function.func if isinstance(function, partial) else function
    name = getattr(inner, "__qualname__", type(inner).__qualname__)
    module = getattr(inner, "__module__", type(inner).__module__)
    if module != "__main__" and getattr(sys.modules.get(module), name, None) is function:
        return f"{module}:{name}"
    return f"<{name.replace('<locals>.', '').replace('<lambda>', 'lambda')} of {module}>"


def fingerprint(function: Function) -> str:
    """
    Return a hash of what a function does, as far as it can be seen: its code, its defaults and what it closes over.

    Not of the functions that it calls; and of a value that is neither number, text nor a collection of them the type.
    """
    return hashlib.sha256("\n".join(_parts(function)).encode("utf-8", "surrogatepass")).hexdigest()[:16]


def source_hash(function: Function) -> str:
    """Return a hash of the file that a function is written in; of nothing where there is no file of Python's."""
    try:
        source = Path(inspect.getsourcefile(function) or "").read_bytes()
    except (OSError, TypeError):  # not written in Python, or not a plain function: its name must do
        source = b""
    return hashlib.sha256(source).hexdigest()[:16]


def _parts(function: Any) -> Iterator[str]:
    if isinstance(function, partial):
        yield from _parts(function.func)
        yield from (_value(item) for item in (*function.args, *sorted(function.keywords.items())))
        return
    plain = inspect.unwrap(getattr(function, "__func__", function))
    if not hasattr(plain, "__code__"):  # an object that can be called, or nothing of Python's
        yield type(plain).__qualname__
        plain = getattr(type(plain).__call__, "__func__", type(plain).__call__)
        if not hasattr(plain, "__code__"):
            return
    yield from _code(plain.__code__)
    yield from (_value(item) for item in (plain.__defaults__ or ()))
    yield from (_value(cell.cell_contents) for cell in (plain.__closure__ or ()))


def _code(code: CodeType) -> Iterator[str]:
    yield code.co_code.hex()
    yield " ".join(code.co_names)
    for constant in code.co_consts:
        if isinstance(constant, CodeType):
            yield from _code(constant)
        else:
            yield _value(constant)


def _value(value: object) -> str:
    if value is None or isinstance(value, bool | int | float | str | bytes):
        return repr(value)
    if isinstance(value, list | tuple):
        return f"[{', '.join(map(_value, value))}]"
    if isinstance(value, set | frozenset):
        return f"{{{', '.join(sorted(map(_value, value)))}}}"
    if isinstance(value, dict):
        return f"{{{', '.join(f'{_value(key)}: {_value(item)}' for key, item in value.items())}}}"
    return type(value).__qualname__


def _module(place: str) -> Any:
    if not place.endswith(".py"):
        return importlib.import_module(place)
    path = Path(place)
    return import_file(path, f"haloes_function_{path.stem}")

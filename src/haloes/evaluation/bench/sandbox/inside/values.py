"""
Plain values as text, between a program that nobody trusts and the tests that judge it.

The text is JSON. None, truth values, texts and small integers stand for themselves, and all else is a list that begins
with its kind: `["tuple", [1, "a"]]`. What arrives is built anew from these kinds, so that no object of the program,
with comparisons of its own, reaches a test; and reading runs no code, as unpickling would.
"""

import json
import math
from collections.abc import Callable, Iterator
from types import MappingProxyType
from typing import Any

MOST_PARTS = 1_000_000
"""Values within one value that are sent at most."""
FIRST_ITEMS = 10_000
"""Items of an iterator that are sent; a test that asks for more has no answer."""
_LARGEST = 1 << 53
_BASES = (int, float, complex, str, bytes, bytearray, list, tuple, dict, set, frozenset)
_NONE: dict[Any, Any] = {}
_KEYS, _VALUES, _ITEMS = type(_NONE.keys()), type(_NONE.values()), type(_NONE.items())


class NotPlain(Exception):  # noqa: N818 - says what the value is, not what went wrong
    """A value, or a text for one, that cannot be sent."""


def to_json(value: Any, *, exact: bool) -> Any:
    """
    Return a value as what `json.dumps` writes.

    Args:
        value: made of None, bool, int, float, complex, str, bytes, bytearray, list, tuple, dict (keys of any of these
            kinds), set, frozenset, range, views of dicts, and iterators, of which the first 10,000 items are taken.
        exact: refuse instances of subclasses; otherwise they are sent as what they derive from (a Counter as a dict).

    Raises:
        NotPlain: there is something else in it, or more than a million values, or a value that contains itself.
    """
    writer = _Writer(exact)
    try:
        return writer.write(value)
    except RecursionError as error:
        raise NotPlain("a value that is nested too deeply, or contains itself") from error


def from_json(found: Any) -> Any:
    """Return the value that `to_json` wrote. Raises NotPlain where it cannot have."""
    try:
        return _read(found)
    except (ValueError, TypeError, KeyError, IndexError, OverflowError, RecursionError) as error:
        raise NotPlain(f"what is not the text of a value ({type(error).__name__})") from error


def dump(fields: dict[str, Any]) -> bytes:
    """Return a message as one line."""
    return json.dumps(fields).encode() + b"\n"


def load(line: bytes) -> dict[str, Any]:
    """Return the fields of a message. Raises NotPlain where it is none."""
    try:
        fields = json.loads(line)
    except (ValueError, RecursionError) as error:
        raise NotPlain("what is not JSON") from error
    if not isinstance(fields, dict):
        raise NotPlain("a message without fields")
    return fields


def put_back(old: Any, new: Any) -> Any:
    """Change `old`, where it can be changed in place, into `new`, part by part, and return which of the two to keep."""
    if type(old) is not type(new):
        return new
    if isinstance(old, list):
        old[:] = [put_back(a, b) for a, b in zip(old, new, strict=False)] + new[len(old) :]
    elif isinstance(old, dict):
        parts = {key: put_back(old[key], part) if key in old else part for key, part in new.items()}
        old.clear()
        old.update(parts)
    elif isinstance(old, set):
        old.clear()
        old.update(new)
    elif isinstance(old, bytearray):
        old[:] = new
    elif isinstance(old, tuple) and len(old) == len(new):
        parts_of = tuple(put_back(a, b) for a, b in zip(old, new, strict=True))
        return old if all(a is b for a, b in zip(old, parts_of, strict=True)) else parts_of
    else:
        return new
    return old


class _Writer:
    """Writes one value, and counts its parts."""

    def __init__(self, exact: bool) -> None:
        self.exact = exact
        self.left = MOST_PARTS

    def write(self, value: Any) -> Any:
        self.left -= 1
        if self.left < 0:
            raise NotPlain(f"a value of more than {MOST_PARTS:,} parts")
        kind = type(value)
        if value is None or kind in {bool, str}:
            return value
        write = self._writers().get(kind)
        if write is not None:
            return write(value)
        if kind is range:
            return ["range", self.write(value.start), self.write(value.stop), self.write(value.step)]
        base = next((base for base in _BASES if issubclass(kind, base)), None)
        if base is not None and not self.exact:
            # By the base's own ways: the subclass may have changed them.
            return self.write(str.__str__(value) if base is str else base(value))
        if isinstance(value, Iterator):
            return self._iterator(value)
        raise NotPlain(f"a value of the type {kind.__name__}")

    def _writers(self) -> dict[type, Callable[[Any], Any]]:
        return {
            int: lambda value: value if -_LARGEST < value < _LARGEST else ["int", hex(value)],
            float: lambda value: ["float", value.hex()],
            complex: lambda value: ["complex", value.real.hex(), value.imag.hex()],
            bytes: lambda value: ["bytes", value.hex()],
            bytearray: lambda value: ["bytearray", value.hex()],
            list: lambda value: ["list", self._all(value)],
            tuple: lambda value: ["tuple", self._all(value)],
            set: lambda value: ["set", self._all(value)],
            frozenset: lambda value: ["frozenset", self._all(value)],
            dict: lambda value: ["dict", self._pairs(value)],
            _KEYS: lambda value: ["keys", self._all(value)],
            _VALUES: lambda value: ["values", self._all(value)],
            _ITEMS: lambda value: ["items", self._pairs(dict(value))],
        }

    def _all(self, values: Any) -> list[Any]:
        return [self.write(value) for value in values]

    def _pairs(self, values: dict[Any, Any]) -> list[Any]:
        return [[self.write(key), self.write(value)] for key, value in values.items()]

    def _iterator(self, values: Iterator[Any]) -> list[Any]:
        items: list[Any] = []
        while len(items) < FIRST_ITEMS:
            try:
                item = next(values)
            except StopIteration:
                return ["iterator", items, None]
            except Exception as error:  # noqa: BLE001 - the generator is part of the program
                return ["iterator", items, raised_to_json(error)]
            items.append(self.write(item))
        return ["iterator", items, "more"]


def raised_to_json(error: BaseException) -> dict[str, Any]:
    """Return an exception as the names of its class and of those that it derives from, and what it was given."""
    try:
        given = to_json(list(error.args), exact=False)
    except Exception:  # noqa: BLE001 - its arguments may be anything, and fail in any way
        given = ["list", []]
    return {"classes": [kind.__name__ for kind in type(error).__mro__], "given": given}


def raised_from_json(found: Any) -> Exception:
    """
    Return the exception: of the first of the names that is a built-in exception's.

    StopIteration becomes a RuntimeError, as in a generator: raised in `all(map(candidate, cases))` it would end the
    cases, and a test would pass that compared nothing.
    """
    import builtins

    fields = found if isinstance(found, dict) else {}
    given, classes = from_json(fields.get("given")), fields.get("classes")
    for name in classes if isinstance(classes, list) else []:
        kind = getattr(builtins, name, None) if isinstance(name, str) else None
        if not isinstance(kind, type) or not issubclass(kind, Exception):
            continue
        if issubclass(kind, StopIteration | StopAsyncIteration):
            return RuntimeError(f"the program raised {name}")
        try:
            return kind(*given)
        except Exception:  # noqa: BLE001, S112 - some take arguments of their own kinds: then what they derive from
            continue
    return RuntimeError("the program raised what is no exception")


def _read(found: Any) -> Any:
    if found is None or isinstance(found, bool | str | int):
        return found
    return _READERS[found[0]](*found[1:])


def _real(text: str) -> float:
    value = float.fromhex(text)
    return math.nan if math.isnan(value) else value  # the one that tests compare with by identity


def _pairs(pairs: list[Any]) -> dict[Any, Any]:
    return {_read(key): _read(value) for key, value in pairs}


def _items(items: list[Any], end: Any) -> Iterator[Any]:
    """Yield the items, and end as the program's iterator did."""
    yield from items
    if end == "more":
        raise NotPlain(f"an iterator of more than {FIRST_ITEMS:,} items")
    if end is not None:
        raise raised_from_json(end)


_READERS: MappingProxyType[str, Callable[..., Any]] = MappingProxyType(
    {
        "int": lambda text: int(text, 16),
        "float": _real,
        "complex": lambda real, imaginary: complex(_real(real), _real(imaginary)),
        "bytes": bytes.fromhex,
        "bytearray": bytearray.fromhex,
        "list": lambda parts: [_read(part) for part in parts],
        "tuple": lambda parts: tuple(_read(part) for part in parts),
        "set": lambda parts: {_read(part) for part in parts},
        "frozenset": lambda parts: frozenset(_read(part) for part in parts),
        "dict": _pairs,
        "keys": lambda parts: dict.fromkeys(_read(part) for part in parts).keys(),
        "values": lambda parts: dict(enumerate(_read(part) for part in parts)).values(),
        "items": lambda pairs: _pairs(pairs).items(),
        "range": lambda *ends: range(*(_read(end) for end in ends)),
        "iterator": lambda parts, end: _items([_read(part) for part in parts], end),
    }
)

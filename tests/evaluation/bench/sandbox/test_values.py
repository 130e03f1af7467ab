"""Values as text: what is plain arrives as it was, and nothing else arrives at all."""

import collections
import enum
import json
import math
from typing import Any, NamedTuple

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from haloes.evaluation.bench.sandbox.inside.values import (
    FIRST_ITEMS,
    NotPlain,
    dump,
    from_json,
    load,
    put_back,
    raised_from_json,
    raised_to_json,
    to_json,
)

keys = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False)
    | st.text()
    | st.binary()
    | st.complex_numbers(allow_nan=False),
    lambda inner: st.lists(inner, max_size=3).map(tuple) | st.frozensets(inner, max_size=3),
    max_leaves=5,
)
plain = st.recursive(
    keys | st.binary().map(bytearray) | st.builds(range, st.integers(), st.integers(), st.integers(1, 9)),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.lists(inner, max_size=3).map(tuple)
        | st.dictionaries(keys, inner, max_size=4)
        | st.sets(keys, max_size=4)
    ),
    max_leaves=12,
)


def sent(value: Any, *, exact: bool = False) -> Any:
    """Return the value as it arrives."""
    return from_json(load(dump({"value": to_json(value, exact=exact)}))["value"])


def same(a: Any, b: Any) -> bool:
    """Equal, and of the same kinds all the way down: True is not 1 here, nor 0.0 -0.0. Sets have no order."""
    if type(a) is not type(b):
        return False
    if isinstance(a, list | tuple):
        return len(a) == len(b) and all(map(same, a, b))
    if isinstance(a, dict):
        return a == b and all(same(a[key], b[key]) for key in a)
    return a == b and (isinstance(a, set | frozenset) or repr(a) == repr(b))


@given(plain)
@settings(deadline=None)
def test_a_plain_value_arrives_as_it_was(value: Any):
    assert same(sent(value, exact=True), value)


@pytest.mark.parametrize(
    "value", [math.inf, -math.inf, -0.0, 1 << 20_000, -(1 << 53), "\ud800\0", {1: 1, "1": 2, (1,): 3}], ids=type
)
def test_what_json_cannot_hold_arrives(value: Any):
    assert sent(value) == value
    assert type(sent(value)) is type(value)


def test_nan_arrives_as_the_one_of_math():
    assert sent([float("nan")]) == [math.nan]


def test_views_and_iterators_arrive_as_such():
    assert sent({"a": 1}.keys()) == {"a": 1}.keys()
    assert list(sent({"a": 1}.values())) == [1]
    assert sent({"a": 1}.items()) == {("a", 1)}
    arrived = sent(iter([1, 2]))
    assert arrived != [1, 2]
    assert list(arrived) == [1, 2]
    assert sent(zip([1], "a", strict=True)).__next__() == (1, "a")


def test_an_endless_iterator_can_be_asked_for_its_first_items():
    def count() -> Any:
        i = 0
        while True:
            yield i
            i += 1

    arrived = sent(count())
    assert [next(arrived) for _ in range(FIRST_ITEMS)] == list(range(FIRST_ITEMS))
    with pytest.raises(NotPlain, match="an iterator of more than 10,000 items"):
        next(arrived)


def test_an_iterator_ends_with_the_exception_that_it_ended_with():
    def broken() -> Any:
        yield 1
        raise KeyError("no")

    arrived = sent(broken())
    assert next(arrived) == 1
    with pytest.raises(KeyError, match="no"):
        next(arrived)


class Liar(int):
    def __eq__(self, other: object) -> bool:
        return True

    __hash__ = int.__hash__


class Colour(enum.IntEnum):
    RED = 1


class Point(NamedTuple):
    x: int
    y: int


@pytest.mark.parametrize(
    ("value", "arrived"),
    [
        (Liar(5), 5),
        (Colour.RED, 1),
        (Point(1, 2), (1, 2)),
        (collections.Counter("aab"), {"a": 2, "b": 1}),
        (collections.defaultdict(list, {1: [2]}), {1: [2]}),
        (type("Text", (str,), {"__str__": lambda _: "lie"})("true"), "true"),
    ],
)
def test_instances_of_subclasses_arrive_as_what_they_derive_from_and_tests_may_not_send_them(value: Any, arrived: Any):
    assert same(sent(value), arrived)
    with pytest.raises(NotPlain, match=f"of the type {type(value).__name__}"):
        sent(value, exact=True)


@pytest.mark.parametrize(
    "value", [object(), print, int, lambda: 1, NotImplemented, ..., memoryview(b"x"), [[{1: object}]]]
)
def test_other_types_are_refused_by_name(value: Any):
    with pytest.raises(NotPlain, match="a value of the type "):
        sent(value)


def test_a_value_that_contains_itself_or_grows_without_end_is_refused():
    ring: list[Any] = []
    ring.append(ring)
    with pytest.raises(NotPlain, match="nested too deeply, or contains itself"):
        sent(ring)
    doubled: list[Any] = []
    for _ in range(40):
        doubled = [doubled, doubled]
    with pytest.raises(NotPlain, match="more than 1,000,000 parts"):
        sent(doubled)


# Anything at all may come from a program that writes to the pipe itself.
forged = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text() | st.sampled_from(["list", "set", "int"]),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=3)
    | st.tuples(st.sampled_from(["list", "tuple", "set", "dict", "int", "float", "range", "iterator", "items"]), inner)
    .map(list),
    max_leaves=12,
)  # fmt: skip
KINDS = {type(None), bool, int, float, complex, str, bytes, bytearray, list, tuple, dict, set, frozenset, range}
OTHERS = {type({}.keys()), type({}.values()), type({}.items()), type(iter(x for x in ""))}


@given(forged)
@settings(deadline=None)
def test_whatever_is_sent_only_plain_values_arrive(found: Any):
    try:
        value = from_json(json.loads(json.dumps(found)))
    except NotPlain:
        return
    assert type(value) in KINDS | OTHERS


@given(st.binary() | st.text().map(str.encode))
@settings(deadline=None)
def test_any_line_is_a_message_or_refused(line: bytes):
    try:
        assert isinstance(load(line), dict)
    except NotPlain:
        return


@pytest.mark.parametrize("line", [b"[" * 100_000, b"1" * 5000, b"\xff", b"{}x", b"[]", b"", b'{"a": NaN'])
def test_messages_that_are_none_are_refused(line: bytes):
    with pytest.raises(NotPlain):
        load(line)


class Own(ValueError):
    pass


class Left(BaseException):
    pass


@pytest.mark.parametrize(
    ("error", "arrived"),
    [
        (ValueError("a", 1), ValueError("a", 1)),
        (KeyError("k"), KeyError("k")),
        (OSError(2, "no"), FileNotFoundError(2, "no")),
        (Own("mine"), ValueError("mine")),
        (ValueError(object()), ValueError()),
        (UnicodeDecodeError("ascii", b"x", 0, 1, "why"), UnicodeDecodeError("ascii", b"x", 0, 1, "why")),
        (StopIteration(3), RuntimeError("the program raised StopIteration")),
        (StopAsyncIteration(), RuntimeError("the program raised StopAsyncIteration")),
        (Left("x"), RuntimeError("the program raised what is no exception")),
        (SystemExit(0), RuntimeError("the program raised what is no exception")),
    ],
)
def test_exceptions_arrive_by_the_name_of_their_built_in_class(error: BaseException, arrived: Exception):
    found = raised_from_json(json.loads(json.dumps(raised_to_json(error))))
    assert type(found) is type(arrived)
    assert found.args == arrived.args


@pytest.mark.parametrize("found", [None, 1, {}, {"classes": 5}, {"classes": ["exec", "int", 3]}, {"given": [1]}])
def test_a_forged_exception_is_one_all_the_same(found: Any):
    try:
        assert type(raised_from_json(found)) is RuntimeError
    except NotPlain:
        return


def test_arguments_are_changed_in_place():
    row, inner, table, some, raw = [3, 1, 2], [1], {"a": [1]}, {1}, bytearray(b"a")
    arguments = [row, (inner, 5), table, some, raw, 7]
    put_back(arguments, [[1, 2, 3, 4], ([], 5), {"a": [2], "b": 1}, {2}, bytearray(b"bc"), 8])
    assert (row, inner, table, some, raw) == ([1, 2, 3, 4], [], {"a": [2], "b": 1}, {2}, bytearray(b"bc"))
    assert put_back(row, [1]) is row
    assert put_back([1], (1,)) == (1,)

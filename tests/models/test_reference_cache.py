"""Reference log-probabilities on disk: what was put is found again, and what is damaged is not."""

import resource
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from haloes.errors import RunError
from haloes.models.reference_cache import ReferenceCache, sequence_key

A, B, C = b"a" * 16, b"b" * 16, b"c" * 16
RECORD = 24

keys = st.one_of(
    st.binary(min_size=16, max_size=16),
    # Keys that end, begin or are filled with zero bytes.
    st.integers(0, 16).flatmap(lambda n: st.binary(min_size=n, max_size=n).map(lambda start: start.ljust(16, b"\0"))),
)
values = st.floats(width=32, allow_nan=False)


def segment(folder: Path) -> Path:
    (found,) = folder.glob("*.bin")
    return found


def test_values_are_found_again_by_this_run_and_the_next(tmp_path: Path):
    cache = ReferenceCache(tmp_path / "new" / "folder")
    cache.put({A: -1.5, B: -2.25})

    for reader in (cache, ReferenceCache(tmp_path / "new" / "folder")):
        assert (reader.get(A), reader.get(B), reader.get(C)) == (-1.5, -2.25, None)
        assert len(reader) == 2


@given(st.dictionaries(keys, values, max_size=20), st.dictionaries(keys, values, max_size=20))
def test_any_keys_and_values_survive(tmp_path_factory: pytest.TempPathFactory, first: dict, second: dict):
    folder = tmp_path_factory.mktemp("cache")
    cache = ReferenceCache(folder)
    cache.put(first)
    cache.put(second)
    everything = second | first  # what is there stays as it is

    for reader in (cache, ReferenceCache(folder)):
        assert {key: reader.get(key) for key in everything} == everything
        assert len(reader) == len(everything)


def test_a_key_that_ends_in_zero_bytes_is_found_and_not_written_again(tmp_path: Path):
    key = b"k" * 15 + b"\0"
    ReferenceCache(tmp_path).put({key: -3.0})
    cache = ReferenceCache(tmp_path)

    assert cache.get(key) == -3.0
    cache.put({key: -4.0})
    assert len(list(tmp_path.glob("*.bin"))) == 1


def test_a_value_is_a_float32_before_and_after_it_was_on_disk(tmp_path: Path):
    cache = ReferenceCache(tmp_path)
    cache.put({A: 0.1})

    assert cache.get(A) == ReferenceCache(tmp_path).get(A) == float(np.float32(0.1))


def test_every_run_adds_a_segment_and_reads_all(tmp_path: Path):
    for key, value in ((A, -1.0), (B, -2.0), (C, -3.0)):
        ReferenceCache(tmp_path).put({key: value})

    cache = ReferenceCache(tmp_path)
    assert [cache.get(key) for key in (A, B, C)] == [-1.0, -2.0, -3.0]
    assert len(list(tmp_path.glob("*.bin"))) == 3


def test_two_runs_at_once_do_not_harm_each_other(tmp_path: Path):
    one, two = ReferenceCache(tmp_path), ReferenceCache(tmp_path)
    one.put({A: -1.0, B: -2.0})
    two.put({B: -2.0, C: -3.0})
    one.put({C: -3.0})

    cache = ReferenceCache(tmp_path)
    assert [cache.get(key) for key in (A, B, C)] == [-1.0, -2.0, -3.0]
    assert len(cache) == 3


def test_nothing_new_writes_nothing(tmp_path: Path):
    ReferenceCache(tmp_path).put({})

    assert list(tmp_path.iterdir()) == []


@given(cut=st.integers(0, 3 * RECORD))
def test_a_record_that_was_cut_off_is_left_out(tmp_path_factory: pytest.TempPathFactory, cut: int):
    folder = tmp_path_factory.mktemp("cache")
    ReferenceCache(folder).put({A: -1.0, B: -2.0, C: -3.0})
    path = segment(folder)
    path.write_bytes(path.read_bytes()[:cut])

    cache = ReferenceCache(folder)

    assert len(cache) == cut // RECORD
    assert [cache.get(key) for key in (A, B, C)][: cut // RECORD] == [-1.0, -2.0, -3.0][: cut // RECORD]


@given(place=st.integers(0, 3 * RECORD - 1), flip=st.integers(1, 255))
def test_a_damaged_record_is_left_out_and_no_other(tmp_path_factory: pytest.TempPathFactory, place: int, flip: int):
    folder = tmp_path_factory.mktemp("cache")
    ReferenceCache(folder).put({A: -1.0, B: -2.0, C: -3.0})
    path = segment(folder)
    data = bytearray(path.read_bytes())
    data[place] ^= flip
    path.write_bytes(bytes(data))

    cache = ReferenceCache(folder)

    expected: list[float | None] = [-1.0, -2.0, -3.0]
    expected[place // RECORD] = None
    assert [cache.get(key) for key in (A, B, C)] == expected


def test_what_was_left_out_can_be_put_again(tmp_path: Path):
    ReferenceCache(tmp_path).put({A: -1.0})
    segment(tmp_path).write_bytes(b"\xff" * RECORD)
    ReferenceCache(tmp_path).put({A: -1.0})

    assert ReferenceCache(tmp_path).get(A) == -1.0


def test_a_full_disk_is_one_line_of_what_to_do(tmp_path: Path):
    cache = ReferenceCache(tmp_path)
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (10, limits[1]))
    try:
        with pytest.raises(RunError, match=r"reference cache .* cannot be written: File too large; free some space"):
            cache.put({A: -1.0})
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)

    assert cache.get(A) is None


ids = st.lists(st.integers(0, 5), max_size=4).map(lambda values: np.array(values, np.int32))
rows = st.tuples(ids, ids, st.lists(st.booleans(), max_size=4).map(lambda values: np.array(values, np.bool_))).filter(
    lambda row: len(row[1]) == len(row[2])
)


@given(rows, rows)
def test_a_key_names_prompt_completion_and_what_is_scored(one: tuple, two: tuple):
    equal = all(np.array_equal(a, b) for a, b in zip(one, two, strict=True))

    assert (sequence_key(*one) == sequence_key(*two)) == equal
    assert len(sequence_key(*one)) == 16


def test_a_key_tells_where_the_prompt_ends():
    one, two, three = (np.array(values, np.int32) for values in ([7], [7, 8], [8]))
    nothing = np.array([], np.int32)

    assert sequence_key(one, three, three > 0) != sequence_key(two, nothing, nothing > 0)

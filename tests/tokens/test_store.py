"""Encoded rows on disk: what was written comes back, whole or not at all, and without filling the memory."""

import dataclasses
import gc
import tracemalloc
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from fakes import byte_tokenizer
from haloes.errors import DataError
from haloes.records import Message
from haloes.tokens.encode import Encoded, make_encoder
from haloes.tokens.store import TokenStore, TokenStoreWriter


@dataclass(frozen=True)
class Entry:
    """A sequence with what the store keeps about it."""

    row: Encoded
    desirable: bool = True
    group: int = 7
    weight: float = 1.0
    source: str = "f.jsonl"
    line: int = 1


def encoded(
    prompt: list[int],
    completion: list[int],
    trained: list[bool] | None = None,
    *,
    cut: tuple[bool, bool] = (False, False),
    agrees: bool = True,
) -> Encoded:
    return Encoded(
        prompt=np.array(prompt, np.int32),
        completion=np.array(completion, np.int32),
        trained=np.array(trained or [True] * len(completion), np.bool_),
        prompt_cut=cut[0],
        completion_cut=cut[1],
        agrees=agrees,
    )


OPEN_FILES = Path("/proc/self/fd")
ENTRY = Entry(encoded([1, 2, 3], [4, 0, 5], [True, False, True]))


def write(path: Path, entries: Iterable[Entry], *, paired: bool = False) -> TokenStore:
    with TokenStoreWriter(path, paired=paired) as store:
        for entry in entries:
            store.append(
                entry.row,
                desirable=entry.desirable,
                group=entry.group,
                weight=entry.weight,
                source=entry.source,
                line=entry.line,
            )
    return TokenStore(path)


def names(folder: Path) -> list[str]:
    return sorted(item.name for item in folder.iterdir())


def interrupted() -> Iterator[Entry]:
    yield ENTRY
    raise KeyboardInterrupt


def test_rows_come_back_as_they_were_written(tmp_path: Path) -> None:
    entries = [
        Entry(encoded([1, 2, 3], [4, 5]), desirable=True, group=-(2**63), weight=0.5, source="a.jsonl", line=3),
        Entry(encoded([9], [0, 0, 2**31 - 2], [False, True, False]), desirable=False, group=2**63 - 1, line=2**40),
        Entry(encoded([6, 6], [0]), source="b:c.csv", line=0),
    ]

    store = write(tmp_path / "store", entries)

    assert (len(store), store.num_examples, store.sequences_per_example, store.paired) == (3, 3, 1, False)
    for i, entry in enumerate(entries):
        row = store.read(i)
        assert row.prompt.tolist() == entry.row.prompt.tolist()
        assert row.completion.tolist() == entry.row.completion.tolist()
        assert row.trained.tolist() == entry.row.trained.tolist()
        assert (row.prompt.dtype, row.completion.dtype, row.trained.dtype) == (np.int32, np.int32, np.bool_)
    assert store.prompt_length.tolist() == [3, 1, 2]
    assert store.completion_length.tolist() == [2, 3, 1]
    assert store.trained_length.tolist() == [2, 1, 1]
    assert [store.length(i) for i in range(3)] == [5, 4, 3]
    assert store.num_tokens == 12
    assert store.desirable.tolist() == [True, False, True]
    assert store.group.tolist() == [-(2**63), 2**63 - 1, 7]
    assert store.weight.tolist() == [0.5, 1.0, 1.0]
    assert [store.name(i) for i in range(3)] == ["a.jsonl:3", f"f.jsonl:{2**40}", "b:c.csv:0"]


def test_a_store_of_nothing_is_a_store(tmp_path: Path) -> None:
    store = write(tmp_path / "store", [])

    assert (len(store), store.num_examples, store.num_tokens) == (0, 0, 0)


def test_what_was_cut_and_what_differs_is_counted(tmp_path: Path) -> None:
    rows = [
        encoded([1], [2], cut=(prompt, completion), agrees=agrees)
        for prompt, completion, agrees in [
            (True, False, True),
            (True, True, True),
            (True, False, False),
            (False, True, False),
            (False, False, True),
            (False, False, False),
        ]
    ]

    store = write(tmp_path / "store", [Entry(row) for row in rows])

    assert (store.num_prompt_cut, store.num_completion_cut, store.num_disagreeing) == (3, 2, 3)


def test_a_pair_is_two_sequences_one_after_the_other(tmp_path: Path) -> None:
    entries = [Entry(encoded([1], [i]), desirable=i % 2 == 0, group=i // 2) for i in range(6)]

    store = write(tmp_path / "store", entries, paired=True)

    assert (len(store), store.num_examples, store.sequences_per_example, store.paired) == (6, 3, 2, True)
    assert store.desirable.tolist() == [True, False] * 3


def test_half_a_pair_is_a_fault_of_the_program(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="in the middle of a pair"):
        write(tmp_path / "store", [ENTRY] * 3, paired=True)

    assert names(tmp_path) == []


@pytest.mark.parametrize("change", [
    {"row": encoded([1, 2, 4], [4, 0, 5], [True, False, True])},
    {"row": encoded([1, 2, 3], [4, 1, 5], [True, False, True])},
    {"row": encoded([1, 2, 3], [4, 0, 5])},
    {"row": encoded([1, 2, 3], [4, 0, 5], [True, True, False])},
    {"row": encoded([1, 2], [3, 4, 0, 5], [True, True, False, True])},
    {"row": encoded([1, 2, 3, 4], [0, 5], [False, True])},
    {"desirable": False},
    {"group": 8},
    {"weight": 2.0},
], ids=str)  # fmt: skip
def test_the_fingerprint_changes_with_what_training_sees(tmp_path: Path, change: dict[str, Any]) -> None:
    changed = replace(ENTRY, **change)

    assert fingerprint(tmp_path, [ENTRY, changed]) != fingerprint(tmp_path, [ENTRY, ENTRY])


def test_the_fingerprint_changes_with_order_number_and_pairing(tmp_path: Path) -> None:
    other = replace(ENTRY, row=encoded([9], [9]))
    prints = [
        fingerprint(tmp_path, [ENTRY, other]),
        fingerprint(tmp_path, [other, ENTRY]),
        fingerprint(tmp_path, [ENTRY]),
        fingerprint(tmp_path, [ENTRY, other, ENTRY]),
        fingerprint(tmp_path, []),
        fingerprint(tmp_path, [ENTRY, other], paired=True),
    ]

    assert len(set(prints)) == len(prints)


@pytest.mark.parametrize("change", [
    {"source": "elsewhere.jsonl"},
    {"line": 99},
    {"row": encoded([1, 2, 3], [4, 0, 5], [True, False, True], cut=(True, True), agrees=False)},
    {"weight": 1.0 + 1e-12},
], ids=str)  # fmt: skip
def test_the_fingerprint_does_not_change_with_anything_else(tmp_path: Path, change: dict[str, Any]) -> None:
    changed = replace(ENTRY, **change)

    assert fingerprint(tmp_path, [ENTRY, changed]) == fingerprint(tmp_path, [ENTRY, ENTRY])


def fingerprint(folder: Path, entries: list[Entry], *, paired: bool = False) -> str:
    return write(folder / "store", entries, paired=paired).fingerprint


def test_a_store_is_not_there_before_it_is_whole(tmp_path: Path) -> None:
    path = tmp_path / "deep" / "store"
    with TokenStoreWriter(path, paired=False) as store:
        store.append(ENTRY.row, desirable=True, group=1, weight=1.0, source="f", line=1)
        assert not path.exists()

    assert names(path.parent) == ["store"]
    assert names(path) == ["index.npz", "meta.json", "tokens.bin"]


def test_an_exception_leaves_nothing_and_an_earlier_store_as_it_was(tmp_path: Path) -> None:
    path = tmp_path / "store"
    write(path, [ENTRY, ENTRY])

    with pytest.raises(KeyboardInterrupt):
        write(path, interrupted())

    assert names(tmp_path) == ["store"]
    assert len(TokenStore(path)) == 2


def test_a_disk_that_fills_up_at_the_end_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object, **__: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(np, "savez", full)

    with pytest.raises(OSError, match="No space left"):
        write(tmp_path / "store", [ENTRY])

    assert names(tmp_path) == []


def test_a_store_takes_the_place_of_an_earlier_one(tmp_path: Path) -> None:
    earlier = write(tmp_path / "store", [ENTRY])
    later = write(tmp_path / "store", [ENTRY, replace(ENTRY, row=encoded([7], [8]))])

    assert len(later) == 2
    assert later.read(1).prompt.tolist() == [7]
    assert earlier.read(0).prompt.tolist() == [1, 2, 3], "an open store goes on reading its own file"


def test_two_writers_of_one_store_do_not_mix(tmp_path: Path) -> None:
    path = tmp_path / "store"
    with TokenStoreWriter(path, paired=False) as first, TokenStoreWriter(path, paired=False) as second:
        first.append(ENTRY.row, desirable=True, group=1, weight=1.0, source="f", line=1)
        second.append(encoded([7], [8]), desirable=True, group=1, weight=1.0, source="f", line=1)

    assert TokenStore(path).read(0).prompt.tolist() == [1, 2, 3], "the last one to close stands"
    assert names(tmp_path) == ["store"]


def test_what_is_no_store_is_refused_by_its_path(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"nowhere is not a store of encoded rows: .*No such file"):
        TokenStore(tmp_path / "nowhere")


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("meta.json", b""),
        ("meta.json", b"[]"),
        ("meta.json", b"{}"),
        ("index.npz", b""),
        ("index.npz", b"PK\x03\x04 broken"),
        ("index.npz", b"no zip"),
        ("tokens.bin", b"\0" * 20),
        ("tokens.bin", b"\0" * 28),
    ],
)
def test_a_damaged_store_is_refused_by_its_path(tmp_path: Path, name: str, content: bytes) -> None:
    write(tmp_path / "store", [ENTRY])
    (tmp_path / "store" / name).write_bytes(content)

    with pytest.raises(DataError, match=r"store(:| is not)"):
        TokenStore(tmp_path / "store")


@pytest.mark.parametrize("name", ["meta.json", "index.npz", "tokens.bin"])
def test_a_store_that_lacks_a_file_is_refused(tmp_path: Path, name: str) -> None:
    write(tmp_path / "store", [ENTRY])
    (tmp_path / "store" / name).unlink()

    with pytest.raises(DataError, match="is not a store"):
        TokenStore(tmp_path / "store")


@pytest.mark.skipif(not OPEN_FILES.exists(), reason="this system does not list a process's open files")
def test_a_store_gives_its_file_back_when_it_is_closed_or_forgotten(tmp_path: Path) -> None:
    gc.collect()
    before = len(names(OPEN_FILES))
    store = write(tmp_path / "store", [ENTRY])
    store.close()
    store.close()
    TokenStore(tmp_path / "store").read(0)
    gc.collect()

    assert len(names(OPEN_FILES)) == before


def test_memory_holds_an_index_of_about_fifty_bytes_a_row_and_no_tokens(tmp_path: Path) -> None:
    long = encoded(list(range(1000)), list(range(1000)))
    write(tmp_path / "store", [Entry(long)] * 2000).close()
    gc.collect()

    tracemalloc.start()
    store = TokenStore(tmp_path / "store")
    gc.collect()
    kept, _ = tracemalloc.get_traced_memory()
    tracemalloc.reset_peak()
    for i in range(0, 2000, 100):
        store.read(i)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()

    assert store.num_tokens == 4_000_000
    assert kept < 2000 * 60 + 50_000
    assert peak - kept < 5 * 2000 * 4 + 10_000, "a few copies of one row"


words = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)
turns = st.lists(words, min_size=1, max_size=6)


@st.composite
def conversations(draw: st.DrawFn) -> tuple[tuple[Message, ...], tuple[Message, ...]]:
    """Turns of the user and the model in turn, cut into a prompt and a completion of one or several turns."""
    said = draw(st.lists(st.tuples(words, words), min_size=1, max_size=4))
    messages = [m for asked, told in said for m in (Message("user", asked), Message("assistant", told))]
    cut = 2 * draw(st.integers(0, len(said) - 1)) + 1
    return tuple(messages[:cut]), tuple(messages[cut:])


ENCODER = make_encoder(byte_tokenizer(), max_length=200)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=50)
@given(
    rows=st.lists(st.tuples(conversations(), st.booleans(), st.integers(-(2**63), 2**63 - 1)), min_size=1, max_size=5)
)
def test_conversations_come_back_from_the_store(tmp_path: Path, rows: list[Any]) -> None:
    found = ENCODER.encode([(prompt, completion, ()) for (prompt, completion), _, _ in rows])
    entries = [
        Entry(row, desirable=desirable, group=group, line=line)
        for line, (row, (_, desirable, group)) in enumerate(zip(found, rows, strict=True), start=1)
        if isinstance(row, Encoded)
    ]
    assert len(entries) == len(rows)

    store = write(tmp_path / "store", entries)

    for i, entry in enumerate(entries):
        row = store.read(i)
        assert row.prompt.tolist() == entry.row.prompt.tolist()
        assert row.completion.tolist() == entry.row.completion.tolist()
        assert row.trained.tolist() == entry.row.trained.tolist()
        assert (store.desirable[i], store.group[i], store.name(i)) == (entry.desirable, entry.group, f"f.jsonl:{i + 1}")
    assert store.num_prompt_cut == sum(entry.row.prompt_cut for entry in entries)
    assert store.num_completion_cut == sum(entry.row.completion_cut for entry in entries)
    store.close()


def test_reasoning_is_counted_with_and_without_a_place(tmp_path: Path) -> None:
    row = encoded([1], [2])
    rows = [
        dataclasses.replace(row, reasons=reasons, shows_reasoning=shown)
        for reasons, shown in [(True, True), (True, False), (True, True), (False, False)]
    ]

    store = write(tmp_path / "store", [Entry(row) for row in rows])

    assert (store.num_reasoning, store.num_reasoning_shown, store.num_disagreeing) == (3, 2, 0)

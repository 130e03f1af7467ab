"""Encoding in several processes: what comes back is what one process gives, and none of them is left."""

import dataclasses
import os
import pickle
import signal
import subprocess
import sys
import textwrap
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fake_tokenizers import REFUSES_SYSTEM, REWRITES
from fakes import byte_tokenizer
from haloes.errors import ModelError
from haloes.records import Message
from haloes.tokens import parallel
from haloes.tokens.encode import Encoded, Unencodable, make_encoder
from haloes.tokens.parallel import (
    EncodeFn,
    EncodeResults,
    EncodeTask,
    encode_tasks,
    num_processors,
    pack_results,
    parallel_encoding,
    unpack_results,
)

ENCODERS = [
    make_encoder(byte_tokenizer(chat_template=REFUSES_SYSTEM), max_length=128),
    make_encoder(byte_tokenizer(chat_template=REWRITES), max_length=64),
]
CALL = {"type": "function", "function": {"name": "add", "arguments": {"a": 1}}}


def sides(start: int, end: int) -> list[EncodeTask]:
    """Answers of many kinds: long and cut off ones, calls, such that the template refuses or writes in other words."""
    found: list[EncodeTask] = []
    for i in range(start, end):
        answer = "<think>hm</think>yes." if i % 3 == 0 else "word " * (i % 40)
        prompt: Any = f"Is {i // 2} it?" if i % 5 else (Message("system", "Be brief."), Message("user", "Hi"))
        completion: Any = answer if i % 7 else (Message("assistant", answer, (CALL,)), Message("tool", "2"))
        found.append((i % 2, (prompt, completion, ({"name": "add"},) if i % 11 == 0 else ()), i % 4 > 0))
    return found


def same(one: Encoded | Unencodable, other: Encoded | Unencodable) -> bool:
    if isinstance(one, Unencodable) or isinstance(other, Unencodable):
        return one == other
    ones, others = dataclasses.astuple(one), dataclasses.astuple(other)
    return all(
        np.array_equal(a, b) and np.asarray(a).dtype == np.asarray(b).dtype for a, b in zip(ones, others, strict=True)
    )


def all_same(ones: EncodeResults, others: EncodeResults) -> bool:
    return len(ones) == len(others) and all(map(same, ones, others))


def children() -> set[psutil.Process]:
    return set(psutil.Process().children())


@pytest.fixture(scope="module")
def two() -> Iterator[EncodeFn]:
    before = children()
    with parallel_encoding(ENCODERS, processes=2) as encode:
        assert len(children() - before) == 2
        yield encode
    assert children() == before


@given(st.lists(st.integers(0, 200), max_size=6))
def test_results_come_out_of_their_arrays_as_they_went_in(numbers: list[int]) -> None:
    results = [result for i in numbers for result in encode_tasks(ENCODERS, sides(i, i + 1))]

    assert all_same(unpack_results(pack_results(results)), results)


def test_two_processes_give_what_one_gives_in_the_same_order(two: EncodeFn) -> None:
    chunks = [(start, sides(start, start + 16)) for start in range(0, 320, 16)]
    with parallel_encoding(ENCODERS, processes=1) as here:
        alone = list(here(chunks))
    found = list(two(chunks))

    assert [start for start, _ in found] == [start for start, _ in alone] == list(range(0, 320, 16))
    assert all(all_same(results, expected) for (_, results), (_, expected) in zip(found, alone, strict=True))
    flat = [result for _, results in found for result in results]
    assert {isinstance(result, Encoded) for result in flat} == {True, False}
    assert {result.agrees for result in flat if isinstance(result, Encoded)} == {True, False}


def test_no_more_chunks_are_read_than_are_soon_encoded(two: EncodeFn) -> None:
    read: list[int] = []

    def chunks() -> Iterator[tuple[int, Sequence[EncodeTask]]]:
        for i in range(50):
            read.append(i)
            yield i, sides(i, i + 1)

    ahead = [len(read) - i for i, _ in two(chunks())]

    assert max(ahead) == 5


def test_the_workers_do_the_work(two: EncodeFn, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(parallel, "encode_tasks", None)

    assert len(list(two((i, sides(i, i + 4)) for i in range(8)))) == 8


def test_an_error_in_a_worker_is_that_of_one_process_and_ends_them_all() -> None:
    before = children()
    plain = make_encoder(byte_tokenizer(chat_template=None), max_length=64)
    messages: EncodeTask = (0, ((Message("user", "Hi"),), "Hello.", ()), True)
    with pytest.raises(ModelError, match="no chat template"), parallel_encoding([plain], processes=2) as encode:
        list(encode([(0, sides(1, 2)[:0]), (1, [messages])]))

    assert children() == before


def test_what_killed_workers_leave_is_encoded_here() -> None:
    before = children()
    chunks = [(i, sides(i, i + 4)) for i in range(0, 40, 4)]
    with parallel_encoding(ENCODERS, processes=2) as encode:
        results = encode(chunks)
        found = [next(results)]
        for child in children() - before:
            child.kill()
        found += results

    assert all(
        all_same(results, encode_tasks(ENCODERS, given)) for (_, results), (_, given) in zip(found, chunks, strict=True)
    )


@pytest.mark.parametrize("program", ["/nonexistent/python", "/bin/false", None])
def test_where_no_worker_starts_everything_is_encoded_here(
    program: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "executable", program)
    with parallel_encoding(ENCODERS, processes=2) as encode:
        [(_, results)] = encode([(None, sides(0, 8))])

    assert all_same(results, encode_tasks(ENCODERS, sides(0, 8)))


def test_workers_have_no_torch_and_do_not_print_into_the_results() -> None:
    script = """
        import pickle, subprocess, sys
        import haloes.tokens.worker as worker
        from haloes.tokens import parallel

        def loud(encoders, sides):
            print("a library says something")
            return [parallel.Unencodable("torch", str(bool(sys.modules.get("torch"))))]

        worker.encode_tasks = loud
        worker.main()
    """
    known = pickle.dumps(ENCODERS) + pickle.dumps([])
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(script)],
        input=known,
        capture_output=True,
        check=True,
        env=_environment(),
    )

    assert unpack_results(pickle.loads(done.stdout)) == [Unencodable("torch", "False")]
    assert b"a library says something" in done.stderr


def test_a_script_without_a_guard_is_run_once_and_its_workers_end_with_it_even_if_it_is_killed(tmp_path: Path) -> None:
    script, known = tmp_path / "script.py", tmp_path / "encoders"
    known.write_bytes(pickle.dumps(ENCODERS))
    script.write_text(
        textwrap.dedent(f"""
            import pathlib, pickle, time
            from haloes.tokens import parallel

            print("run", flush=True)
            encoders = pickle.loads(pathlib.Path({str(known)!r}).read_bytes())
            with parallel.parallel_encoding(encoders, processes=2) as encode:
                for _ in encode((i, [(0, ("p", "c", ()), True)]) for i in range(9)):
                    pass
                print("encoded", flush=True)
                time.sleep(600)
        """)
    )
    with subprocess.Popen([sys.executable, script], stdout=subprocess.PIPE, text=True, env=_environment()) as process:
        assert process.stdout is not None
        assert [process.stdout.readline() for _ in range(2)] == ["run\n", "encoded\n"]
        workers = psutil.Process(process.pid).children()
        os.kill(process.pid, signal.SIGKILL)
        assert process.stdout.read() == ""

    assert len(workers) == 2
    psutil.wait_procs(workers, timeout=60)
    assert not any(worker.is_running() and worker.status() != psutil.STATUS_ZOMBIE for worker in workers)


def test_no_more_processes_encode_than_processors_may_be_used() -> None:
    usable = len(psutil.Process().cpu_affinity())

    assert num_processors() == min(usable, 8)
    assert num_processors(1) == 1
    assert num_processors(1000) == min(usable, 8)


def _environment() -> dict[str, str]:
    return {**os.environ, "PYTHONPATH": os.pathsep.join(path for path in sys.path if path)}

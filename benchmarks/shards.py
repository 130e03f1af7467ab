"""
Memory of each process while a random model is trained by one, two and four processes that share its weights.

    python benchmarks/shards.py [--processes 1 2 4] [--lora] [--dtype bfloat16]
    python benchmarks/shards.py --lora --dtype bfloat16 --layers 16 --width 2048 --inner 8192 --vocabulary 128256

Several processes read their own rows of the model's files; the column "loading" is the most that one holds meanwhile.
It trains three steps of KTO-like passes (policy and reference) on a CPU, over gloo. Of every process it prints, between
two steps and at the peak of a step, the bytes of its tensors, which are what a GPU would hold, and what the process
holds in all; beside the plan's (`haloes plan --processes`). The program, gloo's threads and gaps are in the latter
alone.
"""

import argparse
import ctypes
import gc
import itertools
import json
import multiprocessing
import os
import socket
import tempfile
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, Self

import numpy as np
import psutil
import torch
from torch.profiler import ProfilerActivity, profile

from haloes.models.policy import Policy
from haloes.models.weight_shards import local

_MIB = 2**20
_GIVES_BACK = {"MALLOC_ARENA_MAX": "1", "MALLOC_MMAP_THRESHOLD_": "65536", "MALLOC_TRIM_THRESHOLD_": "0"}
"""Settings of glibc with which freed memory goes back to the system at once, so that what a process holds is in use."""


def main() -> None:
    """Measure every number of processes, and print a table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for name, number in {"layers": 8, "width": 512, "inner": 1408, "vocabulary": 8192}.items():
        parser.add_argument(f"--{name}", type=int, default=number, help="of the model")
    parser.add_argument("--tokens", type=int, default=256, help="of each process in a step")
    parser.add_argument("--processes", type=int, nargs="+", default=[1, 2, 4])
    parser.add_argument("--lora", action="store_true", help="train adapters and not all weights")
    parser.add_argument("--dtype", default="float32", help="what the model computes in")
    given = parser.parse_args()
    print("MiB a process: while loading, between two steps, and at a step's peak")
    print("| processes | loading | planned | tensors | held | planned, peak | tensors, peak | held, peak | seconds |")
    print("| ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: |")
    with tempfile.TemporaryDirectory() as folder:
        os.environ.update({"HALOES_CACHE": folder} | _GIVES_BACK)
        _in_a_process(_save_model, given, Path(folder))
        for count in given.processes:
            found = _measure(count, given, Path(folder))
            names = ("loading", "tensors", "held", "most tensors", "peak")
            loading, tensors, held, most, peak = (", ".join(f"{one[name]:.0f}" for one in found) for name in names)
            planned, at_peak, seconds = (found[0][name] for name in ("planned", "planned peak", "seconds"))
            row = [count, loading, f"{planned:.0f}", tensors, held, f"{at_peak:.0f}", most, peak, f"{seconds:.1f}"]
            print("| " + " | ".join(map(str, row)) + " |", flush=True)


def _in_a_process(work: Callable[..., None], *arguments: Any) -> None:
    """Do work in a process of its own, whose memory is gone afterwards."""
    process = multiprocessing.get_context("spawn").Process(target=work, args=arguments)
    process.start()
    process.join()
    if process.exitcode:
        raise SystemExit(f"a process ended with {process.exitcode}")


def _measure(count: int, given: argparse.Namespace, folder: Path) -> list[dict[str, float]]:
    """Train with so many processes, and return what each of them measured."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    context = multiprocessing.get_context("spawn")
    processes = [context.Process(target=_train, args=(index, count, port, given, folder)) for index in range(count)]
    for process in processes:
        process.start()
    for process in processes:
        process.join()
    if any(process.exitcode for process in processes):
        raise SystemExit(f"a process ended with {[process.exitcode for process in processes]}")
    return [json.loads((folder / f"{index}.json").read_text()) for index in range(count)]


def _train(index: int, count: int, port: int, given: argparse.Namespace, folder: Path) -> None:
    """Be one of the processes."""
    place = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port), "WORLD_SIZE": str(count), "RANK": str(index)}
    os.environ.update(place | {"GLOO_SOCKET_IFNAME": "lo"})
    torch.set_num_threads(1)
    from haloes.models.adapters import LoRA
    from haloes.models.layout import make_packed
    from haloes.models.policy import make_policy
    from haloes.models.sharded import shard_policy
    from haloes.training.distributed import this_rank
    from haloes.training.optimizer import make_masters, make_optimizer
    from haloes.training.settings import TrainSettings
    from haloes.training.update import update

    ranks = this_rank(torch.device("cpu"))
    empty = _held()
    with _Peak() as loading:
        policy = make_policy(
            _model(given, folder, in_files=count > 1),
            lora=LoRA(rank=8) if given.lora else None,
            reference=True,
            seed=0,
            fingerprint="random",
        )
        planned, at_peak = _planned(policy, count, given)
        if ranks.group is not None:
            policy = shard_policy(policy, ranks.group.mesh())
    masters = make_masters(policy.trainable())
    optimizer = make_optimizer(masters, TrainSettings(lr=1e-4))
    rng = np.random.default_rng(index)
    ids = rng.integers(0, given.vocabulary, given.tokens, dtype=np.int32)
    packed = make_packed([(ids[:16], ids[16:], ids[16:] >= 0)], policy.device)

    def step(number: int) -> None:
        reference = policy.reference_logps(packed).sum()
        scores = policy.token_scores(packed)
        assert scores.logp is not None
        (reference - scores.logp.sum()).div(count * given.tokens).backward()
        ranks.sum_each(masters.own_gradients())
        update(masters, optimizer, 1e-4, 10.0, step=number + 1)

    step(0)
    began = time.perf_counter()
    with _Peak() as peak:
        step(1)
    seconds = time.perf_counter() - began
    tensors = _bytes_of_tensors()
    found = {
        "loading": (loading.most - empty) / _MIB,
        "planned": planned / _MIB,
        "planned peak": at_peak / _MIB,
        "tensors": tensors / _MIB,
        "held": (_held() - empty) / _MIB,
        "most tensors": (tensors + _most_added(lambda: step(2))) / _MIB,
        "peak": (peak.most - empty) / _MIB,
        "seconds": seconds,
    }
    (folder / f"{index}.json").write_text(json.dumps(found))
    ranks.barrier()


def _bytes_of_tensors() -> int:
    """Return the bytes of all tensors that the process has, each storage once."""
    gc.collect()
    found = {}
    # Not `isinstance`, which would wake what is imported only when it is looked at.
    for tensor in (one for one in gc.get_objects() if issubclass(type(one), torch.Tensor)):
        storage = local(tensor).untyped_storage()
        found[storage.data_ptr()] = 0 if tensor.is_meta else storage.nbytes()
    return sum(found.values())


def _most_added(work: Callable[[], None]) -> int:
    """Return the bytes of tensors that work comes to hold at once, beside those that are there before."""
    with profile(activities=[ProfilerActivity.CPU], profile_memory=True) as profiled:
        work()
    kineto: Any = profiled.profiler
    events = kineto.kineto_results.events()
    changes = sorted((event.start_ns(), event.nbytes()) for event in events if event.name() == "[memory]")
    return max(itertools.accumulate(size for _, size in changes))


def _planned(policy: Policy, count: int, given: argparse.Namespace) -> tuple[int, int]:
    """Return the bytes that a process holds between two steps, and at the peak of one, by the arithmetic of a plan."""
    from haloes.models.lm_head import CHUNK_BYTES
    from haloes.planning.cost_model import FLOAT32, StepLoad
    from haloes.planning.model_size import sizes_of
    from haloes.planning.shares import kept_by_shape, shard_parts, whole_parts

    sizes, itemsize = sizes_of(policy.model, full=not given.lora), getattr(torch, given.dtype).itemsize
    load = StepLoad(
        itemsize=itemsize,
        moments=8,
        # One process maps its reference from a file, and holds it in no memory of its own.
        reference=0 if given.lora or count == 1 else sizes.weights,
        chunk=max(1, CHUNK_BYTES // (FLOAT32 * sizes.vocabulary)),
        tokens=given.tokens,
        positions=given.tokens,
        kept=kept_by_shape(sizes, itemsize),
    )
    parts = whole_parts(sizes, load) if count == 1 else shard_parts(sizes, load, over=count)
    lasting = ("weights", "reference", "trained copy (float32)", "optimizer")
    return sum(parts.get(name, 0) for name in lasting), sum(parts.values())


def _model(given: argparse.Namespace, folder: Path, *, in_files: bool) -> Any:
    """Return the model that was saved in a folder, with its weights or without."""
    from transformers import AutoModelForCausalLM

    from haloes.models.locate import locate
    from haloes.models.unread_weights import model_in_files

    dtype = getattr(torch, given.dtype)
    if in_files:
        return model_in_files(locate(str(folder), weights=True), folder, dtype)
    return AutoModelForCausalLM.from_pretrained(folder, dtype=dtype)


def _save_model(given: argparse.Namespace, folder: Path) -> None:
    """Save a random model in the shape of Llama's."""
    from transformers import AutoModelForCausalLM, LlamaConfig

    config = LlamaConfig(
        hidden_size=given.width,
        intermediate_size=given.inner,
        num_hidden_layers=given.layers,
        num_attention_heads=given.width // 64,
        num_key_value_heads=given.width // 64,
        vocab_size=given.vocabulary,
        max_position_embeddings=1024,
        tie_word_embeddings=True,
    )
    torch.manual_seed(0)
    AutoModelForCausalLM.from_config(config, dtype=getattr(torch, given.dtype)).save_pretrained(folder)


def _held() -> int:
    """Return the bytes that the process holds and uses: what the allocator keeps for later is given back first."""
    ctypes.CDLL(None).malloc_trim(0)
    return _own(psutil.Process())


def _own(process: psutil.Process) -> int:
    """Return the bytes of a process that are no file's."""
    memory = process.memory_info()
    return int(memory.rss - memory.shared)


class _Peak:
    """Looks every few milliseconds at what the process holds."""

    def __enter__(self) -> Self:
        self.most, self._over = 0, threading.Event()
        self._thread = threading.Thread(target=self._look)
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._thread.join()

    def _look(self) -> None:
        process = psutil.Process()
        while not self._over.wait(0.005):
            self.most = max(self.most, _own(process))


if __name__ == "__main__":
    main()

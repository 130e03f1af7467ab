"""
Memory of each process while a random model is trained by one, two and four processes that share its weights.

    python benchmarks/shards.py [--parameters 60] [--processes 1 2 4] [--lora] [--dtype bfloat16]

It trains three steps of KTO-like passes (policy and reference) on a CPU, over gloo, and prints of every process what it
holds between two steps and at the peak of a step, beside what the plan says: float32 weights, moments and gradients,
and a reference in the compute dtype, all of it divided by the processes, and the layer that is whole at a time.
"""

import argparse
import ctypes
import json
import multiprocessing
import os
import socket
import tempfile
import threading
import time
from pathlib import Path
from typing import Self

import numpy as np
import psutil
import torch

_LAYERS, _VOCABULARY, _TOKENS = 8, 8192, 256
_MIB = 2**20


def main() -> None:
    """Measure every number of processes, and print a table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--parameters", type=float, default=60, help="millions of weights, about")
    parser.add_argument("--processes", type=int, nargs="+", default=[1, 2, 4])
    parser.add_argument("--lora", action="store_true", help="train adapters and not all weights")
    parser.add_argument("--dtype", default="float32", help="what the model computes in")
    given = parser.parse_args()
    print("| processes | planned, MiB a process | held, MiB a process | peak | seconds a step |")
    print("| ---: | ---: | ---: | ---: | ---: |")
    for count in given.processes:
        found = _measure(count, given)
        held, peak = (", ".join(f"{one[name]:.0f}" for one in found) for name in ("held", "peak"))
        print(f"| {count} | {found[0]['planned']:.0f} | {held} | {peak} | {found[0]['seconds']:.1f} |", flush=True)


def _measure(count: int, given: argparse.Namespace) -> list[dict[str, float]]:
    """Train with so many processes, and return what each of them measured."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    with tempfile.TemporaryDirectory() as folder:
        os.environ["HALOES_CACHE"] = folder
        context = multiprocessing.get_context("spawn")
        processes = [
            context.Process(target=_train, args=(index, count, port, given, Path(folder))) for index in range(count)
        ]
        for process in processes:
            process.start()
        for process in processes:
            process.join()
        if any(process.exitcode for process in processes):
            raise SystemExit(f"a process ended with {[process.exitcode for process in processes]}")
        return [json.loads((Path(folder) / f"{index}.json").read_text()) for index in range(count)]


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
    policy = make_policy(
        _model(given), lora=LoRA(rank=8) if given.lora else None, reference=True, seed=0, fingerprint="random"
    )
    weights = sum(parameter.numel() for parameter in policy.scorer.model.parameters())
    trained = sum(parameter.numel() for parameter in policy.trainable().values())
    if ranks.group is not None:
        policy = shard_policy(policy, ranks.group.mesh())
    masters = make_masters(policy.trainable())
    optimizer = make_optimizer(masters, TrainSettings(lr=1e-4))
    rng = np.random.default_rng(index)
    ids = rng.integers(0, _VOCABULARY, _TOKENS, dtype=np.int32)
    packed = make_packed([(ids[:16], ids[16:], ids[16:] >= 0)], policy.device)
    peaks, began = [], 0.0
    for step in range(3):
        began = time.perf_counter()
        with _Peak() as peak:
            reference = policy.reference_logps(packed).sum()
            scores = policy.token_scores(packed)
            assert scores.logp is not None
            (reference - scores.logp.sum()).div(count * _TOKENS).backward()
            ranks.sum_each(masters.own_gradients())
            update(masters, optimizer, 1e-4, 10.0, step=step + 1)
        peaks.append(peak.most)
    found = {
        "planned": _planned(weights, trained, count, given) / _MIB,
        "held": (_held() - empty) / _MIB,
        "peak": (max(peaks[1:]) - empty) / _MIB,
        "seconds": time.perf_counter() - began,
    }
    (folder / f"{index}.json").write_text(json.dumps(found))
    ranks.barrier()


def _planned(weights: int, trained: int, count: int, given: argparse.Namespace) -> float:
    """Return the bytes that a process holds between two steps: weights, reference and moments, each its part."""
    size = getattr(torch, given.dtype).itemsize
    master = trained * (4 if count > 1 or size == 4 else 4 + size)
    base = (weights - trained) * size
    # One process maps its reference from a file, and holds it in no memory of its own.
    reference = 0 if given.lora or count == 1 else weights * size
    return (master + base + reference + 8 * trained) / count


def _model(given: argparse.Namespace) -> torch.nn.Module:
    """Make a random model in the shape of Llama's, with about so many weights."""
    from transformers import AutoModelForCausalLM, LlamaConfig

    # A layer has 4 H^2 weights in its attention and 3 H * 2.75 H in its perceptron; V H are the embeddings'.
    blocks, width = _LAYERS * (4 + 8.25), 64
    while blocks * (width + 64) ** 2 + _VOCABULARY * (width + 64) <= given.parameters * 1e6:
        width += 64
    config = LlamaConfig(
        hidden_size=width,
        intermediate_size=int(2.75 * width),
        num_hidden_layers=_LAYERS,
        num_attention_heads=width // 64,
        num_key_value_heads=width // 64,
        vocab_size=_VOCABULARY,
        max_position_embeddings=1024,
        tie_word_embeddings=True,
    )
    torch.manual_seed(0)
    model: torch.nn.Module = AutoModelForCausalLM.from_config(config, dtype=getattr(torch, given.dtype))
    return model


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

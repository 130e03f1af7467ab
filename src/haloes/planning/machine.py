"""The machine that a run works on: memory, processor cores and threads, and how fast its matrix products are."""

import os
import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass
from types import TracebackType
from typing import Self

import psutil
import torch

from haloes.models.device import product_rate

_CLEARLY = 1.25
_PASSIVE = {"OMP_WAIT_POLICY": "passive", "GOMP_SPINCOUNT": "0"}


@dataclass(frozen=True, slots=True)
class Machine:
    """The processor as torch uses it."""

    threads: int
    """Threads that torch computes with."""
    cores: int
    """Physical ones that this process may run on."""
    logical: int
    """Hardware threads that it may run on."""
    rate: float
    """Floating-point operations a second of a matrix product of the model's shape, in the run's dtype."""
    one_thread: float | None
    """The rate with one thread; None where there is only one, or on a GPU."""


def measure_machine(dtype: torch.dtype, device: torch.device, *, width: int) -> Machine:
    """Count, and time a few matrix products (some milliseconds each)."""
    logical = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    cores = min(psutil.cpu_count(logical=False) or logical, logical)
    threads = torch.get_num_threads()
    shape = {"inner": width, "columns": 3 * width, "times": 20}
    rate = product_rate(dtype, device, **shape)
    alone = None
    if device.type == "cpu" and threads > 1:
        torch.set_num_threads(1)
        try:
            alone = product_rate(dtype, device, **shape)
        finally:
            torch.set_num_threads(threads)
    return Machine(threads, cores, logical, rate, alone)


def thread_warnings(machine: Machine, environment: Mapping[str, str]) -> list[str]:
    """Warn of threads that share a core: they wait for each other, and spin while they do."""
    if machine.threads == 1:
        return []
    waits = all(environment.get(name, "").lower() == value for name, value in _PASSIVE.items())
    advice = " ".join(f"{name}={value}" for name, value in _PASSIVE.items())
    warnings = []
    if machine.threads > machine.cores and not waits:
        warnings.append(
            f"torch computes with {machine.threads} threads on {machine.cores} physical core(s): threads that share a "
            f"core spin while they wait, and a run loses most of its speed when anything else wants the core. "
            f"Set train.threads={machine.cores}, or {advice} in the environment"
        )
    if machine.one_thread is not None and machine.rate < _CLEARLY * machine.one_thread:
        warnings.append(
            f"{machine.threads} threads multiply matrices {machine.rate / machine.one_thread:.1f} times as fast as one "
            "here: they are hyperthreads of one core, or other programs use the rest. "
            + ("Fewer threads may do as well" if waits else f"Set train.threads lower, or {advice} in the environment")
        )
    return warnings


class Peak:
    """The most memory that is held inside a block: resident memory on a CPU, tensors on a GPU."""

    def __init__(self, device: torch.device) -> None:
        """Measure nothing yet."""
        self._device, self._most, self._over = device, 0, threading.Event()
        self._sampler = threading.Thread(target=self._look, daemon=True)

    @property
    def bytes(self) -> int:
        """Return the most bytes that were held."""
        return self._most

    def __enter__(self) -> Self:
        if self._device.type == "cuda":
            torch.cuda.reset_peak_memory_stats(self._device)
        else:
            self._lifetime = _lifetime_peak()
            self._sampler.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        if self._device.type == "cuda":
            self._most = torch.cuda.max_memory_allocated(self._device)
            return
        self._over.set()
        self._sampler.join()
        # Where the process never held as much as now the system knows it, and better than one who looks now and then.
        if _lifetime_peak() > self._lifetime:
            self._most = max(self._most, _lifetime_peak())

    def _look(self) -> None:
        process = psutil.Process()
        while not self._over.is_set():
            self._most = max(self._most, int(process.memory_info().rss))
            time.sleep(0.002)


def _lifetime_peak() -> int:
    """Return the most bytes that this process ever held; 0 where the system does not say."""
    try:
        import resource
        import sys
    except ImportError:  # Windows
        return 0
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit

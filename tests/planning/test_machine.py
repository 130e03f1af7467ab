"""Threads, and the most memory that is held."""

import numpy as np
import torch

from haloes.planning.machine import Machine, Peak, measure_machine, thread_warnings
from haloes.training.microbatch_size import bytes_in_use

CPU = torch.device("cpu")
TWO_ON_ONE = Machine(threads=2, cores=1, logical=2, rate=1e10, one_thread=9e9)


def test_threads_that_share_a_core_are_warned_of():
    of_cores, of_speed = thread_warnings(TWO_ON_ONE, {})

    assert "2 threads on 1 physical core(s)" in of_cores
    assert "GOMP_SPINCOUNT=0" in of_cores
    assert "OMP_WAIT_POLICY=passive" in of_cores
    assert "1.1 times as fast as one" in of_speed


def test_threads_that_wait_without_spinning_may_share_a_core():
    passive = {"OMP_WAIT_POLICY": "PASSIVE", "GOMP_SPINCOUNT": "0"}

    (of_speed,) = thread_warnings(TWO_ON_ONE, passive)
    assert "Fewer threads may do as well" in of_speed


def test_threads_with_a_core_each_are_fine():
    assert thread_warnings(Machine(2, 2, 4, rate=2e10, one_thread=1.1e10), {}) == []


def test_one_thread_is_fine():
    assert thread_warnings(Machine(1, 1, 2, rate=1e10, one_thread=None), {}) == []


def test_looking_leaves_the_threads_as_they_are():
    before = torch.get_num_threads()
    machine = measure_machine(torch.float32, CPU, width=32)

    assert torch.get_num_threads() == before == machine.threads
    assert machine.rate > 0
    assert 1 <= machine.cores <= machine.logical


def test_the_peak_is_seen_though_it_is_over_when_the_block_ends():
    before = bytes_in_use(CPU)
    with Peak(CPU) as peak:
        large = np.ones(40 * 2**20)  # 320 MiB
        del large

    assert peak.bytes - before > 250 * 2**20
    assert bytes_in_use(CPU) - before < 250 * 2**20

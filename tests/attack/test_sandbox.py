"""What a generated program may try to reach beside files and the network: the kernel's keys, memory, other sockets."""

import ctypes
import errno
import os
import socket

import pytest

from haloes.evaluation.bench.sandbox.jail import _CALLS, _filter
from haloes.evaluation.bench.sandbox.run import Limits, run_python
from sandbox_here import needs_sandbox

LONG = Limits(seconds=120, cpu_seconds=60)
SECRET = "a secret of whoever asks"


BEGIN = f"""
import ctypes, errno, socket
libc = ctypes.CDLL(None, use_errno=True)
calls = {_CALLS.get(os.uname().machine)!r}
def call(name, *arguments):
    done = libc.syscall(calls[name], *arguments)
    return errno.errorcode[ctypes.get_errno()] if done < 0 else done
"""


def printed(source: str) -> str:
    found = run_python(BEGIN + source, LONG)
    assert found.ending == "passed", found
    return found.output.strip()


@needs_sandbox
def test_keys_of_whoever_starts_it_are_not_found():
    libc = ctypes.CDLL(None, use_errno=True)
    calls = _CALLS[os.uname().machine]
    # A keyring of the test's own: nothing stays in that of whoever runs the tests.
    if libc.syscall(calls["keyctl"], 1, None) < 0:
        pytest.skip("the kernel keeps no keys here")
    secret = SECRET.encode()
    assert libc.syscall(calls["add_key"], b"user", b"haloes:test", secret, len(secret), -3) > 0
    assert libc.syscall(calls["keyctl"], 10, -3, b"user", b"haloes:test", 0) > 0, "outside it is found"

    found = "call('keyctl', 10, -3, b'user', b'haloes:test', 0)"
    named = "call('keyctl', 0, -3, 0)"
    added = "call('add_key', b'user', b'haloes:new', b'x', 1, -3)"
    asked = "call('request_key', b'user', b'haloes:test', 0, 0)"
    assert printed(f"print({found}, {named}, {added}, {asked})") == "EPERM EPERM EPERM EPERM"


@needs_sandbox
@pytest.mark.parametrize("name", ["shmget", "semget", "msgget"])
def test_memory_that_no_limit_counts_cannot_be_had(name: str):
    assert printed(f"print(call('{name}', 0, 1 << 20, 0o1600))") == "EPERM"


@needs_sandbox
def test_only_sockets_that_lead_nowhere_can_be_made():
    families = [family for family in (40, 16, 17, 29, 31, 38, 44) if family not in (socket.AF_INET, socket.AF_INET6)]
    source = f"""
for family in {families}:
    for kind in (1, 2, 3, 5):
        made = call("socket", family, kind, 0)
        assert made == "EPERM", (family, kind, made)
for family in (socket.AF_UNIX, socket.AF_INET, socket.AF_INET6):
    socket.socket(family).close()
a, b = socket.socketpair()
a.send(b"x")
print(b.recv(1))
"""
    assert printed(source) == "b'x'"


@needs_sandbox
@pytest.mark.parametrize(
    "name", ["ptrace", "bpf", "perf_event_open", "io_uring_setup", "userfaultfd", "process_vm_readv"]
)
def test_what_no_solution_needs_is_refused(name: str):
    assert printed(f"print(call('{name}', 0, 0, 0, 0, 0, 0))") == "EPERM"


@pytest.mark.parametrize("machine", ["x86_64", "aarch64"])
def test_the_filter_answers_each_call_as_meant(machine: str):
    machines = {"x86_64": 0xC000003E, "aarch64": 0xC00000B7}
    calls = _CALLS[machine]

    def answer(number: int, architecture: int = machines[machine], family: int = 2) -> str:
        data = {0: number, 4: architecture, 16: family}
        value, at, steps = 0, 0, _filter(machine)
        while True:
            what, where_true, where_false, number = steps[at]
            at += 1
            if what == 0x20:
                value = data[number]
            elif what == 0x06:
                return "yes" if number == 0x7FFF0000 else errno.errorcode[number & 0xFFFF]
            else:
                at += where_true if (value == number if what == 0x15 else value >= number) else where_false

    assert {name for name, number in calls.items() if answer(number) == "yes"} == {"socket", "socketpair"}
    assert {family: answer(calls["socket"], family=family) for family in (1, 2, 10, 16, 40)} == {
        **dict.fromkeys((1, 2, 10), "yes"),
        **dict.fromkeys((16, 40), "EPERM"),
    }
    assert answer(calls["socketpair"], family=40) == "EPERM"
    assert answer(0) == answer(59) == answer(231) == "yes"
    assert answer(0, architecture=0x40000003) == answer(59 | 0x40000000) == "EPERM"

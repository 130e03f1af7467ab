"""What a generated program may try to reach beside files and the network: the kernel's keys, memory, other sockets."""

import ctypes
import errno
import os
import re
import socket
import struct
from pathlib import Path

import pytest

from haloes.errors import ConfigError
from haloes.evaluation.bench.sandbox._contract import Jail
from haloes.evaluation.bench.sandbox.run import Limits, run_python
from haloes.evaluation.bench.sandbox.seccomp import CALLS, calls_of, filter_of
from sandbox_here import each_jail

LONG = Limits(seconds=120, cpu_seconds=60)
SECRET = "a secret of whoever asks"
FORKS, SOCKETS = {"clone", "fork", "vfork", "clone3"}, {"socket", "socketpair"}


BEGIN = f"""
import ctypes, errno, socket
libc = ctypes.CDLL(None, use_errno=True)
calls = {calls_of(os.uname().machine) if os.uname().machine in CALLS else {}!r}
def call(name, *arguments):
    done = libc.syscall(calls[name], *arguments)
    return errno.errorcode[ctypes.get_errno()] if done < 0 else done
"""


def printed(jail: Jail, source: str) -> str:
    found = run_python(BEGIN + source, LONG, jail=jail)
    assert found.ending == "passed", found
    return found.output.strip()


@each_jail
def test_keys_of_whoever_starts_it_are_not_found(jail: Jail):
    libc = ctypes.CDLL(None, use_errno=True)
    calls = calls_of(os.uname().machine)
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
    assert printed(jail, f"print({found}, {named}, {added}, {asked})") == "EPERM EPERM EPERM EPERM"


@each_jail
@pytest.mark.parametrize("name", ["shmget", "semget", "msgget"])
def test_memory_that_no_limit_counts_cannot_be_had(jail: Jail, name: str):
    assert printed(jail, f"print(call('{name}', 0, 1 << 20, 0o1600))") == "EPERM"


@each_jail
def test_only_sockets_that_lead_nowhere_can_be_made(jail: Jail):
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
    assert printed(jail, source) == "b'x'"


@each_jail
def test_what_no_solution_needs_is_refused(jail: Jail):
    others = f"[name for name in calls if name not in {sorted(FORKS | SOCKETS)}]"
    assert printed(jail, f"print({{call(name, 0, 0, 0, 0, 0, 0) for name in {others}}})") == "{'EPERM'}"


@each_jail
def test_other_processes_are_refused_as_if_there_were_too_many(jail: Jail):
    forks = sorted(FORKS & set(calls_of(os.uname().machine)))
    expected = {"clone3": "ENOSYS"} | {name: "EAGAIN" for name in forks if name != "clone3"}
    assert printed(jail, f"print({{name: call(name, 17, 0, 0, 0, 0) for name in {forks}}} == {expected})") == "True"


@pytest.mark.parametrize("machine", list(CALLS))
def test_the_filter_answers_each_call_as_meant(machine: str):
    machines = {"x86_64": 0xC000003E, "aarch64": 0xC00000B7}
    calls = calls_of(machine)
    steps = list(struct.iter_unpack("HBBI", filter_of(machine)))

    def answer(number: int, architecture: int = machines[machine], family: int = 2) -> str:
        data = {0: number, 4: architecture, 16: family}
        value, at = 0, 0
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
    read, execve, exit_group = {"x86_64": (0, 59, 231), "aarch64": (63, 221, 94)}[machine]
    assert answer(read) == answer(execve) == answer(exit_group) == "yes"
    assert answer(read, architecture=0x40000003) == answer(execve | 0x40000000) == "EPERM"


def test_a_machine_whose_calls_are_unknown_is_refused():
    with pytest.raises(ConfigError, match="run on x86_64 and aarch64 alone, and this machine is riscv64"):
        filter_of("riscv64")


@pytest.mark.parametrize("machine", list(CALLS))
def test_the_numbers_are_those_of_the_kernel_s_own_headers(machine: str):
    place = {"x86_64": "x86_64-linux-gnu/asm/unistd_64.h", "aarch64": "asm-generic/unistd.h"}[machine]
    header = Path("/usr/include") / place
    if not header.exists():
        pytest.skip("the headers of the kernel are not installed")
    named = dict(re.findall(r"^#define __NR(?:3264)?_(\w+)\s+(\d+)$", header.read_text(), flags=re.MULTILINE))
    known = {name: int(number) for name, number in named.items()}
    # Headers may be older than a call.
    assert {name: number for name, number in calls_of(machine).items() if known.get(name, number) != number} == {}
    assert len(known.keys() & calls_of(machine).keys()) > 30

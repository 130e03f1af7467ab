"""What a generated program may try to reach beside files and the network: the kernel's keys, memory, other sockets."""

import ctypes
import errno
import os
import re
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
def test_no_socket_can_be_made_but_a_pair_of_the_program_s_own(jail: Jail):
    source = """
for family in range(46):
    for kind in (1, 2, 3, 5):
        made = call("socket", family, kind, 0)
        assert made == "EPERM", (family, kind, made)
        if family != socket.AF_UNIX:
            made = call("socketpair", family, kind, 0, ctypes.create_string_buffer(8))
            assert made == "EPERM", (family, kind, made)
a, b = socket.socketpair()
a.send(b"x")
print(b.recv(1))
"""
    assert printed(jail, source) == "b'x'"


@each_jail
def test_asyncio_works(jail: Jail):
    assert printed(jail, "import asyncio\nprint(asyncio.run(asyncio.sleep(0.01, 'slept')))") == "slept"


# Pipes and pairs of sockets hold what was written to them, and pairs hold each other, also when they are closed.
BUFFERS = """
import array, fcntl, os, socket
held, places = 0, []
def fill(place, piece):
    global held
    try:
        while True:
            held += os.write(place, piece)
    except OSError:
        pass
def sent(pair, handles):
    try:
        pair.sendmsg([b"x"], [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", handles))])
    except OSError:
        return False
    return True
try:
    for _ in range(2000):
        read, write = os.pipe()
        for size in (1 << 20, 1 << 18, 1 << 16):
            try:
                fcntl.fcntl(write, 1031, size)
                break
            except OSError:
                pass
        a, b = socket.socketpair()
        for place in (write, a.fileno(), b.fileno()):
            os.set_blocking(place, False)
            if place != a.fileno():
                fill(place, bytes(4096))
        if sent(a, [read, write, b.fileno()]):
            os.close(read)
            os.close(write)
        places += [a, b]
        if len(places) > 40:
            places.pop(0).close()
except OSError:
    pass
print(held)
"""


@each_jail
def test_what_buffers_of_the_kernel_hold_is_little(jail: Jail):
    assert int(printed(jail, BUFFERS)) < 128 << 20


@each_jail
@pytest.mark.parametrize(
    "source",
    [
        "import mmap\nkept = [mmap.mmap(-1, 1 << 26) for _ in range(100)]",
        "import mmap\nkept = [mmap.mmap(-1, 1 << 26, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS) for _ in range(100)]",
        "import os\nos.memfd_create('x')",
        "open('/dev/shm/x', 'w')",
        "open('/tmp/x', 'w')",
        "import tempfile\ntempfile.TemporaryFile()",
        "import os\nos.mkfifo('x')",
        "import os\nos.mkdir('x')",
        "import os\nos.symlink('a', 'x')",
        "import os\nos.link('/usr/bin/env', 'x')",
        "import os\nos.chmod('/work', 0o777)",
        "import multiprocessing.shared_memory as m\nm.SharedMemory(create=True, size=1 << 20)",
        "import multiprocessing as m\nm.Process(target=print).start()",
        "import os\nos.posix_spawn('/usr/bin/env', ['env'], {})",
        "import os\nos.forkpty()",
        "import _thread\n_thread.start_new_thread(print, ())",
        "import resource\nresource.setrlimit(resource.RLIMIT_AS, (-1, -1))",
        "import os\nos.nice(-5)",
        "import os\nos.sched_setscheduler(0, os.SCHED_FIFO, os.sched_param(1))",
        "import ctypes\nassert ctypes.CDLL(None).setns(0, 0) == 0",
        "import time\ntime.clock_settime(time.CLOCK_REALTIME, 0)",
    ],
    ids=lambda source: source.rpartition("\n")[2][:40],
)
def test_memory_files_processes_and_privileges_cannot_be_had_in_another_way(jail: Jail, source: str):
    found = run_python(source, LONG, jail=jail)
    assert found.ending == "failed", found
    assert "Error" in found.detail


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

    assert {name for name, number in calls.items() if answer(number) == "yes"} == set()
    families = (0, 1, 2, 10, 16, 40)
    assert [answer(calls["socketpair"], family=one) for one in families] == ["EPERM", "yes", *["EPERM"] * 4]
    assert {answer(calls["socket"], family=one) for one in families} == {"EPERM"}
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

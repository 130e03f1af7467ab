"""The sandbox: each thing that a program must not do is tried, and each limit reached."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from haloes.errors import ConfigError
from haloes.evaluation.bench.sandbox.run import Limits, ProgramResult, run_python
from sandbox_here import needs_sandbox

LONG = Limits(seconds=120, cpu_seconds=60)
"""So long that a busy machine does not reach it."""


pytestmark = needs_sandbox


def failed(source: str, limits: Limits = LONG) -> str:
    """Why a program failed."""
    found = run_python(source, limits)
    assert found.ending == "failed", found
    return found.detail


def test_a_program_that_comes_to_its_end_has_passed_and_its_output_is_kept():
    assert run_python("import math, json, re, hashlib\nprint(math.comb(5, 2))", LONG) == ProgramResult(
        "passed", "", "10\n"
    )


def test_a_program_that_raises_has_failed_with_its_last_line():
    assert failed("print('before')\nassert 1 + 1 == 3, 'sum'") == "AssertionError: sum"


def test_a_program_that_cannot_be_parsed_has_failed():
    assert failed("def f(:").startswith("SyntaxError")


def test_what_is_no_program_at_all_has_failed():
    for source in ("x = '\ud800'\nassert x != '?'", "x = '\0'", "é" * 5000):
        assert run_python(source, LONG).ending == "failed"


@pytest.mark.parametrize("leave", ["import sys\nsys.exit(0)", "import os\nos._exit(0)", "raise SystemExit"])
def test_leaving_early_with_a_good_exit_code_is_no_pass(leave: str):
    assert failed(leave) == "it left before its last line"


def test_a_block_for_scripts_does_not_run():
    assert run_python("if __name__ == '__main__':\n    raise SystemExit(1)", LONG).ending == "passed"


def test_there_is_no_network():
    assert failed("import socket\nsocket.create_connection(('1.1.1.1', 53), 5)") == (
        "OSError: [Errno 101] Network is unreachable"
    )


def test_a_server_of_the_machine_cannot_be_reached_either():
    import socket

    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        reason = failed(f"import socket\nsocket.create_connection(('127.0.0.1', {port}), 5)")
    assert "Network is unreachable" in reason or "refused" in reason


def test_a_fork_bomb_does_not_get_to_its_first_child():
    assert failed("import os\nwhile True:\n    os.fork()").startswith("BlockingIOError")


def test_threads_and_programs_cannot_be_started():
    assert "start new thread" in failed("import threading\nthreading.Thread(target=print).start()")
    assert failed("import subprocess\nsubprocess.run(['/usr/bin/env'])").startswith("BlockingIOError")


def test_a_memory_hog_is_stopped():
    assert failed("rows = []\nwhile True:\n    rows.append(bytearray(1 << 24))") == "MemoryError"


def test_an_endless_loop_runs_out_of_cpu_time():
    assert "CPU time" in failed("while True:\n    pass", Limits(seconds=120, cpu_seconds=1))


def test_a_program_that_only_waits_is_stopped_by_the_clock():
    assert run_python("import time\ntime.sleep(1000)", Limits(seconds=1)).ending == "time"


def test_a_program_that_prints_too_much_is_stopped():
    found = run_python("while True:\n    print('x' * 1000)", Limits(seconds=120, output_bytes=5000))
    assert found.ending == "output"
    assert len(found.output) == 5000


def test_large_files_and_many_files_are_refused():
    assert "File too large" in failed("open('f', 'wb').write(b'x' * (2 << 20))")
    assert "No space left" in failed("for i in range(100):\n    open(str(i), 'wb').write(b'x' * (1 << 19))")


def test_the_environment_is_empty(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("OPENAI_API_KEY", "secret")
    found = run_python("import os\nprint(sorted(set(os.environ) - {'LC_CTYPE'}))", LONG)  # which Python itself sets
    assert found.output == "[]\n"


def test_a_secret_of_the_user_cannot_be_read(tmp_path: Path):
    secret = tmp_path / "secret.txt"
    secret.write_text("key")
    assert failed(f"open({str(secret)!r})").startswith("FileNotFoundError")
    for place in ("/etc/passwd", "/proc/1/environ", str(Path.home() / ".ssh")):
        assert failed(f"import os\nos.stat({place!r})").startswith("FileNotFoundError")


def test_a_secret_in_an_open_file_cannot_be_read(tmp_path: Path):
    secret = tmp_path / "secret.txt"
    secret.write_text("key")
    with secret.open() as file:
        os.set_inheritable(file.fileno(), True)
        found = run_python(
            "import os\nfiles = []\nfor i in range(64):\n    try:\n        os.fstat(i)\n        files.append(i)\n"
            "    except OSError:\n        pass\nprint(files)",
            LONG,
        )
    assert found.output == "[0, 1, 2]\n"


@pytest.mark.parametrize("place", ["/f", "/usr/f", "/lib/f", os.path.realpath(sys.base_prefix) + "/f"])
def test_nothing_can_be_written_outside_the_working_folder(place: str):
    assert "Read-only file system" in failed(f"open({place!r}, 'w')")
    assert not Path(place).exists()


def test_the_working_folder_is_gone_afterwards_and_new_each_time():
    assert run_python("open('note', 'w').write('x')", LONG).ending == "passed"
    assert failed("open('note')").startswith("FileNotFoundError")


def test_it_has_no_privileges_and_gets_none():
    found = run_python(
        "import os, ctypes\nlibc = ctypes.CDLL(None)\n"
        "print(os.getuid(), libc.mount(b'none', b'/', None, 4096, None), libc.sethostname(b'x', 1), "
        "libc.unshare(0x10000000 | 0x20000), libc.chroot(b'/'), libc.setuid(0))",
        LONG,
    )
    assert found.output == "1000 -1 -1 -1 -1 -1\n"


def test_processes_outside_can_be_neither_seen_nor_ended():
    assert run_python("import os\nprint(os.getpid())\nos.kill(1, 9)", LONG).output == "2\n"
    assert failed(f"import os\nos.kill({os.getpid()}, 0)").startswith("ProcessLookupError")
    assert failed("import os\nos.kill(-1, 9)") == "ProcessLookupError: [Errno 3] No such process"


def test_nothing_is_left_running():
    run_python("import time\ntime.sleep(1000)", Limits(seconds=1))
    for process in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            assert b"jail.py\0" not in process.read_bytes() or _parent(process) != os.getpid()
        except OSError:
            continue


def _parent(cmdline: Path) -> int:
    return int(cmdline.with_name("stat").read_text().rpartition(")")[2].split()[1])


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

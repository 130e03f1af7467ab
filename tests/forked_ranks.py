"""Several processes of one run by forking this one, as torchrun would start them: torch is imported already."""

import os
import sys
import traceback
from collections.abc import Callable, Sequence
from functools import cache
from pathlib import Path

from torch.distributed import TCPStore
from torch.distributed.device_mesh import DeviceMesh

from haloes.errors import exit_code
from haloes.readable import readable
from haloes.training.process_group import ProcessGroup


@cache
def mesh_of(group: ProcessGroup) -> DeviceMesh:
    """
    Return the processes as those that share weights, once for all models of a process, as a run has it.

    Each mesh has connections of its own, and of dozens of them gloo's threads were once seen to crash.
    """
    return group.mesh()


def begun(work: Callable[[], object], *, said: Path | None = None, **environment: str) -> int:
    """Do the work in a process of its own, and return its number; what it prints goes into a file, if one is given."""
    child = os.fork()
    if child:
        return child
    os.environ.update(environment)
    if said is not None:
        file = os.open(said, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
        os.dup2(file, 1)
        os.dup2(file, 2)
    code = 0
    try:
        work()
    except SystemExit as ended_with:
        code = int(ended_with.code or 0)
    except BaseException as error:
        code = exit_code(error)
        if code == 1:
            traceback.print_exc()
        else:
            print(readable(f"{type(error).__name__}: {error}"), file=sys.stderr)
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)


def ended(child: int) -> int:
    """Wait for a process, and return its exit code; negative for the signal that killed it."""
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


_STORES: list[TCPStore] = []


def begun_together(work: Callable[[], object], count: int, *, said: Path | None = None) -> list[int]:
    """Do the work in several processes of one run, and return their numbers; this process has their store."""
    _STORES.append(TCPStore("127.0.0.1", 0, is_master=True, wait_for_workers=False))
    place = {
        "MASTER_ADDR": "127.0.0.1",
        "MASTER_PORT": str(_STORES[-1].port),
        "TORCHELASTIC_USE_AGENT_STORE": "True",
        "TORCHELASTIC_RUN_ID": "forked",
        "WORLD_SIZE": str(count),
        "GLOO_SOCKET_IFNAME": "lo",
    }
    return [begun(work, said=said, **place, RANK=str(rank), LOCAL_RANK=str(rank)) for rank in range(count)]


def together(work: Callable[[], object], count: int, *, said: Path | None = None) -> Sequence[int]:
    """Do the work in several processes of one run, and return their exit codes."""
    return [ended(child) for child in begun_together(work, count, said=said)]

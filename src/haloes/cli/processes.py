"""What `haloes train` and `haloes resume` do where several processes are to share a run: start themselves in each."""

import os
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from haloes.cli.flags import ProcessOptions
from haloes.errors import ConfigError
from haloes.run_files import is_run
from haloes.runs.launched import is_launched, num_restarts

if TYPE_CHECKING:
    from haloes.progress.contract import Progress


def starts_others(how: ProcessOptions) -> bool:
    """Return whether this process has to start those that do the work. Raises ConfigError for what cannot be meant."""
    for name, value, least in (
        ("--processes", how.processes, 1),
        ("--nodes", how.nodes, 1),
        ("--node-rank", how.node_rank, 0),
        ("--max-restarts", how.max_restarts, 0),
    ):
        if value < least:
            raise ConfigError(f"{name} must be at least {least}, got {value}")
    if how.node_rank >= how.nodes:
        raise ConfigError(f"--node-rank {how.node_rank}: of {how.nodes} machines the last is {how.nodes - 1}")
    if (how.rendezvous is None) != (how.nodes == 1):
        raise ConfigError("several machines take --nodes N, --node-rank and --rendezvous HOST:PORT of machine 0")
    several = how.processes * how.nodes > 1
    if several and "TORCHELASTIC_RUN_ID" in os.environ and not is_launched():
        raise ConfigError("torchrun has started several processes already: leave out --processes and --nodes")
    if how.max_restarts and not several:
        raise ConfigError("--max-restarts needs --processes: there is nobody to start a single process again")
    return several and not is_launched()


def start(
    command: Sequence[str],
    how: ProcessOptions,
    run_dir: Path,
    *,
    options: Mapping[str, Any],
    settings: Sequence[str],
) -> int:
    """
    Carry a command out in several processes of its own, and return the exit code of all.

    Args:
        command: its name, and its first argument where there is one.
        how: how many, and where.
        run_dir: the run's folder.
        options: its options by their names as parameters; None stands for one that was not given.
        settings: those of --set.

    Raises:
        UserError: they cannot be started, or all of them were killed.
    """
    from haloes.runs.launch import launch  # here, as it brings torch in
    from haloes.runs.machines import Machines

    host, port = ("127.0.0.1", 0) if how.rendezvous is None else _place(how.rendezvous)
    machines = Machines(count=how.nodes, index=how.node_rank, host=host, port=port)
    # With --processes too, which the run's folder then tells; who is started knows that it was.
    given = {**options, "processes": how.processes}
    if how.nodes > 1:
        given |= {"nodes": how.nodes, "node_rank": how.node_rank, "rendezvous": how.rendezvous}
    arguments = [*command, *as_arguments(given), *(f"--set={each}" for each in settings)]
    return launch(
        [sys.executable, "-m", "haloes", *arguments], how.processes, machines, run_dir, max_restarts=how.max_restarts
    )


def goes_on(out: Path | None, progress: "Progress") -> bool:
    """Return whether all processes were started again and their run, in this folder, has to go on."""
    if not (num_restarts() and out is not None and is_run(out)):
        return False
    if os.environ.get("RANK") == "0":
        progress.note(f"a process was killed: start {num_restarts() + 1}, from the newest checkpoint")
    return True


def as_arguments(options: Mapping[str, Any]) -> Iterator[str]:
    """Yield options as a command line has them: a name and a value, or the name of a flag that is set."""
    for name, value in options.items():
        flag = f"--{name.replace('_', '-')}"
        if value is True:
            yield flag
        elif value is not None and value is not False:
            # In one word: a value may begin with a dash.
            yield f"{flag}={value}"


def _place(rendezvous: str) -> tuple[str, int]:
    """Return host and port. Raises ConfigError where it is not HOST:PORT."""
    host, _, port = rendezvous.rpartition(":")
    if not (host and port.isascii() and port.isdigit() and 0 < int(port) < 2**16):
        raise ConfigError(f"--rendezvous must be HOST:PORT, such as node0:29400, got {rendezvous}")
    return host.strip("[]"), int(port)

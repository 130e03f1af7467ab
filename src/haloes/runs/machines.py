"""The machines that a run's processes are on, and how those who start them meet: at a store that the first one has."""

import socket
import time
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass

from torch.distributed import TCPStore  # type: ignore[attr-defined]  # it is in the documentation
from torch.distributed.distributed_c10d import PrefixStore, Store
from torch.distributed.elastic.rendezvous import RendezvousHandler, RendezvousInfo, RendezvousStoreInfo

from haloes.errors import ConfigError, RunError

_RUN_ID, _REFUSED = "haloes", "refused"
_MEETING = 10 * 60.0
"""Seconds that a machine waits for the others."""
_PAUSE = 0.2


@dataclass(frozen=True, slots=True, kw_only=True)
class Machines:
    """This machine among those of a run; alone if nothing is given."""

    count: int = 1
    index: int = 0
    host: str = "127.0.0.1"
    """The first machine, as the others call it."""
    port: int = 0
    """0 takes a free one, which does where there is one machine."""


class Meeting(RendezvousHandler):
    """Where torch's agents of all machines meet; they come here again when the processes are started again."""

    def __init__(self, machines: Machines, processes: int) -> None:
        """Open the store, or connect with that of the first machine. Raises RunError where that cannot be."""
        self.machines, self.num_starts = machines, 0
        self._processes = processes
        self.store = _open_store(machines) if machines.index == 0 else _connect(machines)

    def next_rendezvous(self) -> RendezvousInfo:
        """Return the place of this machine once all are there. Raises RunError where they do not come, or differ."""
        store = PrefixStore(f"{_RUN_ID}/start {self.num_starts}", self.store)
        self.num_starts += 1
        _meet(store, self.machines, self._processes)
        place = RendezvousStoreInfo(self.machines.host, self.store.port)
        return RendezvousInfo(store, self.machines.index, self.machines.count, place)

    @property
    def use_agent_store(self) -> bool:
        """Return True: the processes take the same store."""
        return True

    def get_backend(self) -> str:
        """Return a name for torch's log."""
        return "haloes"

    def get_run_id(self) -> str:
        """Return the same on all machines."""
        return _RUN_ID

    def is_closed(self) -> bool:
        """Return False: who ends early says so in the store."""
        return False

    def set_closed(self) -> None:
        """Do nothing."""

    def num_nodes_waiting(self) -> int:
        """Return 0: no machine joins later."""
        return 0

    def shutdown(self) -> bool:
        """Do nothing: the store ends with this process."""
        return True


def _open_store(machines: Machines) -> TCPStore:
    """Return the store of the first machine; where there is no other one, it listens on 127.0.0.1 alone."""
    listening = socket.socket()
    try:
        listening.bind(("127.0.0.1" if machines.count == 1 else "", machines.port))
        listening.listen()
    except OSError as error:
        listening.close()
        raise RunError(
            f"port {machines.port} of this machine cannot be taken ({error.strerror}); give another one on all machines"
        ) from error
    port = listening.getsockname()[1]
    return TCPStore(machines.host, port, is_master=True, wait_for_workers=False, master_listen_fd=listening.detach())


def _connect(machines: Machines) -> TCPStore:
    """Return the first machine's store, as soon as it is there."""

    def is_there() -> bool:
        try:
            with closing(socket.create_connection((machines.host, machines.port), timeout=2)):
                return True
        except OSError:
            return False

    # torch would wait deaf to signals.
    _wait(
        is_there,
        f"the first machine does not answer at {machines.host}:{machines.port}; is it the one with --node-rank 0?",
    )
    return TCPStore(machines.host, machines.port, is_master=False)


def _meet(store: Store, machines: Machines, processes: int) -> None:
    """Wait for all machines. Raises ConfigError, on all of them, where two say the same number or do not agree."""
    mine, host = f"--nodes {machines.count} --processes {processes}", socket.gethostname()
    # The first to come decides; who differs from it tells all.
    agreed = store.compare_set("all say", "", mine).decode()
    if agreed != mine:
        store.set(_REFUSED, f"{host} says {mine}, and another machine {agreed}; give the same on all")
    me = f"{host} {time.time_ns()}"
    if store.compare_set(f"machine {machines.index}", "", me).decode() != me:
        store.set(_REFUSED, f"two machines say --node-rank {machines.index}: give each a number of its own, from 0")

    def are_there() -> bool:
        # In this order: who does not agree says so before it says that it is there.
        there = bool(store.check([f"machine {index}" for index in range(machines.count)]))
        if store.check([_REFUSED]):
            raise ConfigError(store.get(_REFUSED).decode())
        return there

    _wait(are_there, "not all machines have come: is the command started on each of them?")


def _wait(is_so: Callable[[], bool], otherwise: str) -> None:
    """Wait until something is so, open to signals. Raises RunError after ten minutes."""
    until = time.monotonic() + _MEETING
    while not is_so():
        if time.monotonic() > until:
            raise RunError(f"waited for {_MEETING / 60:.0f} minutes: {otherwise}")
        time.sleep(_PAUSE)

"""Processes that wait on a machine before modules come, so that none has to be made for each of them."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING

from kmod_emu.user.memory import UserMappings

if TYPE_CHECKING:
    from collections.abc import Iterator

    from kmod_emu.api import Kernel
    from kmod_emu.user.process import Process


class Standing:
    """Root's processes of some names; snapshots taken from here on have them all.

    Args:
        kernel: The machine.
        rooms: By name, how many bytes of memory each has for what its system calls are given.
    """

    def __init__(self, kernel: Kernel, rooms: dict[str, int]) -> None:
        self._kernel = kernel
        self._processes = {comm: kernel.process(comm=comm) for comm in rooms}
        for comm, process in self._processes.items():
            process.scratch = process.memory.map(rooms[comm]), rooms[comm]
        self._kept = {process: (process.pid, process.scratch) for process in self._processes.values()}

    @contextmanager
    def __call__(self, *, uid: int = 0, comm: str) -> Iterator[Process]:
        """One of them, to make system calls; it ends if it cannot make any more."""
        assert uid == 0
        process, kernel = self._processes[comm], self._kernel
        pid, process.scratch = self._kept[process]
        process.task = kernel.tasks.by_pid[pid]  # another object, if it has been back from the dead
        process.memory = UserMappings(process.task)
        try:
            yield process
        finally:
            if process.task.dead or process.task.activations:
                process.exit()

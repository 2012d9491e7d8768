"""The kernel asks for a module: request_module() and the modprobe it starts (kernel/kmod.c)."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

from kmod_emu.errors import Killed
from kmod_emu.kernel.activation import Block
from kmod_emu.kernel.clock import NSEC_PER_SEC
from kmod_emu.kernel.exports import export
from kmod_emu.kernel.vsprintf import vsnprintf
from kmod_emu.module.modules import MODULE_NAME_LEN
from kmod_emu.uapi import errno

if TYPE_CHECKING:
    from collections.abc import Callable

    from kmod_emu.kernel.kernel import KernelCore
    from kmod_emu.kernel.tasks import Task
    from kmod_emu.kernel.vsprintf import Arguments

MAX_KMOD_CONCURRENT = 50
MAX_KMOD_ALL_BUSY_TIMEOUT = 5  # seconds
_PROGRAMS = ("/sbin/modprobe", "/usr/sbin/modprobe")
_NOT_FOUND = 1 << 8  # the status of a process that exits with 1
_WARNING = 4


class Kmod:
    """What starts modprobe, and how many of them run.

    Args:
        kernel: The machine.
        spawn: Starts a modprobe of the given module or alias; the task whose result is its wait status.

    Attributes:
        directory: Where the machine's modules are, None if it has none.
    """

    def __init__(
        self, kernel: KernelCore, spawn: Callable[[str], Task], directory: str | None = None
    ) -> None:
        self._kernel = kernel
        self._spawn = spawn
        self.directory = directory
        self._running = 0
        self._waiting: list[Task] = []
        kernel.request_module = self.request

    async def request(self, name: str, *, wait: bool = True) -> int:
        """__request_module() after its name is formatted: 0, a negative errno, or modprobe's wait status.

        Args:
            name: Module or alias.
            wait: Until modprobe has ended; else only until it has begun.
        """
        kernel = self._kernel
        if not kernel.sysctl["modprobe"]:
            return -errno.ENOENT
        if len(os.fsencode(name)) >= MODULE_NAME_LEN:
            return -errno.ENAMETOOLONG
        asker = kernel.sched.current
        kernel.events.emit("request_module", name=name, wait=wait, comm=asker.comm, pid=asker.pid)
        if self._running >= MAX_KMOD_CONCURRENT and not await self._throttle(name):
            return -errno.ETIME
        self._running += 1
        result = await self._call_modprobe(name, wait)
        self._running -= 1
        if self._waiting:
            kernel.sched.wake(self._waiting.pop(0), True)
        kernel.events.emit("request_module_result", name=name, result=result, wait=wait)
        return result

    async def _throttle(self, name: str) -> bool:
        """Wait until fewer modprobes run; False if that takes too long."""
        self._warn(
            f"request_module: kmod_concurrent_max (0) close to 0 (max_modprobes: {MAX_KMOD_CONCURRENT}), "
            f"for module {name}, throttling..."
        )
        sched, task = self._kernel.sched, self._kernel.sched.current
        self._waiting.append(task)

        def give_up() -> None:
            if task in self._waiting:
                self._waiting.remove(task)
                sched.wake(task, False)

        sched.at(self._kernel.clock.now_ns + MAX_KMOD_ALL_BUSY_TIMEOUT * NSEC_PER_SEC, give_up)
        in_time: bool = await Block()
        if not in_time:
            self._warn(
                f"request_module: modprobe {name} cannot be processed, kmod busy with {MAX_KMOD_CONCURRENT} "
                f"threads for more than {MAX_KMOD_ALL_BUSY_TIMEOUT} seconds now"
            )
        return in_time

    async def _call_modprobe(self, name: str, wait: bool) -> int:
        kernel = self._kernel
        if kernel.sysctl["modprobe"] not in _PROGRAMS:
            return -errno.ENOENT
        if self.directory is None:
            return _NOT_FOUND if wait else 0
        modprobe, asker = self._spawn(name), kernel.sched.current
        if not wait:
            return 0
        modprobe.watchers.append(lambda: kernel.sched.wake(asker))
        while not modprobe.finished:
            await Block()
        try:
            return int(modprobe.take_result())
        except Killed as death:
            return death.signal

    def _warn(self, text: str) -> None:
        self._kernel.printk.emit(f"{text}\n", _WARNING)

    def save(self) -> Any:
        """State for a snapshot or file."""
        return {"directory": self.directory}

    def load(self, state: Any) -> None:
        """Put saved state back."""
        self.directory = state["directory"]
        self._running = 0
        self._waiting.clear()


@export("int __request_module(bool wait, const char *fmt, ...)")
async def __request_module(kernel: KernelCore, wait: int, fmt: bytes, args: Arguments) -> int:
    """Have user space load a module by its name or an alias (kernel/kmod.c)."""
    name = vsnprintf(fmt, args, kernel.format_context)
    return await kernel[Kmod].request(os.fsdecode(name), wait=bool(wait))

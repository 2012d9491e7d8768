"""The modprobe that the kernel starts: `/sbin/modprobe -q -- NAME`.

It knows the module directory and what lies in it, and no modprobe.d: what a machine loads does not depend on
the computer that it runs on.
"""

from __future__ import annotations

from contextlib import nullcontext
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from kmod_emu.errors import KernelError, Killed
from kmod_emu.fs.open import exit_files
from kmod_emu.kernel.syscalls import do_syscall, number_of
from kmod_emu.kmod import probe
from kmod_emu.kmod.config import read_config
from kmod_emu.kmod.console import Console
from kmod_emu.kmod.context import Context
from kmod_emu.kmod.errors import ToolError
from kmod_emu.module.kmod import Kmod
from kmod_emu.uapi import errno
from kmod_emu.uapi.fcntl import O_RDONLY
from kmod_emu.user.process import Process
from kmod_emu.user.syscalls_file import memfd

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from kmod_emu.kernel.kernel import KernelCore
    from kmod_emu.kernel.tasks import Task
    from kmod_emu.kmod.config import Config
    from kmod_emu.kmod.files import ModuleFile

    Load = Callable[[ModuleFile, str, int], Awaitable[int]]

_EXIT_STATUS = 8  # bits below the exit status in what wait(2) gives


class Quiet(Console):
    """A console that nobody sees, on the machine that it runs on."""

    def __init__(self) -> None:
        super().__init__("modprobe", nullcontext, Path())

    def out(self, text: str) -> None:
        """Nothing."""

    def err(self, text: str) -> None:
        """Nothing."""


def spawn(kernel: KernelCore, name: str) -> Task:
    """Start modprobe; its task, whose result is its wait status, is gone soon after it has ended."""
    process = Process(kernel, comm="modprobe")
    kernel.sched.start(process.task, _modprobe(kernel, process, name))
    process.task.watchers.append(lambda: kernel.sched.at(kernel.clock.now_ns, partial(_bury, process)))
    return process.task


def _bury(process: Process) -> None:
    """Free the task of a process that has ended; one that an oops killed stays, as everywhere."""
    if not process.task.dead:
        process.kernel.tasks.exit(process.task)
        process.task.dead = True


async def _modprobe(kernel: KernelCore, process: Process, name: str) -> int:
    """What the process does."""

    async def load(file: ModuleFile, params: str, flags: int) -> int:
        text = process.put(params.encode("utf-8", "surrogateescape") + b"\0")
        if file.compressed:
            return await load_by(kernel, "init_module", process.put(file.image), len(file.image), text)
        fd = await memfd(kernel, "", O_RDONLY, file.image)
        return await load_by(kernel, "finit_module", fd, text, flags)

    directory = kernel[Kmod].directory or ""
    error = await insert(kernel, read_config(directory, (), "", lambda text: None), Quiet(), name, load)
    await exit_files(kernel, process.task)
    return bool(error) << _EXIT_STATUS


async def insert(
    kernel: KernelCore, config: Config, console: Console, name: str, load: Load, params: str = ""
) -> int:
    """Load what a name means from the machine's module directory; 0 or an errno."""
    options = probe.Options(level=0)
    log = probe.Log(console, options, kernel)
    context = Context(kernel[Kmod].directory or "", config, log.library)
    try:
        return await probe.Prober(console, kernel, context, options, log, load).insert(name, params)
    except ToolError:  # a damaged index: its message has nobody to read it
        return errno.EINVAL


async def load_by(kernel: KernelCore, call: str, *arguments: int) -> int:
    """A system call that loads a module: 0 or an errno."""
    try:
        await do_syscall(kernel, number_of(call, kernel), arguments)
    except Killed:
        raise
    except KernelError as error:
        return error.errno
    return 0

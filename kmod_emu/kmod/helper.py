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
    from kmod_emu.kernel.kernel import KernelCore
    from kmod_emu.kernel.tasks import Task
    from kmod_emu.kmod.files import ModuleFile

_EXIT_STATUS = 8  # bits below the exit status in what wait(2) gives


class _Quiet(Console):
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
            call, first, second = "init_module", process.put(file.image), len(file.image)
            arguments = first, second, text
        else:
            fd = await memfd(kernel, "", O_RDONLY, file.image)
            call, arguments = "finit_module", (fd, text, flags)
        try:
            await do_syscall(kernel, number_of(call), arguments)
        except Killed:
            raise
        except KernelError as error:
            return error.errno
        return 0

    directory = kernel[Kmod].directory or ""
    config = read_config(directory, (), "", lambda text: None)
    options = probe.Options(level=0)
    console = _Quiet()
    log = probe.Log(console, options, kernel)
    prober = probe.Prober(console, kernel, Context(directory, config, log.library), options, log, load)
    try:
        error = await prober.insert(name)
    except ToolError:  # a damaged index: its message has nobody to read it
        error = errno.EINVAL
    await exit_files(kernel, process.task)
    return bool(error) << _EXIT_STATUS

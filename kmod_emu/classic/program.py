"""Programs of the time, written in Python: what they know of the kernel, they ask by system calls."""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING

from kmod_emu.classic.structs import INFO, QM_INFO, QM_MODULES, SYMBOL, Info
from kmod_emu.errors import KernelError
from kmod_emu.kernel.syscalls import do_syscall, number_of
from kmod_emu.kmod.errors import ToolError
from kmod_emu.uapi import errno

if TYPE_CHECKING:
    from collections.abc import Coroutine
    from typing import Any

    from kmod_emu.kernel.kernel import KernelCore
    from kmod_emu.user.process import Process

_U64 = struct.Struct("<Q")
_FIRST_GUESS = 256


class Program:
    """A process that runs a Python coroutine, from where it enters the kernel.

    Args:
        process: Its memory and its task, which the coroutine must be the work of.
    """

    def __init__(self, process: Process) -> None:
        self.process = process
        self.kernel: KernelCore = process.kernel

    def tell(self, event: str, /, **detail: Any) -> None:
        """Say what the program does, to whoever listens."""
        self.kernel.events.emit(event, **detail)

    async def call(self, name: str, *arguments: int) -> int:
        """A system call: its result.

        Raises:
            KernelError: The errno it fails with.
        """
        return await do_syscall(self.kernel, number_of(name, self.kernel), arguments)

    def text(self, string: str) -> int:
        """Address of a NUL-terminated copy in user memory."""
        return self.process.put(string.encode("utf-8", "surrogateescape") + b"\0")

    async def query(self, name: str | None, which: int) -> tuple[bytes, int]:
        """query_module(2), again with more room while that is asked for: the answer and its length.

        Raises:
            KernelError: As the call fails, but ENOSPC.
        """
        name_at = self.text(name) if name is not None else 0
        size, ret = _FIRST_GUESS, self.process.put(bytes(8))
        while True:
            buf = self.process.put(bytes(size))
            try:
                await self.call("query_module", name_at, which, buf, size, ret)
            except KernelError as error:
                if error.errno != errno.ENOSPC:
                    raise
                self.process.memory.unmap(buf)
                size = _U64.unpack(self.process.get(ret, 8))[0]
                continue
            length = _U64.unpack(self.process.get(ret, 8))[0]
            return self.process.get(buf, size), length

    async def module_names(self) -> list[str]:
        """Names of the modules, newest first."""
        return _names(await self.query(None, QM_MODULES))

    async def names(self, name: str, which: int) -> list[str]:
        """Names of the modules that use a module, or that it uses: QM_REFS, QM_DEPS."""
        return _names(await self.query(name, which))

    async def symbols(self, name: str | None, which: int) -> list[tuple[int, str]]:
        """Value and name of what a module exports, or the kernel: QM_SYMBOLS."""
        answer, count = await self.query(name, which)
        found = []
        for index in range(count):
            value, offset = SYMBOL.unpack_from(answer, SYMBOL.size * index)
            found.append(
                (value, answer[offset : answer.index(b"\0", offset)].decode("utf-8", "surrogateescape"))
            )
        return found

    async def info(self, name: str) -> Info:
        """Address, size, flags and use count of a module."""
        answer, _ = await self.query(name, QM_INFO)
        return Info(*INFO.unpack_from(answer))


def execute(process: Process, work: Coroutine[Any, Any, Any]) -> Any:
    """Run a program's coroutine as the work of its process; what it returned.

    Raises:
        ToolError: The program's own error.
        KernelError: Of a system call that the program did not expect to fail.
    """

    async def guarded() -> tuple[Any, ToolError | None]:
        try:
            return await work, None
        except ToolError as error:  # nothing that a scheduler knows
            return None, error

    result, error = process.kernel.sched.run(process.task, guarded())
    if error is not None:
        raise error
    return result


def _names(answer: tuple[bytes, int]) -> list[str]:
    text, count = answer
    return [raw.decode("utf-8", "surrogateescape") for raw in text.split(b"\0")[:count]]

"""Open files and the descriptor tables of processes (include/linux/fs.h, fs/file.c)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from kmod_emu.errors import KernelError
from kmod_emu.uapi import errno
from kmod_emu.uapi.fcntl import O_ACCMODE, O_RDONLY, O_WRONLY

if TYPE_CHECKING:
    from kmod_emu.fs.tree import Node
    from kmod_emu.kernel.tasks import Task


class File:
    """An open file: contents as of `open`, and where writes go.

    Attributes:
        regular: Whether it is a regular file (what finit_module accepts).
        writers: How many have the file's contents open for writing.
    """

    def __init__(self, flags: int, data: bytes, node: Node | None = None) -> None:
        self.flags, self.data, self.node = flags, data, node
        self.position = 0
        self.regular = node is None or node.children is None
        self.writers = 0

    @property
    def readable(self) -> bool:
        """Whether it is open for reading."""
        return self.flags & O_ACCMODE != O_WRONLY

    @property
    def writable(self) -> bool:
        """Whether it is open for writing."""
        return self.flags & O_ACCMODE != O_RDONLY


class FileTable:
    """The descriptors of all processes, by pid; they do not outlive the process, nor a saved machine."""

    def __init__(self) -> None:
        self._files: dict[int, dict[int, File]] = {}

    def install(self, task: Task, file: File) -> int:
        """The lowest free descriptor for a file; 0 to 2 are taken."""
        table = self._files.setdefault(task.pid, {})
        fd = next(number for number in range(3, 1 << 20) if number not in table)
        table[fd] = file
        return fd

    def get(self, task: Task, fd: int) -> File:
        """The open file of a descriptor; EBADF if there is none."""
        file = self._files.get(task.pid, {}).get(_signed(fd))
        if file is None:
            raise KernelError(errno.EBADF, f"{_signed(fd)} is no open file descriptor")
        return file

    def close(self, task: Task, fd: int) -> None:
        """Forget a descriptor; EBADF if there is none."""
        self.get(task, fd)
        del self._files[task.pid][_signed(fd)]

    def forget(self, task: Task) -> None:
        """The process is gone."""
        self._files.pop(task.pid, None)

    def save(self) -> None:
        """Nothing: see the class."""

    def load(self, state: object) -> None:
        """Nothing: see the class."""
        self._files.clear()


def _signed(value: int) -> int:
    value &= 0xFFFF_FFFF
    return value - (1 << 32) if value >> 31 else value

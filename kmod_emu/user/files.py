"""Open files and file descriptors (fs/open.c, fs/read_write.c), of virtual and in-memory files so far."""

from __future__ import annotations

import errno
import os
from typing import TYPE_CHECKING, Any

from kmod_emu.errors import KernelError
from kmod_emu.fs.tree import FileTree, Node
from kmod_emu.kernel.syscalls import syscall

if TYPE_CHECKING:
    from kmod_emu.kernel.kernel import KernelCore
    from kmod_emu.kernel.tasks import Task

PATH_MAX = 4096
MAX_RW_COUNT = 0x7FFF_F000
_O_ACCMODE = os.O_RDONLY | os.O_WRONLY | os.O_RDWR


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
        return self.flags & _O_ACCMODE != os.O_WRONLY

    @property
    def writable(self) -> bool:
        """Whether it is open for writing."""
        return self.flags & _O_ACCMODE != os.O_RDONLY


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


@syscall(2)
async def sys_open(kernel: KernelCore, filename: int, flags: int, mode: int = 0) -> int:
    """Open a path (fs/open.c: do_sys_openat2)."""
    task = kernel.sched.current
    path = _path(kernel, filename)
    node = kernel[FileTree].lookup(path)
    file = File(flags, b"", node)
    if node.children is not None:
        if file.writable:
            raise KernelError(errno.EISDIR, f"{path} is a directory")
        return kernel[FileTable].install(task, file)
    for wanted, bit, method in ((file.readable, 4, node.read), (file.writable, 2, node.write)):
        if wanted and not node.allows(task, bit):
            raise KernelError(errno.EACCES, f"uid {task.uid} may not open {path} this way")
        if wanted and (method is None or not node.permissions & bit * 0o111):
            raise KernelError(errno.EACCES, f"{path} cannot be opened this way, not even by root")
    if file.readable and node.read is not None:
        contents = await finished(node.read(task))
        file.data = contents.encode("utf-8", "surrogateescape") if isinstance(contents, str) else contents
    return kernel[FileTable].install(task, file)


async def finished(result: Any) -> Any:
    """What a function returned, or what its coroutine returns."""
    return await result if hasattr(result, "__await__") else result


def _path(kernel: KernelCore, address: int) -> str:
    try:
        raw = kernel.user.strndup(address, PATH_MAX)
    except KernelError as error:
        if error.errno == errno.EINVAL:
            raise KernelError(errno.ENAMETOOLONG, "the path is longer than 4095 bytes") from None
        raise
    if not raw:
        raise KernelError(errno.ENOENT, "the path is empty")
    return raw.decode("utf-8", "surrogateescape")


@syscall(3)
async def sys_close(kernel: KernelCore, fd: int) -> int:
    """Close a descriptor (fs/open.c)."""
    kernel[FileTable].close(kernel.sched.current, fd)
    return 0


@syscall(0)
async def sys_read(kernel: KernelCore, fd: int, buf: int, count: int) -> int:
    """Read at the file's position (fs/read_write.c)."""
    file = kernel[FileTable].get(kernel.sched.current, fd)
    if not file.readable:
        raise KernelError(errno.EBADF, "the descriptor is not open for reading")
    if not file.regular:
        raise KernelError(errno.EISDIR, "a directory cannot be read")
    data = file.data[file.position : file.position + min(count, MAX_RW_COUNT)]
    copied = kernel.user.write(buf, data)
    if data and not copied:
        raise KernelError(errno.EFAULT, f"the buffer at {buf:#x} is not writable")
    file.position += copied
    return copied


@syscall(1)
async def sys_write(kernel: KernelCore, fd: int, buf: int, count: int) -> int:
    """Write: one call of the file's writer, whatever the position (sysfs and sysctl files)."""
    task = kernel.sched.current
    file = kernel[FileTable].get(task, fd)
    if not file.writable:
        raise KernelError(errno.EBADF, "the descriptor is not open for writing")
    data = kernel.user.copy_from(buf, min(count, MAX_RW_COUNT))
    if data and file.node is not None and file.node.write is not None:
        await finished(file.node.write(task, data))
    return len(data)


@syscall(8)
async def sys_lseek(kernel: KernelCore, fd: int, offset: int, whence: int) -> int:
    """Move the position (fs/read_write.c)."""
    file = kernel[FileTable].get(kernel.sched.current, fd)
    if whence > 2:
        raise KernelError(errno.EINVAL, f"whence {whence} is none")
    if offset >> 63:
        offset -= 1 << 64
    position = offset + (0, file.position, len(file.data))[whence]
    if position < 0:
        raise KernelError(errno.EINVAL, "the position would be negative")
    file.position = position
    return position

"""System calls on files: open, close, read, write, lseek (fs/open.c, fs/read_write.c)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from kmod_emu.errors import KernelError
from kmod_emu.fs.files import File, FileTable
from kmod_emu.fs.tree import FileTree
from kmod_emu.kernel.syscalls import syscall
from kmod_emu.uapi import errno

if TYPE_CHECKING:
    from kmod_emu.kernel.kernel import KernelCore

PATH_MAX = 4096
MAX_RW_COUNT = 0x7FFF_F000


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
        taken = await finished(file.node.write(task, data))
        return len(data) if taken is None else int(taken)
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

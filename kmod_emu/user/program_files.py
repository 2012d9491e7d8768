"""What execve(2), fork(2) and exit(2) do with files."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from kmod_emu.errors import KernelError
from kmod_emu.fs.inode import MAY_EXEC, need
from kmod_emu.fs.open import filp_close
from kmod_emu.fs.vfs import Vfs
from kmod_emu.uapi import errno
from kmod_emu.uapi.stat import S_IFREG

if TYPE_CHECKING:
    from kmod_emu.fs.inode import Inode
    from kmod_emu.kernel.kernel import KernelCore
    from kmod_emu.kernel.tasks import Task


class ProgramFile(NamedTuple):
    """A file that may be executed: its contents, and the inode, whose owner the program may run as."""

    data: bytes
    inode: Inode


async def read_program(kernel: KernelCore, path: str) -> ProgramFile:
    """A file that may be executed (fs/exec.c: do_open_execat).

    Raises:
        KernelError: ENOENT, EACCES and what else a path can fail with.
    """
    task = kernel.sched.current
    inode = kernel[Vfs].walk(task, path).found.inode
    if not inode.is_type(S_IFREG):
        raise KernelError(errno.EACCES, f"{path} is no regular file")
    if not inode.mode & 0o111:
        raise KernelError(errno.EACCES, f"{path} is not executable, not even for root")
    need(task, inode, MAY_EXEC, path)
    if inode.writers > 0:
        raise KernelError(errno.ETXTBSY, f"{path} is open for writing")
    data = inode.image
    if data is None:
        raise KernelError(errno.EACCES, f"{path} cannot be executed: its contents are computed")
    return ProgramFile(data, inode)


async def close_on_exec(kernel: KernelCore, task: Task) -> None:
    """Close what is marked, in a table of the task's own."""
    table = kernel[Vfs].unshare(task)
    for fd in sorted(table.close_on_exec):
        await filp_close(table.take(fd))

"""eventfd(2): a counter that processes wait for (fs/eventfd.c)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from kmod_emu.errors import KernelError
from kmod_emu.fs.anon_inodes import anonymous_file
from kmod_emu.fs.file import EPOLLIN, EPOLLOUT, EPOLLRDNORM, EPOLLWRNORM, FileOperations
from kmod_emu.fs.select import WaitQueue
from kmod_emu.kernel.syscalls import syscall
from kmod_emu.uapi import errno
from kmod_emu.uapi.fcntl import O_CLOEXEC, O_NONBLOCK, O_RDWR

if TYPE_CHECKING:
    from kmod_emu.fs.file import File, Position
    from kmod_emu.fs.select import Poll
    from kmod_emu.kernel.kernel import KernelCore

_SIZE, _MOST = 8, (1 << 64) - 2
_SEMAPHORE = 1


class EventFd(FileOperations):
    """What a descriptor of eventfd(2) can do."""

    def __init__(self, kernel: KernelCore, count: int, *, semaphore: bool) -> None:
        super().__init__(kernel)
        self._count, self._semaphore, self._queue = count, semaphore, WaitQueue()

    async def read(self, file: File, buf: int, count: int, pos: Position) -> int:
        """The counter, which is zero then; of a semaphore one."""
        if count < _SIZE:
            return -errno.EINVAL
        if not self._count:
            if file.flags & O_NONBLOCK:
                return -errno.EAGAIN
            await self._queue.wait(self.kernel, lambda: self._count > 0)
        taken = 1 if self._semaphore else self._count
        self._count -= taken
        self._queue.wake(self.kernel)
        copied = self.kernel.user.write(buf, taken.to_bytes(_SIZE, "little"))
        return _SIZE if copied == _SIZE else -errno.EFAULT

    async def write(self, file: File, buf: int, count: int, pos: Position) -> int:
        """Add to the counter; waits while it would overflow."""
        if count < _SIZE:
            return -errno.EINVAL
        value = int.from_bytes(self.kernel.user.copy_from(buf, _SIZE), "little")
        if value > _MOST:
            return -errno.EINVAL
        if self._count + value > _MOST:
            if file.flags & O_NONBLOCK:
                return -errno.EAGAIN
            await self._queue.wait(self.kernel, lambda: self._count + value <= _MOST)
        self._count += value
        self._queue.wake(self.kernel)
        return _SIZE

    async def llseek(self, file: File, offset: int, whence: int) -> int:
        """There is no position to move."""
        return 0

    async def poll(self, file: File, table: Poll, events: int) -> int:
        """Readable when it is not zero."""
        table.add(self._queue)
        readable = EPOLLIN | EPOLLRDNORM if self._count else 0
        return readable | (EPOLLOUT | EPOLLWRNORM if self._count < _MOST else 0)


@syscall(290)
async def sys_eventfd2(kernel: KernelCore, count: int, flags: int) -> int:
    """A descriptor of a counter."""
    flags &= 0xFFFF_FFFF
    if flags & ~(O_CLOEXEC | O_NONBLOCK | _SEMAPHORE):
        raise KernelError(errno.EINVAL)
    counter = EventFd(kernel, count & 0xFFFF_FFFF, semaphore=bool(flags & _SEMAPHORE))
    keep, cloexec = flags & O_NONBLOCK, bool(flags & O_CLOEXEC)
    return await anonymous_file(kernel, "[eventfd]", counter, O_RDWR | keep, cloexec=cloexec)


@syscall(284)
async def sys_eventfd(kernel: KernelCore, count: int) -> int:
    """Without flags."""
    return await sys_eventfd2(kernel, count, 0)

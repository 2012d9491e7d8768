"""Pipes and named pipes (fs/pipe.c)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from kmod_emu.errors import KernelError
from kmod_emu.fs.file import (
    EPOLLERR,
    EPOLLHUP,
    EPOLLIN,
    EPOLLOUT,
    EPOLLRDNORM,
    EPOLLWRNORM,
    FMODE_LSEEK,
    FMODE_PREAD,
    FMODE_PWRITE,
    FMODE_READ,
    FMODE_WRITE,
    FileOperations,
)
from kmod_emu.fs.inode import Dentry, Inode, SuperBlock
from kmod_emu.fs.select import WaitQueue
from kmod_emu.kernel.signal import send_signal
from kmod_emu.uapi import errno
from kmod_emu.uapi.fcntl import O_NONBLOCK, O_RDONLY, O_WRONLY
from kmod_emu.uapi.stat import S_IFIFO

if TYPE_CHECKING:
    from kmod_emu.fs.file import File, Position
    from kmod_emu.fs.select import Poll
    from kmod_emu.kernel.kernel import KernelCore

CAPACITY = 65536
PIPE_BUF = 4096
PIPEFS_MAGIC = 0x50495045

_SIGPIPE = 13


class Pipe:
    """Bytes on their way, and who holds the ends."""

    def __init__(self) -> None:
        self.data = bytearray()
        self.readers = self.writers = 0
        self.queue = WaitQueue()


class Pipes(FileOperations):
    """All pipes of the machine, and what an open end can do."""

    def __init__(self, kernel: KernelCore) -> None:
        super().__init__(kernel)
        self._fifos: dict[Inode, Pipe] = {}

    def create(self, dev: int) -> tuple[Dentry, Pipe]:
        """A pipe without a name."""
        sb = SuperBlock("pipefs", PIPEFS_MAGIC, dev)
        inode = Inode(sb, S_IFIFO | 0o600)
        inode.fop = self
        dentry = sb.root = Dentry(f"pipe:[{inode.ino}]", None, inode)
        return dentry, Pipe()

    async def open_fifo(self, file: File) -> int:
        """One end of a named pipe; waits for the other (fs/pipe.c: fifo_open)."""
        pipe = self._fifos.setdefault(file.inode, Pipe())
        self.attach(file, pipe)
        if file.mode & FMODE_READ and file.mode & FMODE_WRITE:
            return 0
        if file.flags & O_NONBLOCK:
            if file.mode & FMODE_WRITE and not pipe.readers:
                self._detach(file, pipe)
                file.op = self
                raise KernelError(errno.ENXIO, "nobody reads from the pipe")
            return 0
        await pipe.queue.wait(self.kernel, lambda: bool(pipe.readers and pipe.writers))
        return 0

    def attach(self, file: File, pipe: Pipe) -> None:
        """Make a file an end of a pipe."""
        file.op, file.private = self, pipe
        file.mode &= ~(FMODE_LSEEK | FMODE_PREAD | FMODE_PWRITE)
        pipe.readers += bool(file.mode & FMODE_READ)
        pipe.writers += bool(file.mode & FMODE_WRITE)
        pipe.queue.wake(self.kernel)

    def _detach(self, file: File, pipe: Pipe) -> None:
        pipe.readers -= bool(file.mode & FMODE_READ)
        pipe.writers -= bool(file.mode & FMODE_WRITE)
        file.private = None
        pipe.queue.wake(self.kernel)
        if not pipe.readers and not pipe.writers:
            self._fifos.pop(file.inode, None)

    async def release(self, file: File) -> None:
        """An end goes."""
        if isinstance(file.private, Pipe):
            self._detach(file, file.private)

    async def read(self, file: File, buf: int, count: int, pos: Position) -> int:
        """What is there; waits for something while anybody can write."""
        pipe = _pipe(file)
        if not count:
            return 0
        if not pipe.data and pipe.writers:
            if file.flags & O_NONBLOCK:
                return -errno.EAGAIN
            await pipe.queue.wait(self.kernel, lambda: bool(pipe.data) or not pipe.writers)
        copied = self.kernel.user.write(buf, bytes(pipe.data[:count]))
        if pipe.data and not copied:
            return -errno.EFAULT
        del pipe.data[:copied]
        pipe.queue.wake(self.kernel)
        return copied

    def _broken(self) -> int:
        """A pipe that nobody reads: a program gets a signal, Python only the error."""
        task = self.kernel.sched.current
        if task.takes_signals:
            send_signal(self.kernel, task, _SIGPIPE)
        return -errno.EPIPE

    async def write(self, file: File, buf: int, count: int, pos: Position) -> int:
        """All of it, waiting for room; at most PIPE_BUF bytes go at once or not at all."""
        pipe = _pipe(file)
        done = 0
        while done < count:
            if not pipe.readers:
                return done or self._broken()
            room = CAPACITY - len(pipe.data)
            if room < min(count - done, PIPE_BUF):
                if file.flags & O_NONBLOCK:
                    return done or -errno.EAGAIN
                try:
                    await pipe.queue.wait(
                        self.kernel, lambda: CAPACITY - len(pipe.data) >= PIPE_BUF or not pipe.readers
                    )
                except KernelError:  # a signal: what went, went
                    if done:
                        return done
                    raise
                continue
            data = self.kernel.user.read(buf + done, min(count - done, room))
            if not data:
                return done or -errno.EFAULT
            pipe.data += data
            done += len(data)
            pipe.queue.wake(self.kernel)
        return done

    async def ioctl(self, file: File, cmd: int, arg: int) -> int:
        """FIONREAD."""
        if cmd != 0x541B:
            return -errno.ENOTTY
        size = len(_pipe(file).data).to_bytes(4, "little")
        return 0 if self.kernel.user.write(arg, size) == 4 else -errno.EFAULT

    async def poll(self, file: File, table: Poll, events: int) -> int:
        """What it is ready for."""
        pipe, mask = _pipe(file), 0
        table.add(pipe.queue)
        if file.mode & FMODE_READ:
            mask |= EPOLLIN | EPOLLRDNORM if pipe.data else 0
            mask |= 0 if pipe.writers else EPOLLHUP
        if file.mode & FMODE_WRITE:
            mask |= EPOLLOUT | EPOLLWRNORM if len(pipe.data) < CAPACITY else 0
            mask |= 0 if pipe.readers else EPOLLERR
        return mask


def _pipe(file: File) -> Pipe:
    assert isinstance(file.private, Pipe)
    return file.private


def ends(kernel: KernelCore, pipes: Pipes, dev: int, flags: int) -> tuple[Dentry, Pipe, int, int]:
    """What pipe(2) opens: the inode, the pipe and the flags of both ends."""
    dentry, pipe = pipes.create(dev)
    keep = flags & O_NONBLOCK
    return dentry, pipe, O_RDONLY | keep, O_WRONLY | keep

"""What programs find at descriptors 0 to 2: bytes held by Python, or streams and the terminal of the host."""

from __future__ import annotations

import os
import struct
from typing import TYPE_CHECKING

from kmod_emu.errors import KernelError
from kmod_emu.fs.file import (
    EPOLLIN,
    EPOLLOUT,
    EPOLLRDNORM,
    EPOLLWRNORM,
    FMODE_CAN_READ,
    FMODE_CAN_WRITE,
    FMODE_OPENED,
    File,
    FileOperations,
    Position,
    copy_out,
)
from kmod_emu.fs.inode import Dentry, Inode
from kmod_emu.fs.vfs import Vfs
from kmod_emu.uapi import errno
from kmod_emu.uapi.fcntl import O_RDONLY, O_RDWR, O_WRONLY
from kmod_emu.uapi.stat import S_IFCHR, S_IFIFO, mkdev
from kmod_emu.user.programs import Programs
from kmod_emu.user.signals import SIGPIPE, send

if TYPE_CHECKING:
    from collections.abc import Sequence

    from kmod_emu.fs.select import Poll
    from kmod_emu.kernel.kernel import KernelCore
    from kmod_emu.kernel.tasks import Task

_TCGETS, _TCSETSF, _TIOCGWINSZ = 0x5401, 0x5404, 0x5413
TIOCGPGRP, TIOCSPGRP, _FIONREAD = 0x540F, 0x5410, 0x541B
TERMIOS_SIZE = 36
_REQUESTS = {  # what the host's own number goes by
    **dict(zip(range(_TCGETS, _TCSETSF + 1), ("TCGETS", "TCSETS", "TCSETSW", "TCSETSF"), strict=True)),
    _TIOCGWINSZ: "TIOCGWINSZ",
    _FIONREAD: "FIONREAD",
}
_CHUNK = 1 << 16


class HostEnd:
    """The end outside of the machine of what a program reads or writes.

    Args:
        fd: The host's descriptor, None for `buffer`.
        buffer: What is left to read, or was written.
    """

    def __init__(self, fd: int | None = None, buffer: bytearray | None = None) -> None:
        self.fd, self.buffer = fd, buffer if buffer is not None else bytearray()
        self.terminal = fd is not None and os.isatty(fd)

    def take(self, count: int) -> bytes:
        """What is there to read; the whole machine waits for it."""
        if self.fd is None:
            data = bytes(self.buffer[:count])
            del self.buffer[:count]
            return data
        try:
            return os.read(self.fd, min(count, _CHUNK))
        except InterruptedError:
            return b""

    def put(self, data: bytes) -> int:
        """Write as much as there is.

        Raises:
            KernelError: EPIPE, nobody reads it; EIO.
        """
        if self.fd is None:
            self.buffer += data
            return len(data)
        written = 0
        try:
            while written < len(data):
                written += os.write(self.fd, data[written:])
        except BrokenPipeError:
            raise KernelError(errno.EPIPE) from None
        except OSError:
            raise KernelError(errno.EIO, "the host's stream cannot be written") from None
        return written

    def control(self, cmd: int, given: bytes) -> bytes:
        """A terminal's settings are the host's own: what to copy to the caller.

        Raises:
            KernelError: ENOTTY.
        """
        import fcntl
        import termios

        request = getattr(termios, _REQUESTS.get(cmd, ""), None)  # not every host's settings are Linux's
        if self.fd is None or request is None:
            raise KernelError(errno.ENOTTY)
        settings = cmd in range(_TCGETS + 1, _TCSETSF + 1)
        try:
            answer = fcntl.ioctl(self.fd, request, given if settings else bytes(64))
        except OSError:
            raise KernelError(errno.ENOTTY) from None
        return b"" if settings else answer[: {_TCGETS: TERMIOS_SIZE, _TIOCGWINSZ: 8}.get(cmd, 4)]


class Stream(FileOperations, HostEnd):
    """One end of a pipe whose other end is outside of the machine.

    Args:
        fd: The host's descriptor, None for `buffer`.
        buffer: What is left to read, or was written.
    """

    def __init__(self, kernel: KernelCore, fd: int | None = None, buffer: bytearray | None = None) -> None:
        FileOperations.__init__(self, kernel)
        HostEnd.__init__(self, fd, buffer)

    async def read(self, file: File, buf: int, count: int, pos: Position) -> int:
        """What comes from outside; other tasks run first, then the whole machine waits."""
        if self.fd is not None:
            from kmod_emu.user.entry import let_others_run

            for _ in range(1000):
                if not self.kernel.sched.contended:
                    break
                await let_others_run(self.kernel)
            return copy_out(self.kernel, buf, self.take(count))
        copied = copy_out(self.kernel, buf, bytes(self.buffer[:count]))
        del self.buffer[:copied]
        return copied

    async def write(self, file: File, buf: int, count: int, pos: Position) -> int:
        """To the outside, as much as there is."""
        data = self.kernel.user.read(buf, count)
        if count and not data:
            raise KernelError(errno.EFAULT)
        try:
            return self.put(data)
        except KernelError as error:
            if error.errno == errno.EPIPE:
                send(self.kernel, self.kernel.sched.current, SIGPIPE)
            raise

    async def poll(self, file: File, poll: Poll, wanted: int) -> int:
        """Always ready: who reads waits."""
        return (EPOLLIN | EPOLLRDNORM) if file.readable else (EPOLLOUT | EPOLLWRNORM)

    async def ioctl(self, file: File, cmd: int, arg: int) -> int:
        """A terminal's settings are the host's own."""
        programs = self.kernel[Programs]
        if not self.terminal:
            raise KernelError(errno.ENOTTY, "no terminal")
        if cmd == TIOCGPGRP:
            copy_out(self.kernel, arg, struct.pack("<i", programs.foreground))
        elif cmd == TIOCSPGRP:
            programs.foreground = struct.unpack("<i", self.kernel.user.copy_from(arg, 4))[0]
        else:
            settings = cmd in range(_TCGETS + 1, _TCSETSF + 1)
            given = self.kernel.user.copy_from(arg, TERMIOS_SIZE) if settings else b""
            copy_out(self.kernel, arg, self.control(cmd, given))
        return 0


def attach(kernel: KernelCore, task: Task, streams: Sequence[Stream]) -> None:
    """Make them the task's descriptors 0 to 2."""
    table = kernel[Vfs].files(task)
    for fd, stream in enumerate(streams):
        sb = kernel[Vfs].root.inode.sb
        inode = Inode(sb, S_IFCHR | 0o620 if stream.terminal else S_IFIFO | 0o600, task.uid, task.gid)
        inode.fop, inode.rdev = stream, mkdev(136, 0) if stream.terminal else 0
        flags = O_RDWR if stream.terminal else O_WRONLY if fd else O_RDONLY
        file = File(kernel, Dentry(f"host:[{fd}]", None, inode), flags)
        file.op = stream
        file.mode |= FMODE_OPENED | (FMODE_CAN_READ if file.readable else 0)
        file.mode |= FMODE_CAN_WRITE if file.writable else 0
        kernel[Vfs].open_files[file] = None
        table.put(fd, file)

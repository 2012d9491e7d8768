"""Sockets as files (net/socket.c), and the options that all families have (net/core/sock.c)."""

from __future__ import annotations

import struct
from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, NamedTuple

from kmod_emu.errors import KernelError
from kmod_emu.fs.file import FMODE_CAN_READ, FMODE_CAN_WRITE, FMODE_OPENED, FileOperations, copy_out
from kmod_emu.fs.inode import Dentry, Inode, SuperBlock
from kmod_emu.fs.select import WaitQueue
from kmod_emu.fs.vfs import Vfs
from kmod_emu.uapi import errno
from kmod_emu.uapi import socket as uapi
from kmod_emu.uapi.capability import CAP_NET_ADMIN
from kmod_emu.uapi.fcntl import O_NONBLOCK, O_RDWR
from kmod_emu.uapi.stat import S_IFSOCK

if TYPE_CHECKING:
    from kmod_emu.fs.file import File, Position
    from kmod_emu.fs.select import Poll
    from kmod_emu.kernel.kernel import KernelCore

SOCKFS_MAGIC = 0x534F434B
MEM_DEFAULT = MEM_MAX = 212992  # net.core.rmem_default, rmem_max and those for sending
_MIN_RCVBUF, _MIN_SNDBUF = 2304, 4608
_INT = struct.Struct("<i")
_TIMEVAL = struct.Struct("<qq")


class Message(NamedTuple):
    """What recvmsg(2) gives.

    Attributes:
        size: What the call returns: of the data, or with MSG_TRUNC in the call the whole message's.
    """

    data: bytes
    size: int
    address: bytes = b""
    control: bytes = b""
    flags: int = 0


class Socket(ABC):
    """An open socket; a family derives from it and overrides what it can do.

    Attributes:
        error: sk_err, which the next call gets.
        inode: Number of its inode.
        queue: Who waits for something to come.
        timeouts: Of receiving and of sending, in nanoseconds; None is for ever.
    """

    def __init__(self, kernel: KernelCore, family: int, kind: int, protocol: int) -> None:
        self.kernel, self.family, self.kind, self.protocol = kernel, family, kind, protocol
        self.error = self.inode = 0
        self.rcvbuf = self.sndbuf = MEM_DEFAULT
        self.passcred = False
        self.queue = WaitQueue()
        self.timeouts: list[int | None] = [None, None]
        self.opener = kernel.sched.current.capabilities

    # --- what a family serves -------------------------------------------------------------------------

    async def bind(self, address: bytes) -> None:
        """bind(2)."""
        raise KernelError(errno.EOPNOTSUPP)

    async def connect(self, address: bytes) -> None:
        """connect(2)."""
        raise KernelError(errno.EOPNOTSUPP)

    def getname(self, *, peer: bool) -> bytes:
        """getsockname(2), getpeername(2)."""
        raise KernelError(errno.EOPNOTSUPP)

    async def sendmsg(self, data: bytes, address: bytes | None, control: bytes, flags: int) -> int:
        """sendmsg(2): bytes sent."""
        raise KernelError(errno.EOPNOTSUPP)

    async def recvmsg(self, size: int, flags: int) -> Message:
        """recvmsg(2)."""
        raise KernelError(errno.EOPNOTSUPP)

    async def setsockopt(self, level: int, name: int, value: bytes) -> None:
        """setsockopt(2) of other levels than SOL_SOCKET."""
        raise KernelError(errno.ENOPROTOOPT)

    def getsockopt(self, level: int, name: int, size: int) -> bytes:
        """getsockopt(2) of other levels than SOL_SOCKET."""
        raise KernelError(errno.ENOPROTOOPT)

    @abstractmethod
    def poll(self) -> int:
        """What it is ready for, EPOLL*."""

    @abstractmethod
    async def release(self) -> None:
        """The last descriptor is closed."""

    # --- what all have --------------------------------------------------------------------------------

    def take_error(self) -> None:
        """Fail with sk_err, once (sock_error)."""
        error, self.error = self.error, 0
        if error:
            raise KernelError(error, "an error was noted on the socket")

    def report(self, error: int) -> None:
        """Note an error and wake those who wait."""
        self.error = error
        self.queue.wake(self.kernel)

    def set_option(self, name: int, value: bytes) -> None:
        """setsockopt(2) of SOL_SOCKET."""
        if name in (uapi.SO_RCVTIMEO, uapi.SO_SNDTIMEO):
            self._set_timeout(name - uapi.SO_RCVTIMEO, value)
            return
        if len(value) < _INT.size:
            raise KernelError(errno.EINVAL)
        number = _INT.unpack(value[: _INT.size])[0]
        if name in (uapi.SO_RCVBUFFORCE, uapi.SO_SNDBUFFORCE):
            if not self.kernel.sched.current.capable(CAP_NET_ADMIN):
                raise KernelError(errno.EPERM)
            self._set_buffer(name == uapi.SO_RCVBUFFORCE, max(number, 0))
        elif name in (uapi.SO_RCVBUF, uapi.SO_SNDBUF):
            self._set_buffer(name == uapi.SO_RCVBUF, min(number & 0xFFFF_FFFF, MEM_MAX))
        elif name == uapi.SO_PASSCRED:
            self.passcred = bool(number)
        elif name != uapi.SO_REUSEADDR:
            raise KernelError(errno.ENOPROTOOPT, f"socket option {name} is not implemented")

    def _set_buffer(self, receiving: bool, size: int) -> None:
        if receiving:
            self.rcvbuf = max(2 * size, _MIN_RCVBUF)
        else:
            self.sndbuf = max(2 * size, _MIN_SNDBUF)

    def _set_timeout(self, which: int, value: bytes) -> None:
        if len(value) < _TIMEVAL.size:
            raise KernelError(errno.EINVAL)
        seconds, microseconds = _TIMEVAL.unpack(value[: _TIMEVAL.size])
        if not 0 <= microseconds < 1_000_000:
            raise KernelError(errno.EDOM)
        timeout = max(seconds, 0) * 1_000_000_000 + microseconds * 1_000
        self.timeouts[which] = timeout or None

    def get_option(self, name: int) -> bytes:
        """getsockopt(2) of SOL_SOCKET."""
        if name in (uapi.SO_RCVTIMEO, uapi.SO_SNDTIMEO):
            microseconds = (self.timeouts[name - uapi.SO_RCVTIMEO] or 0) // 1_000
            return _TIMEVAL.pack(*divmod(microseconds, 1_000_000))
        if name == uapi.SO_ERROR:
            error, self.error = self.error, 0
            return _INT.pack(error)
        numbers = {
            uapi.SO_TYPE: self.kind,
            uapi.SO_RCVBUF: self.rcvbuf,
            uapi.SO_SNDBUF: self.sndbuf,
            uapi.SO_PASSCRED: self.passcred,
            uapi.SO_PROTOCOL: self.protocol,
            uapi.SO_DOMAIN: self.family,
            uapi.SO_REUSEADDR: 0,
        }
        if name not in numbers:
            raise KernelError(errno.ENOPROTOOPT, f"socket option {name} is not implemented")
        return _INT.pack(numbers[name])


class SocketOperations(FileOperations):
    """What a descriptor of a socket can do; `file.private` is the Socket."""

    async def read(self, file: File, buf: int, count: int, pos: Position) -> int:
        """As recv(2)."""
        socket = socket_of(file)
        message = await socket.recvmsg(count, _dontwait(file))
        return copy_out(self.kernel, buf, message.data)

    async def write(self, file: File, buf: int, count: int, pos: Position) -> int:
        """As send(2)."""
        data = self.kernel.user.copy_from(buf, count)
        return await socket_of(file).sendmsg(data, None, b"", _dontwait(file))

    async def read_iter(self, file: File, pieces: list[tuple[int, int]], pos: Position) -> int:
        """One message into several buffers."""
        size = sum(length for _, length in pieces)
        message = await socket_of(file).recvmsg(size, _dontwait(file))
        data = message.data
        for base, length in pieces:
            if data:
                copy_out(self.kernel, base, data[:length])
            data = data[length:]
        return message.size

    async def write_iter(self, file: File, pieces: list[tuple[int, int]], pos: Position) -> int:
        """One message from several buffers."""
        data = b"".join(self.kernel.user.copy_from(base, length) for base, length in pieces if length)
        return await socket_of(file).sendmsg(data, None, b"", _dontwait(file))

    async def poll(self, file: File, table: Poll, events: int) -> int:
        """What it is ready for."""
        socket = socket_of(file)
        table.add(socket.queue)
        return socket.poll()

    async def release(self, file: File) -> None:
        """The last descriptor is closed."""
        await socket_of(file).release()


def _dontwait(file: File) -> int:
    return uapi.MSG_DONTWAIT if file.flags & O_NONBLOCK else 0


class Sockfs:
    """The file system that sockets' inodes are of."""

    def __init__(self, kernel: KernelCore) -> None:
        self.sb = SuperBlock("sockfs", SOCKFS_MAGIC, kernel[Vfs].anonymous_dev())


def socket_of(file: File) -> Socket:
    """The socket behind an open file; ENOTSOCK."""
    if not isinstance(file.private, Socket):
        raise KernelError(errno.ENOTSOCK, "the descriptor is no socket")
    return file.private


def install(kernel: KernelCore, socket: Socket, *, nonblock: bool, cloexec: bool) -> int:
    """A descriptor for a socket (sock_map_fd); EMFILE."""
    vfs = kernel[Vfs]
    inode = Inode(kernel[Sockfs].sb, S_IFSOCK | 0o777)
    inode.fop = SocketOperations(kernel)
    socket.inode = inode.ino
    file = vfs.new_file(
        Dentry(f"socket:[{inode.ino}]", None, inode), O_RDWR | (O_NONBLOCK if nonblock else 0)
    )
    file.private = socket
    file.mode |= FMODE_OPENED | FMODE_CAN_READ | FMODE_CAN_WRITE
    return vfs.files(kernel.sched.current).install(file, cloexec=cloexec)

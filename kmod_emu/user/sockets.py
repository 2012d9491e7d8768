"""The system calls on sockets as methods of a process, named and behaving as those of Python's sockets.

The address of a netlink socket is a pair: port id and mask of multicast groups.
"""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING

from kmod_emu.uapi.socket import AF_NETLINK
from kmod_emu.user.files import Buffers

if TYPE_CHECKING:
    from collections.abc import Iterable

    from kmod_emu.user.files import Caller

    Address = tuple[int, int]

_SOCKADDR = struct.Struct("<HHII")  # struct sockaddr_nl
_MSGHDR = struct.Struct("<QI4xQQQQI4x")
_CMSG = struct.Struct("<QII")


def _pack(address: Address) -> bytes:
    return _SOCKADDR.pack(AF_NETLINK, 0, *address)


def _unpack(raw: bytes) -> Address:
    _, _, portid, groups = _SOCKADDR.unpack(raw)
    return portid, groups


class SocketCalls:
    """Methods of `Process`; each raises KernelError as the system call fails."""

    def socket(self: Caller, family: int = AF_NETLINK, kind: int = 3, protocol: int = 0) -> int:
        """socket(2): a descriptor; `kind` 3 is SOCK_RAW.

        >>> from kmod_emu import Kernel
        >>> process = Kernel().process()
        >>> fd = process.socket(16, 3, 16)  # AF_NETLINK, SOCK_RAW, NETLINK_GENERIC
        >>> process.bind(fd, (0, 0))
        >>> process.getsockname(fd) == (process.pid, 0)
        True
        """
        return self.enter("socket", family, kind, protocol)

    def bind(self: Caller, fd: int, address: Address) -> None:
        """bind(2): port id 0 is any, the process id for its first socket."""
        self.enter("bind", fd, Buffers(self).put(_pack(address)), _SOCKADDR.size)

    def connect(self: Caller, fd: int, address: Address) -> None:
        """connect(2)."""
        self.enter("connect", fd, Buffers(self).put(_pack(address)), _SOCKADDR.size)

    def getsockname(self: Caller, fd: int) -> Address:
        """getsockname(2)."""
        return _name(self, "getsockname", fd)

    def getpeername(self: Caller, fd: int) -> Address:
        """getpeername(2)."""
        return _name(self, "getpeername", fd)

    def send(self: Caller, fd: int, data: bytes, flags: int = 0) -> int:
        """send(2): how many bytes were sent."""
        return self.enter("sendto", fd, Buffers(self).put(data), len(data), flags, 0, 0)

    def sendto(self: Caller, fd: int, data: bytes, address: Address, flags: int = 0) -> int:
        """sendto(2): how many bytes were sent; the address (0, 0) is the kernel."""
        room = Buffers(self)
        place = room.put(data)
        return self.enter("sendto", fd, place, len(data), flags, room.put(_pack(address)), _SOCKADDR.size)

    def recv(self: Caller, fd: int, size: int, flags: int = 0) -> bytes:
        """recv(2): one message, cut to `size`; waits for one unless `flags` has MSG_DONTWAIT, 0x40."""
        place = Buffers(self).room(size)
        return self.get(place, min(self.enter("recvfrom", fd, place, size, flags, 0, 0), size))

    def recvfrom(self: Caller, fd: int, size: int, flags: int = 0) -> tuple[bytes, Address]:
        """recvfrom(2): one message and who sent it."""
        room = Buffers(self)
        place, name = room.room(size), room.room(_SOCKADDR.size)
        length = room.put(struct.pack("<i", _SOCKADDR.size))
        count = self.enter("recvfrom", fd, place, size, flags, name, length)
        return self.get(place, min(count, size)), _unpack(self.get(name, _SOCKADDR.size))

    def sendmsg(
        self: Caller,
        fd: int,
        buffers: Iterable[bytes],
        ancdata: Iterable[tuple[int, int, bytes]] = (),
        flags: int = 0,
        address: Address | None = None,
    ) -> int:
        """sendmsg(2): one message of several buffers, with control messages (level, type, data)."""
        room = Buffers(self)
        parts = list(buffers)
        vector = b"".join(struct.pack("<QQ", room.put(part), len(part)) for part in parts)
        control = b""
        for level, kind, data in ancdata:
            head = _CMSG.pack(_CMSG.size + len(data), level, kind)
            control += (head + data).ljust(_CMSG.size + (len(data) + 7 & ~7), b"\0")
        name = room.put(_pack(address)) if address else 0
        places = room.put(vector), len(parts), room.put(control), len(control), 0
        header = _MSGHDR.pack(name, _SOCKADDR.size if address else 0, *places)
        return self.enter("sendmsg", fd, room.put(header), flags)

    def recvmsg(
        self: Caller, fd: int, size: int, ancsize: int = 0, flags: int = 0
    ) -> tuple[bytes, list[tuple[int, int, bytes]], int, Address]:
        """recvmsg(2): one message, its control messages, flags such as MSG_TRUNC (0x20), and who sent it."""
        room = Buffers(self)
        place, name, control = room.room(size), room.room(_SOCKADDR.size), room.room(ancsize)
        vector = room.put(struct.pack("<QQ", place, size))
        header = room.put(_MSGHDR.pack(name, _SOCKADDR.size, vector, 1, control, ancsize, 0))
        count = self.enter("recvmsg", fd, header, flags)
        fields = _MSGHDR.unpack(self.get(header, _MSGHDR.size))
        raw, ancdata = self.get(control, fields[5]), []
        while raw:
            length, level, kind = _CMSG.unpack(raw[: _CMSG.size])
            ancdata.append((level, kind, raw[_CMSG.size : length]))
            raw = raw[length + 7 & ~7 :]
        address = _unpack(self.get(name, _SOCKADDR.size))
        return self.get(place, min(count, size)), ancdata, fields[6], address

    def setsockopt(self: Caller, fd: int, level: int, name: int, value: int | bytes) -> None:
        """setsockopt(2)."""
        raw = struct.pack("<i", value) if isinstance(value, int) else value
        self.enter("setsockopt", fd, level, name, Buffers(self).put(raw), len(raw))

    def getsockopt(self: Caller, fd: int, level: int, name: int, size: int = 0) -> int | bytes:
        """getsockopt(2): a number, or at most `size` bytes."""
        room = Buffers(self)
        place, length = room.room(size or 4), room.put(struct.pack("<i", size or 4))
        self.enter("getsockopt", fd, level, name, place, length)
        raw = self.get(place, min(size or 4, struct.unpack("<i", self.get(length, 4))[0]))
        return raw if size else struct.unpack("<i", raw.ljust(4, b"\0"))[0]


def _name(process: Caller, call: str, fd: int) -> Address:
    room = Buffers(process)
    name, length = room.room(_SOCKADDR.size), room.put(struct.pack("<i", _SOCKADDR.size))
    process.enter(call, fd, name, length)
    return _unpack(process.get(name, _SOCKADDR.size))

"""System calls on sockets (net/socket.c). There are netlink sockets; other families do not exist here."""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING, NamedTuple

from kmod_emu.errors import KernelError
from kmod_emu.fs.fdtable import as_int
from kmod_emu.kernel.syscalls import syscall
from kmod_emu.net import af_netlink
from kmod_emu.net.socket import Message, Socket, install, socket_of
from kmod_emu.uapi import errno
from kmod_emu.uapi import socket as uapi
from kmod_emu.uapi.fcntl import O_CLOEXEC, O_NONBLOCK
from kmod_emu.user import arguments

if TYPE_CHECKING:
    from kmod_emu.fs.file import File
    from kmod_emu.kernel.kernel import KernelCore

_STORAGE = 128  # sizeof(struct sockaddr_storage)
_MSGHDR = struct.Struct("<QI4xQQQQI4x")  # name and length, vector and count, control and length, flags
_IOVEC = struct.Struct("<QQ")
_IOV_MAX, _MAX_RW = 1024, 0x7FFF_F000
_TYPE_MASK = 0xF


class _Header(NamedTuple):
    """struct user_msghdr."""

    name: int
    namelen: int
    vec: int
    pieces: int
    control: int
    controllen: int
    flags: int


def _socket(kernel: KernelCore, fd: int) -> tuple[Socket, File]:
    file = arguments.file(kernel, fd)
    return socket_of(file), file


def _flags(file: File, flags: int) -> int:
    return flags & 0xFFFF_FFFF | (uapi.MSG_DONTWAIT if file.flags & O_NONBLOCK else 0)


@syscall(41)
async def sys_socket(kernel: KernelCore, family: int, type: int, protocol: int) -> int:
    """A socket: EAFNOSUPPORT for other families than netlink."""
    family, kind, protocol = as_int(family), as_int(type), as_int(protocol)
    flags = kind & ~_TYPE_MASK
    kind &= _TYPE_MASK
    if flags & ~(O_CLOEXEC | O_NONBLOCK):
        raise KernelError(errno.EINVAL)
    if not 0 <= family < uapi.NPROTO:
        raise KernelError(errno.EAFNOSUPPORT)
    if kind >= uapi.SOCK_MAX:
        raise KernelError(errno.EINVAL)
    if family != uapi.AF_NETLINK:
        raise KernelError(
            errno.EAFNOSUPPORT, f"of address families, this machine has netlink only, not {family}"
        )
    socket = await af_netlink.create(kernel, kind, protocol)
    try:
        return install(kernel, socket, nonblock=bool(flags & O_NONBLOCK), cloexec=bool(flags & O_CLOEXEC))
    except KernelError:
        await socket.release()
        raise


def _address(kernel: KernelCore, address: int, size: int) -> bytes:
    """An address that the caller hands over (move_addr_to_kernel)."""
    size = as_int(size)
    if not 0 <= size <= _STORAGE:
        raise KernelError(errno.EINVAL, f"an address of {size} bytes")
    return kernel.user.copy_from(address, size) if size else b""


def _give_address(kernel: KernelCore, data: bytes, address: int, length: int) -> None:
    """Tell the caller an address, cut to its room (move_addr_to_user)."""
    room = as_int(int.from_bytes(kernel.user.copy_from(length, 4), "little"))
    if room < 0:
        raise KernelError(errno.EINVAL)
    if data[:room]:
        arguments.give(kernel, address, data[:room])
    arguments.give(kernel, length, len(data).to_bytes(4, "little"))


@syscall(49)
async def sys_bind(kernel: KernelCore, fd: int, umyaddr: int, addrlen: int) -> int:
    """Give a socket an address."""
    socket, _ = _socket(kernel, fd)
    await socket.bind(_address(kernel, umyaddr, addrlen))
    return 0


@syscall(42)
async def sys_connect(kernel: KernelCore, fd: int, uservaddr: int, addrlen: int) -> int:
    """Say whom a socket talks to."""
    socket, _ = _socket(kernel, fd)
    await socket.connect(_address(kernel, uservaddr, addrlen))
    return 0


@syscall(50)
async def sys_listen(kernel: KernelCore, fd: int, backlog: int) -> int:
    """Netlink has no connections to wait for."""
    _socket(kernel, fd)
    return -errno.EOPNOTSUPP


@syscall(43)
async def sys_accept(kernel: KernelCore, fd: int, upeer_sockaddr: int, upeer_addrlen: int) -> int:
    """Netlink has no connections to take."""
    _socket(kernel, fd)
    return -errno.EOPNOTSUPP


@syscall(288)
async def sys_accept4(
    kernel: KernelCore, fd: int, upeer_sockaddr: int, upeer_addrlen: int, flags: int
) -> int:
    """Netlink has no connections to take."""
    return await sys_accept(kernel, fd, upeer_sockaddr, upeer_addrlen)


@syscall(48)
async def sys_shutdown(kernel: KernelCore, fd: int, how: int) -> int:
    """Netlink has no connections to end."""
    _socket(kernel, fd)
    return -errno.EOPNOTSUPP


@syscall(53)
async def sys_socketpair(kernel: KernelCore, family: int, type: int, protocol: int, usockvec: int) -> int:
    """Netlink has no pairs."""
    return -errno.EOPNOTSUPP if as_int(family) == uapi.AF_NETLINK else -errno.EAFNOSUPPORT


@syscall(51)
async def sys_getsockname(kernel: KernelCore, fd: int, usockaddr: int, usockaddr_len: int) -> int:
    """A socket's own address."""
    socket, _ = _socket(kernel, fd)
    _give_address(kernel, socket.getname(peer=False), usockaddr, usockaddr_len)
    return 0


@syscall(52)
async def sys_getpeername(kernel: KernelCore, fd: int, usockaddr: int, usockaddr_len: int) -> int:
    """Whom it talks to."""
    socket, _ = _socket(kernel, fd)
    _give_address(kernel, socket.getname(peer=True), usockaddr, usockaddr_len)
    return 0


@syscall(44)
async def sys_sendto(
    kernel: KernelCore, fd: int, buff: int, len: int, flags: int, addr: int, addr_len: int
) -> int:
    """Send one message."""
    socket, file = _socket(kernel, fd)
    address = _address(kernel, addr, addr_len) if addr else None
    data = kernel.user.copy_from(buff, min(len, _MAX_RW))
    return await socket.sendmsg(data, address, b"", _flags(file, flags))


@syscall(45)
async def sys_recvfrom(
    kernel: KernelCore, fd: int, ubuf: int, size: int, flags: int, addr: int, addr_len: int
) -> int:
    """Receive one message, and who sent it."""
    socket, file = _socket(kernel, fd)
    message = await socket.recvmsg(min(size, _MAX_RW), _flags(file, flags))
    if message.data:
        arguments.give(kernel, ubuf, message.data)
    if addr:
        _give_address(kernel, message.address, addr, addr_len)
    return message.size


def _header(kernel: KernelCore, msg: int) -> _Header:
    header = _Header(*_MSGHDR.unpack(kernel.user.copy_from(msg, _MSGHDR.size)))
    if as_int(header.namelen) < 0:
        raise KernelError(errno.EINVAL)
    if header.pieces > _IOV_MAX:
        raise KernelError(errno.EMSGSIZE)
    return header


def _pieces(kernel: KernelCore, header: _Header) -> list[tuple[int, int]]:
    raw = kernel.user.copy_from(header.vec, header.pieces * _IOVEC.size) if header.pieces else b""
    return [(base, length) for base, length in _IOVEC.iter_unpack(raw)]


@syscall(46)
async def sys_sendmsg(kernel: KernelCore, fd: int, msg: int, flags: int) -> int:
    """Send one message from several buffers, with an address and control messages."""
    socket, file = _socket(kernel, fd)
    header = _header(kernel, msg)
    address = None
    if header.name and header.namelen:
        address = _address(kernel, header.name, min(header.namelen, _STORAGE))
    data = b"".join(kernel.user.copy_from(base, length) for base, length in _pieces(kernel, header) if length)
    control = b""
    if header.controllen:
        if header.controllen > 0x7FFF_FFFF:
            raise KernelError(errno.ENOBUFS)
        control = kernel.user.copy_from(header.control, header.controllen)
    return await socket.sendmsg(data, address, control, _flags(file, flags))


@syscall(47)
async def sys_recvmsg(kernel: KernelCore, fd: int, msg: int, flags: int) -> int:
    """Receive one message into several buffers, with its sender and control messages."""
    socket, file = _socket(kernel, fd)
    header = _header(kernel, msg)
    pieces = _pieces(kernel, header)
    message = await socket.recvmsg(sum(length for _, length in pieces), _flags(file, flags))
    _scatter(kernel, pieces, message.data)
    if header.name:
        name = message.address[: header.namelen]
        arguments.give(kernel, header.name, name)
        arguments.give(kernel, msg + 8, len(message.address).to_bytes(4, "little"))
    control, cut = _fitting(message, header.controllen)
    if control:
        arguments.give(kernel, header.control, control)
    arguments.give(kernel, msg + 40, len(control).to_bytes(8, "little"))
    arguments.give(kernel, msg + 48, (message.flags | cut).to_bytes(4, "little"))
    return message.size


def _fitting(message: Message, room: int) -> tuple[bytes, int]:
    """Control messages as far as there is room for whole ones, and MSG_CTRUNC if not for all."""
    taken, rest = b"", message.control
    while rest:
        size = int.from_bytes(rest[:8], "little") + 7 & ~7
        if len(taken) + size > room:
            return taken, uapi.MSG_CTRUNC
        taken, rest = taken + rest[:size], rest[size:]
    return taken, 0


def _scatter(kernel: KernelCore, pieces: list[tuple[int, int]], data: bytes) -> None:
    for base, length in pieces:
        part, data = data[:length], data[length:]
        if part:
            arguments.give(kernel, base, part)


@syscall(54)
async def sys_setsockopt(
    kernel: KernelCore, fd: int, level: int, optname: int, optval: int, optlen: int
) -> int:
    """Change an option."""
    socket, _ = _socket(kernel, fd)
    size = as_int(optlen)
    if size < 0:
        raise KernelError(errno.EINVAL)
    value = kernel.user.copy_from(optval, min(size, _STORAGE)) if size else b""
    if as_int(level) == uapi.SOL_SOCKET:
        socket.set_option(as_int(optname), value)
    else:
        await socket.setsockopt(as_int(level), as_int(optname), value)
    return 0


@syscall(55)
async def sys_getsockopt(
    kernel: KernelCore, fd: int, level: int, optname: int, optval: int, optlen: int
) -> int:
    """Look at an option."""
    socket, _ = _socket(kernel, fd)
    room = as_int(int.from_bytes(kernel.user.copy_from(optlen, 4), "little"))
    if room < 0:
        raise KernelError(errno.EINVAL)
    if as_int(level) == uapi.SOL_SOCKET:
        value = socket.get_option(as_int(optname))
    else:
        value = socket.getsockopt(as_int(level), as_int(optname), room)
    if value[:room]:
        arguments.give(kernel, optval, value[:room])
    listed = as_int(level) == uapi.SOL_NETLINK and as_int(optname) == uapi.NETLINK_LIST_MEMBERSHIPS
    size = len(value) if listed else min(room, len(value))
    arguments.give(kernel, optlen, size.to_bytes(4, "little"))
    return 0

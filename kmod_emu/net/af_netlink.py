"""A program's end of netlink: socket(AF_NETLINK, ...) and its calls (net/netlink/af_netlink.c)."""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING

from kmod_emu.errors import KernelError
from kmod_emu.fs.file import EPOLLERR, EPOLLIN, EPOLLOUT, EPOLLRDNORM, EPOLLWRNORM
from kmod_emu.fs.select import WaitQueue
from kmod_emu.net import skbuff
from kmod_emu.net.netlink import NONROOT_RECV, NONROOT_SEND, SKB_DST, Netlink, NetlinkSock
from kmod_emu.net.notify import urelease
from kmod_emu.net.socket import Message, Socket
from kmod_emu.uapi import errno
from kmod_emu.uapi import socket as uapi
from kmod_emu.uapi.capability import CAP_NET_ADMIN, CAP_NET_BROADCAST

if TYPE_CHECKING:
    from kmod_emu.kernel.kernel import KernelCore
    from kmod_emu.kernel.tasks import Task
    from kmod_emu.net.dump import Dump

_SOCKADDR = struct.Struct("<HHII")  # struct sockaddr_nl: family, padding, port id, mask of groups
_CMSG = struct.Struct("<QII")  # struct cmsghdr: length, level, type
_CREDS = struct.Struct("<III")
_LONGEST_RECEIVE = 32768 - skbuff.SHARED_INFO
_EPOLLWRBAND = 0x200
_FLAGS = {
    uapi.NETLINK_PKTINFO: "pktinfo",
    uapi.NETLINK_BROADCAST_ERROR: "broadcast_error",
    uapi.NETLINK_NO_ENOBUFS: "no_enobufs",
    uapi.NETLINK_LISTEN_ALL_NSID: "all_nsid",
    uapi.NETLINK_CAP_ACK: "cap_ack",
    uapi.NETLINK_EXT_ACK: "ext_ack",
    uapi.NETLINK_GET_STRICT_CHK: "strict",
}


def cmsg(level: int, kind: int, data: bytes) -> bytes:
    """A control message."""
    head = _CMSG.pack(_CMSG.size + len(data), level, kind)
    return (head + data).ljust(_CMSG.size + (len(data) + 7 & ~7), b"\0")


async def create(kernel: KernelCore, kind: int, protocol: int) -> NetlinkSocket:
    """A socket (netlink_create): ESOCKTNOSUPPORT, EPROTONOSUPPORT, ENOMEM."""
    if kind not in (uapi.SOCK_RAW, uapi.SOCK_DGRAM):
        raise KernelError(errno.ESOCKTNOSUPPORT, "netlink has raw and datagram sockets")
    if not 0 <= protocol < uapi.MAX_LINKS:
        raise KernelError(errno.EPROTONOSUPPORT, f"netlink protocols are 0 to {uapi.MAX_LINKS - 1}")
    row = kernel[Netlink].table[protocol]
    if not row.registered:
        await kernel.request_module(f"net-pf-{uapi.AF_NETLINK}-proto-{protocol}")
    if not row.registered or not kernel.try_module_get(row.module):
        why = "is not imitated" if protocol in uapi.NETLINK_TAKEN else "is registered by no module"
        raise KernelError(errno.EPROTONOSUPPORT, f"netlink protocol {protocol} {why}")
    sock = kernel[Netlink].new_sock(protocol, kind)
    if sock is None:
        kernel.module_put(row.module)
        raise KernelError(errno.ENOMEM)
    return NetlinkSocket(kernel, kind, sock, row.module)


class NetlinkSocket(Socket):
    """The program's side of a NetlinkSock.

    Attributes:
        peer: Port id and group that connect(2) named.
        room: Senders that wait until something is read.
        dump: The dump that is going on.
        longest: The largest buffer seen in recvmsg(2), which the next part of a dump may fill.
    """

    def __init__(self, kernel: KernelCore, kind: int, sock: NetlinkSock, module: int) -> None:
        super().__init__(kernel, uapi.AF_NETLINK, kind, sock.protocol)
        self.sock, self.module = sock, module
        sock.user = self
        self.netlink = kernel[Netlink]
        self.row = self.netlink.table[sock.protocol]
        self.peer: tuple[int, int] | None = None
        self.room = WaitQueue()
        self.dump: Dump | None = None
        self.longest = 0
        self.pktinfo = self.broadcast_error = self.no_enobufs = self.all_nsid = False
        self.cap_ack = self.ext_ack = self.strict = False

    @property
    def ngroups(self) -> int:
        """How many groups its protocol has."""
        return self.row.groups

    def _allowed(self, flag: int) -> None:
        if not self.row.flags & flag and not self.kernel.sched.current.capable(CAP_NET_ADMIN):
            raise KernelError(errno.EPERM, "only a process with CAP_NET_ADMIN may do that")

    # --- addresses --------------------------------------------------------------------------------------

    def _address(self, address: bytes) -> tuple[int, int]:
        """Port id and mask of groups; EINVAL."""
        if len(address) < _SOCKADDR.size:
            raise KernelError(errno.EINVAL, f"a netlink address has {_SOCKADDR.size} bytes")
        family, _, portid, groups = _SOCKADDR.unpack(address[: _SOCKADDR.size])
        if family != uapi.AF_NETLINK:
            raise KernelError(errno.EINVAL, f"address family {family} is not AF_NETLINK")
        return portid, groups

    def _autobind(self) -> None:
        if not self.sock.bound:
            self.netlink.autobind(self.sock, self.kernel.sched.current.pid)

    async def bind(self, address: bytes) -> None:
        """A port id (0: any) and the first 32 groups (netlink_bind)."""
        portid, groups = self._address(address)
        sock = self.sock
        if groups:
            self._allowed(NONROOT_RECV)
        if sock.bound and portid != sock.portid:
            raise KernelError(errno.EINVAL, f"the socket has port id {sock.portid} already")
        wanted = [group for group in range(1, 33) if groups >> group - 1 & 1]
        joined: list[int] = []
        try:
            for group in wanted:
                await self._bind_group(group)
                joined.append(group)
            if not sock.bound and portid:
                self.netlink.insert(sock, portid)
            elif not sock.bound:
                self._autobind()
        except KernelError:
            for group in joined:
                await self.netlink.call_hook(self.row.unbind, group)
            raise
        sock.groups = {group for group in sock.groups if group > 32} | set(wanted)

    async def _bind_group(self, group: int) -> None:
        error = await self.netlink.call_hook(self.row.bind, group)
        if error:
            raise KernelError(-error, f"the kernel's side of the protocol refuses group {group}")

    async def connect(self, address: bytes) -> None:
        """Where messages without an address go, and the only one to send to this socket (netlink_connect)."""
        if len(address) < 2:
            raise KernelError(errno.EINVAL)
        if int.from_bytes(address[:2], "little") == uapi.AF_UNSPEC:
            self.peer = None
            return
        portid, groups = self._address(address)
        if portid or groups:
            self._allowed(NONROOT_SEND)
        self._autobind()
        self.peer = portid, _lowest(groups)

    def getname(self, *, peer: bool) -> bytes:
        """Its own address or that of connect(2)."""
        if peer:
            portid, group = self.peer or (0, 0)
            return _SOCKADDR.pack(uapi.AF_NETLINK, 0, portid, _mask(group))
        groups = sum(map(_mask, self.sock.groups))
        return _SOCKADDR.pack(uapi.AF_NETLINK, 0, self.sock.portid, groups)

    # --- messages ---------------------------------------------------------------------------------------

    async def sendmsg(self, data: bytes, address: bytes | None, control: bytes, flags: int) -> int:
        """To the kernel, another process, or a group (netlink_sendmsg)."""
        if flags & uapi.MSG_OOB:
            raise KernelError(errno.EOPNOTSUPP)
        if not data:
            self.netlink.warn_of_empty()
            raise KernelError(errno.ENODATA, "the message is empty")
        task = self.kernel.sched.current
        creds = _credentials(task, control)
        portid, group = self.peer or (0, 0)
        direct = address is not None
        if address is not None:
            portid, groups = self._address(address)
            group = _lowest(groups)
            if group or portid:
                self._allowed(NONROOT_SEND)
        self._autobind()
        if len(data) > self.sndbuf - 32:
            raise KernelError(errno.EMSGSIZE, f"the send buffer has {self.sndbuf} bytes")
        skb = skbuff.new_skb(self.kernel, data)
        if not skb:
            raise KernelError(errno.ENOBUFS)
        cb = skbuff.control_block(self.kernel, skb)
        cb.portid, cb.dst_group, cb.flags = self.sock.portid, group, SKB_DST if direct else 0
        cb.set_bytes("creds", creds)
        if group:
            view = skbuff.view(self.kernel, skb)
            view.users += 1
            await self.netlink.broadcast(self.sock, skb, portid, group)
        nonblock = bool(flags & uapi.MSG_DONTWAIT)
        return await self.netlink.unicast(self.sock, skb, portid, nonblock=nonblock)

    async def recvmsg(self, size: int, flags: int) -> Message:
        """The next message; waits for one (netlink_recvmsg)."""
        if flags & uapi.MSG_OOB:
            raise KernelError(errno.EOPNOTSUPP)
        kernel, queue = self.kernel, self.netlink.queue(self.sock)
        skb = await self._next(queue, flags)
        self.longest = min(max(self.longest, size), _LONGEST_RECEIVE)
        data = skbuff.contents(kernel, skb)
        message = self._message(skb, data, size, flags)
        if not flags & uapi.MSG_PEEK:
            skbuff.unlink(kernel, queue, skb)
            await skbuff.free(kernel, skb)
        if self.dump and skbuff.rmem_alloc(kernel, self.sock.address) <= self.rcvbuf // 2:
            error = await self.dump.go_on()
            if error:
                self.report(-error)
        if not skbuff.first(kernel, queue):
            self.sock.congested = False
        if not self.sock.congested:
            self.room.wake(kernel)
        return message

    async def _next(self, queue: int, flags: int) -> int:
        kernel = self.kernel
        self.take_error()
        skb = skbuff.first(kernel, queue)
        if skb:
            return skb
        if flags & uapi.MSG_DONTWAIT:
            raise KernelError(errno.EAGAIN, "nothing was received")
        found = await self.queue.wait(
            kernel, lambda: bool(skbuff.first(kernel, queue) or self.error), self.timeouts[0]
        )
        if not found:
            raise KernelError(errno.EAGAIN, "nothing was received in time")
        self.take_error()
        return skbuff.first(kernel, queue)

    def _message(self, skb: int, data: bytes, size: int, flags: int) -> Message:
        cb = skbuff.control_block(self.kernel, skb)
        group = cb.dst_group
        control = b""
        if self.pktinfo:
            control += cmsg(uapi.SOL_NETLINK, uapi.NETLINK_PKTINFO, struct.pack("<I", group))
        if self.passcred:
            control += cmsg(uapi.SOL_SOCKET, uapi.SCM_CREDENTIALS, cb.bytes("creds"))
        address = _SOCKADDR.pack(uapi.AF_NETLINK, 0, cb.portid, _mask(group))
        cut = uapi.MSG_TRUNC if len(data) > size else 0
        taken = len(data) if flags & uapi.MSG_TRUNC else min(len(data), size)
        return Message(data[:size], taken, address, control, cut)

    def poll(self) -> int:
        """Readable with something received or an error; always writable (datagram_poll)."""
        mask = EPOLLERR if self.error else 0
        if skbuff.first(self.kernel, self.netlink.queue(self.sock)):
            mask |= EPOLLIN | EPOLLRDNORM
        return mask | EPOLLOUT | EPOLLWRNORM | _EPOLLWRBAND

    # --- options ----------------------------------------------------------------------------------------

    async def setsockopt(self, level: int, name: int, value: bytes) -> None:
        """Options of SOL_NETLINK (netlink_setsockopt)."""
        if level != uapi.SOL_NETLINK:
            raise KernelError(errno.ENOPROTOOPT)
        number = int.from_bytes(value[:4], "little") if len(value) >= 4 else 0
        if name in (uapi.NETLINK_ADD_MEMBERSHIP, uapi.NETLINK_DROP_MEMBERSHIP):
            await self._membership(number, join=name == uapi.NETLINK_ADD_MEMBERSHIP)
            return
        if name not in _FLAGS:
            raise KernelError(errno.ENOPROTOOPT)
        if name == uapi.NETLINK_LISTEN_ALL_NSID and not self.kernel.sched.current.capable(CAP_NET_BROADCAST):
            raise KernelError(errno.EPERM)
        setattr(self, _FLAGS[name], bool(number))
        if name == uapi.NETLINK_NO_ENOBUFS and number:
            self.sock.congested = False
            self.room.wake(self.kernel)

    async def _membership(self, group: int, *, join: bool) -> None:
        self._allowed(NONROOT_RECV)
        if not 1 <= group <= self.ngroups:
            raise KernelError(errno.EINVAL, f"the protocol has groups 1 to {self.ngroups}")
        if join:
            await self._bind_group(group)
            self.sock.groups.add(group)
        else:
            self.sock.groups.discard(group)
            await self.netlink.call_hook(self.row.unbind, group)

    def getsockopt(self, level: int, name: int, size: int) -> bytes:
        """Options of SOL_NETLINK (netlink_getsockopt)."""
        if level != uapi.SOL_NETLINK:
            raise KernelError(errno.ENOPROTOOPT)
        if name == uapi.NETLINK_LIST_MEMBERSHIPS:
            bits = sum(1 << group - 1 for group in self.sock.groups)
            return bits.to_bytes((self.ngroups + 31) // 32 * 4, "little")
        if name not in _FLAGS or name == uapi.NETLINK_LISTEN_ALL_NSID:
            raise KernelError(errno.ENOPROTOOPT)
        if size < 4:
            raise KernelError(errno.EINVAL)
        return struct.pack("<i", getattr(self, _FLAGS[name]))

    # --- the end ----------------------------------------------------------------------------------------

    async def release(self) -> None:
        """Leave the groups, tell who wants to know, end the dump, give the module back (netlink_release)."""
        sock, kernel = self.sock, self.kernel
        bound, sock.bound = sock.bound, False
        groups, sock.groups = sorted(sock.groups), set()
        for group in groups:
            await self.netlink.call_hook(self.row.unbind, group)
        if bound and sock.portid:
            await urelease(kernel, sock.protocol, sock.portid)
        if self.dump:
            await self.dump.end()
        await self.netlink.free_sock(sock)
        self.room.wake(kernel)
        kernel.module_put(self.module)


def _credentials(task: Task, control: bytes) -> bytes:
    """Who sends: the task, or what it may say that it is (scm_send)."""
    creds = task.pid, task.uid, task.gid
    while len(control) >= _CMSG.size:
        length, level, kind = _CMSG.unpack(control[: _CMSG.size])
        if not _CMSG.size <= length <= len(control):
            raise KernelError(errno.EINVAL, "a control message is cut off")
        if level == uapi.SOL_SOCKET:
            if kind != uapi.SCM_CREDENTIALS or length != _CMSG.size + _CREDS.size:
                raise KernelError(errno.EINVAL, f"control message {kind} is not for netlink")
            said = _CREDS.unpack(control[_CMSG.size : length])
            if said != creds and task.uid:
                raise KernelError(errno.EPERM, "only root may claim to be another")
            creds = said
        control = control[length + 7 & ~7 :]
    return _CREDS.pack(*creds)


def _lowest(groups: int) -> int:
    """The number of the lowest group in a mask, 0 for none (ffs)."""
    return (groups & -groups).bit_length()


def _mask(group: int) -> int:
    return 1 << group - 1 if 1 <= group <= 32 else 0

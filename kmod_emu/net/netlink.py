"""Netlink: which sockets there are, and how messages get from one to another (net/netlink/af_netlink.c).

Every socket, the kernel's and the programs', has a `struct sock` in guest memory, where modules look for the
network namespace and the queue of what was received. What else a `struct netlink_sock` holds is no module's
business and is kept here.
"""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING, Any

from kmod_emu.errors import KernelError
from kmod_emu.kernel.activation import to_int
from kmod_emu.kernel.va_list import RegisterArguments
from kmod_emu.kernel.vsprintf import vsnprintf
from kmod_emu.net import skbuff
from kmod_emu.net.saved import SavedSockets
from kmod_emu.net.socket import MEM_DEFAULT
from kmod_emu.uapi import errno
from kmod_emu.uapi.socket import AF_NETLINK, MAX_LINKS, NETLINK_USERSOCK, SOCK_DGRAM

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Iterator

    from kmod_emu.kernel.kernel import KernelCore
    from kmod_emu.net.af_netlink import NetlinkSocket

    Hook = int | Callable[[int], Coroutine[Any, Any, int]]  # a guest function, or one of ours

NONROOT_RECV, NONROOT_SEND = 1, 2  # NL_CFG_F_*
SKB_DST = 8  # NETLINK_SKB_DST: the sender was allowed to name a receiver


class NetlinkSock:
    """One socket: the kernel's, or what a program's is to others.

    Attributes:
        address: Of its `struct sock`.
        portid: Its address; 0 is the kernel's.
        input: What gets messages to a socket of the kernel's.
        user: The program's side, None for the kernel's.
        groups: Multicast groups that it is in.
    """

    def __init__(self, address: int, protocol: int, *, input: Hook = 0) -> None:
        self.address, self.protocol, self.input = address, protocol, input
        self.portid = 0
        self.bound = False
        self.user: NetlinkSocket | None = None
        self.groups: set[int] = set()
        self.drops = 0
        self.congested = False


class Protocol:
    """A row of nl_table: what registering the first kernel socket of a protocol said."""

    def __init__(self) -> None:
        self.registered = 0
        self.groups = self.flags = self.module = 0
        self.bind: Hook = 0
        self.unbind: Hook = 0
        self.socks: list[NetlinkSock] = []

    def lookup(self, portid: int) -> NetlinkSock | None:
        """The socket with that address."""
        return next((sock for sock in self.socks if sock.bound and sock.portid == portid), None)


class Netlink:
    """All protocols and their sockets."""

    def __init__(self, kernel: KernelCore) -> None:
        self._kernel = kernel
        self.table = [Protocol() for _ in range(MAX_LINKS)]
        self.table[NETLINK_USERSOCK].registered = 1
        self.table[NETLINK_USERSOCK].groups = 32
        self.table[NETLINK_USERSOCK].flags = NONROOT_SEND
        self._own: dict[int, NetlinkSock] = {}  # of the kernel itself, which are always there
        self.rover = -4096
        self._warned = False
        self._saved = SavedSockets(kernel)

    # --- sockets --------------------------------------------------------------------------------------

    def new_sock(
        self, protocol: int, kind: int = SOCK_DGRAM, net: int = 0, hook: Hook = 0
    ) -> NetlinkSock | None:
        """A socket that nobody can reach yet; None if memory is used up."""
        kernel = self._kernel
        layout = kernel.profile.struct("sock")
        size = layout.size + kernel.profile.struct("netlink_callback").size
        address, socket = kernel.heap.kmalloc(size), kernel.heap.kmalloc(kernel.profile.struct("socket").size)
        if not address or not socket:
            kernel.heap.kfree(address)
            kernel.heap.kfree(socket)
            return None
        view = kernel.view("sock", address)
        common = view.inner("__sk_common", kernel.profile.struct("sock_common"))
        common.skc_family, common.skc_refcnt = AF_NETLINK, 1
        common.skc_net = net or kernel.symbols.address("init_net")
        view.sk_protocol, view.sk_type = protocol, kind
        view.sk_rcvbuf = view.sk_sndbuf = MEM_DEFAULT
        head = view.addressof("sk_receive_queue")
        kernel.memory.write(head, struct.pack("<QQ", head, head))
        view.sk_socket = socket
        kernel.view("socket", socket).sk = address
        return self.adopt(address, protocol, hook)

    def adopt(self, address: int, protocol: int, hook: Hook = 0) -> NetlinkSock:
        """A socket whose `struct sock` is there already."""
        sock = NetlinkSock(address, protocol, input=hook)
        self.table[protocol].socks.append(sock)
        return sock

    @property
    def orphans(self) -> bool:
        """Whether there is something left of programs' sockets that a saved machine had."""
        return bool(self._saved.orphans)

    async def bury(self) -> None:
        """Take it down."""
        await self._saved.bury(self)

    def callback(self, sock: NetlinkSock) -> int:
        """Where the struct netlink_callback of a socket's dump is."""
        return sock.address + self._kernel.profile.struct("sock").size

    async def free_sock(self, sock: NetlinkSock) -> None:
        """A socket goes, with what it has not read."""
        kernel = self._kernel
        self.table[sock.protocol].socks.remove(sock)
        view = kernel.view("sock", sock.address)
        await skbuff.skb_queue_purge(kernel, view.addressof("sk_receive_queue"))
        socket, view.sk_socket = view.sk_socket, 0
        kernel.heap.kfree(socket)
        kernel.heap.kfree(sock.address)

    def insert(self, sock: NetlinkSock, portid: int) -> None:
        """Give a socket an address: EBUSY if it has one, EADDRINUSE if another has it (netlink_insert)."""
        if sock.bound:
            raise KernelError(errno.EBUSY, f"the socket has port id {sock.portid} already")
        if self.table[sock.protocol].lookup(portid):
            raise KernelError(errno.EADDRINUSE, f"another socket has port id {portid}")
        sock.portid, sock.bound = portid, True

    def autobind(self, sock: NetlinkSock, tgid: int) -> None:
        """The address of a program's first socket is its process id, later ones get negative ones."""
        portid = tgid
        while self.table[sock.protocol].lookup(portid):
            self.rover = min(self.rover, -4096) - 1
            portid = self.rover & 0xFFFF_FFFF
        self.insert(sock, portid)

    def by_address(self, address: int) -> NetlinkSock | None:
        """The socket whose `struct sock` is there."""
        return next((sock for sock in self if sock.address == address), None)

    def __iter__(self) -> Iterator[NetlinkSock]:
        """All sockets."""
        return (sock for row in self.table for sock in row.socks)

    # --- the kernel's side ------------------------------------------------------------------------------

    def kernel_create(self, protocol: int, groups: int, hook: Hook, net: int = 0) -> NetlinkSock | None:
        """A socket of the kernel's with address 0; None if there is one or memory is used up."""
        row = self.table[protocol]
        sock = None if row.lookup(0) else self.new_sock(protocol, net=net, hook=hook)
        if sock is None:
            return None
        self.insert(sock, 0)
        if not row.registered:
            row.groups = max(groups, 32)
        row.registered += 1
        return sock

    def own(self, protocol: int, groups: int, hook: Hook = 0, *, flags: int = NONROOT_RECV) -> NetlinkSock:
        """One of the kernel itself, made at boot; by default programs need no rights to listen."""
        sock = self.kernel_create(protocol, groups, hook)
        assert sock is not None
        self.table[protocol].flags = flags
        self._own[protocol] = sock
        return sock

    async def kernel_release(self, sock: NetlinkSock) -> None:
        """The kernel's socket of a protocol goes (netlink_release)."""
        row = self.table[sock.protocol]
        await self.free_sock(sock)
        row.registered -= 1
        if not row.registered:
            row.flags = row.module = row.bind = row.unbind = 0

    async def call_hook(self, hook: Hook, argument: int) -> int:
        """Bind, unbind and input functions: of a module, with the namespace before a group, or of ours."""
        if not isinstance(hook, int):
            return await hook(argument)
        net = self._kernel.symbols.address("init_net")
        return to_int(await self._kernel.call_guest(hook, net, argument)) if hook else 0

    # --- messages ---------------------------------------------------------------------------------------

    def queue(self, sock: NetlinkSock) -> int:
        """Where the sk_buff_head of what a socket has received is."""
        return self._kernel.view("sock", sock.address).addressof("sk_receive_queue")

    def full(self, sock: NetlinkSock) -> bool:
        """Whether a socket takes no more."""
        assert sock.user is not None
        return sock.congested or skbuff.rmem_alloc(self._kernel, sock.address) > sock.user.rcvbuf

    def deliver(self, sock: NetlinkSock, skb: int) -> None:
        """Put a message into a program's queue (__netlink_sendskb)."""
        assert sock.user is not None
        skbuff.set_owner(self._kernel, skb, sock.address)
        skbuff.queue_tail(self._kernel, self.queue(sock), skb)
        sock.user.queue.wake(self._kernel)

    def overrun(self, sock: NetlinkSock) -> None:
        """A message was lost (netlink_overrun)."""
        assert sock.user is not None
        if not sock.user.no_enobufs and not sock.congested:
            sock.congested = True
            sock.user.report(errno.ENOBUFS)
        sock.drops += 1

    async def unicast(self, source: NetlinkSock, skb: int, portid: int, *, nonblock: bool) -> int:
        """Send to one socket; its buffer is used up. Bytes, or a negative errno (netlink_unicast)."""
        kernel = self._kernel
        target = self.table[source.protocol].lookup(portid)
        if target is None or not self._accepts(target, source):
            await skbuff.free(kernel, skb)
            return -errno.ECONNREFUSED
        size = skbuff.view(kernel, skb).len
        if target.user is None:
            return await self._to_kernel(target, source, skb, size)
        if self.full(target):
            if nonblock:
                if source.user is None:
                    self.overrun(target)
                await skbuff.free(kernel, skb)
                return -errno.EAGAIN
            if not await self._wait_for_room(target, source, skb):
                return -errno.ECONNREFUSED
        self.deliver(target, skb)
        return size

    async def _wait_for_room(self, target: NetlinkSock, source: NetlinkSock, skb: int) -> bool:
        """False if the receiver went away meanwhile."""
        row, user = self.table[target.protocol], target.user
        assert user is not None
        timeout = source.user.timeouts[1] if source.user else None
        try:
            found = await user.room.wait(
                self._kernel, lambda: target not in row.socks or not self.full(target), timeout
            )
        except KernelError:
            await skbuff.free(self._kernel, skb)
            raise
        if found and target in row.socks:
            return True
        await skbuff.free(self._kernel, skb)
        if not found:
            raise KernelError(errno.EAGAIN, "the receiver's buffer stayed full")
        return False

    def _accepts(self, target: NetlinkSock, source: NetlinkSock) -> bool:
        user = target.user
        return user is None or user.peer is None or user.peer[0] == source.portid

    async def _to_kernel(self, target: NetlinkSock, source: NetlinkSock, skb: int, size: int) -> int:
        kernel = self._kernel
        if not target.input:
            await skbuff.free(kernel, skb)
            return -errno.ECONNREFUSED
        skbuff.set_owner(kernel, skb, target.address)
        skbuff.control_block(kernel, skb).sk = source.address
        if isinstance(target.input, int):
            await kernel.call_guest(target.input, skb)
        else:
            await target.input(skb)
        await skbuff.free(kernel, skb)
        return size

    def listeners(self, protocol: int, group: int) -> list[NetlinkSock]:
        """Programs' sockets in a group."""
        return [sock for sock in self.table[protocol].socks if group in sock.groups]

    async def broadcast(self, source: NetlinkSock, skb: int, portid: int, group: int) -> int:
        """Send to a group; the buffer is used up. 0, ENOBUFS, or ESRCH: nobody got it (netlink_broadcast)."""
        delivered, failed = False, False
        for sock in self.listeners(source.protocol, group):
            if sock is source or sock.portid == portid:
                continue
            assert sock.user is not None
            copy = 0 if self.full(sock) else skbuff.clone(self._kernel, skb)
            if copy:
                self.deliver(sock, copy)
                delivered = True
            else:
                self.overrun(sock)
                failed |= sock.user.broadcast_error
        await skbuff.free(self._kernel, skb)
        if failed:
            return -errno.ENOBUFS
        return 0 if delivered else -errno.ESRCH

    def announce(self, protocol: int, group: int, data: bytes) -> None:
        """The kernel itself tells a group; each listener gets a buffer of its own."""
        for sock in self.listeners(protocol, group):
            if not sock.portid:  # as in a broadcast by port id 0
                continue
            skb = 0 if self.full(sock) else skbuff.new_skb(self._kernel, data)
            if skb:
                skbuff.control_block(self._kernel, skb).dst_group = group
                self.deliver(sock, skb)
            else:
                self.overrun(sock)

    def warn_of_empty(self) -> None:
        """A program sends nothing: said once since boot."""
        if not self._warned:
            self._kernel.printk.emit("Zero length message leads to an empty skb\n", 4)
        self._warned = True

    # --- state ------------------------------------------------------------------------------------------

    def save(self) -> Any:
        """State for a snapshot or file."""
        rows = [[row.registered, row.groups, row.flags, row.module] for row in self.table]
        hooks = [
            [row.bind, row.unbind] if isinstance(row.bind, int) and isinstance(row.unbind, int) else None
            for row in self.table
        ]
        modules = [
            [sock.protocol, sock.address, sock.input]
            for sock in self
            if sock.user is None and sock not in self._own.values()
        ]
        own = [[protocol, sock.address] for protocol, sock in self._own.items()]
        counters = [self.rover, self._warned]
        state = {"rows": rows, "hooks": hooks, "modules": modules, "own": own, "counters": counters}
        return {**state, "users": self._saved.save(self)}

    def load(self, state: Any) -> None:
        """Put saved state back."""
        for row, saved, hooks in zip(self.table, state["rows"], state["hooks"], strict=True):
            row.registered, row.groups, row.flags, row.module = saved
            row.socks = []
            if hooks:
                row.bind, row.unbind = hooks
        for protocol, address in state["own"]:
            sock = self._own[protocol]
            sock.address = address
            self.table[protocol].socks.append(sock)
        for protocol, address, hook in state["modules"]:
            self.adopt(address, protocol, hook).bound = True
        for sock in self._saved.load(state["users"]):
            self.table[sock.protocol].socks.append(sock)
        self.rover, self._warned = state["counters"]

    def text(self) -> str:
        """/proc/net/netlink."""
        lines = ["sk               Eth Pid        Groups   Rmem     Wmem     Dump  Locks    Drops    Inode\n"]
        for sock in self:
            shown = vsnprintf(
                b"%pK", RegisterArguments([sock.address], self._kernel.memory, 0), self._kernel.format_context
            ).decode()
            groups = sum(1 << group - 1 for group in sock.groups if group <= 32)
            rmem = skbuff.rmem_alloc(self._kernel, sock.address)
            dump = bool(sock.user and sock.user.dump)
            inode = sock.user.inode if sock.user else 0
            lines.append(
                f"{shown} {sock.protocol:<3d} {sock.portid:<10d} {groups:08x} {rmem:<8d}"
                f" {0:<8d} {dump:<5d} {2:<8d} {sock.drops:<8d} {inode:<8d}\n"
            )
        return "".join(lines)

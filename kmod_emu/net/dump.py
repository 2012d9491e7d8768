"""Dumps: long answers, given part by part as the program reads (net/netlink/af_netlink.c)."""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING

from kmod_emu.kernel.activation import to_int
from kmod_emu.net import skbuff
from kmod_emu.net.message import header, new_extack, put
from kmod_emu.net.wire import ATTR_MSG, NLM_F_ACK_TLVS, NLM_F_MULTI, NLMSG_DONE, attribute, message
from kmod_emu.uapi import errno

if TYPE_CHECKING:
    from kmod_emu.kernel.kernel import KernelCore
    from kmod_emu.net.af_netlink import NetlinkSocket

_GOODSIZE = 4096 - skbuff.SHARED_INFO  # NLMSG_GOODSIZE
_NOT_DONE = 1


class DumpControl:
    """What makes the parts: struct netlink_dump_control with guest functions. Ours derive from it.

    Attributes:
        module: Whose module must not go while the dump is running.
    """

    def __init__(
        self,
        kernel: KernelCore,
        *,
        start: int = 0,
        dump: int = 0,
        done: int = 0,
        module: int = 0,
        data: int = 0,
    ) -> None:
        self.kernel, self.module, self.data = kernel, module, data
        self.functions = start, dump, done
        self.min_dump_alloc = 0

    async def start(self, cb: int) -> int:
        """Before the first part; 0 or a negative errno, and then nothing follows."""
        function = self.functions[0]
        return to_int(await self.kernel.call_guest(function, cb)) if function else 0

    async def dump(self, skb: int, cb: int) -> int:
        """Fill a part; 0 or a negative errno ends the dump, a positive number does not."""
        return to_int(await self.kernel.call_guest(self.functions[1], skb, cb))

    async def done(self, cb: int) -> None:
        """Behind the last part."""
        if self.functions[2]:
            await self.kernel.call_guest(self.functions[2], cb)


class Dump:
    """A dump that is going on, on a program's socket; `control` makes its parts."""

    def __init__(self, user: NetlinkSocket, control: DumpControl, cb: int) -> None:
        self._kernel, self._user, self.control, self._cb = user.kernel, user, control, cb
        self._result = _NOT_DONE

    async def go_on(self) -> int:
        """Make the next part and send it; 0 or a negative errno (netlink_dump)."""
        kernel, sock = self._kernel, self._user.sock
        view = kernel.view("netlink_callback", self._cb)
        size = max(view.min_dump_alloc, _GOODSIZE, self._user.longest)
        skb = skbuff.alloc_skb(kernel, size)
        if not skb or skbuff.rmem_alloc(kernel, sock.address) >= self._user.rcvbuf:
            await skbuff.free(kernel, skb)
            return -errno.ENOBUFS
        part = skbuff.view(kernel, skb)
        part.tail += part.end - size  # the program may have no room for more
        part.data += part.tail
        extack = new_extack(kernel)
        if self._result > 0:
            view.extack = extack.address
            self._result = await self.control.dump(skb, self._cb)
            view.extack = 0
        if self._result > 0 or part.end - part.tail < 20:
            kernel.heap.kfree(extack.address)
            self._user.netlink.deliver(sock, skb)
            return 0
        self._put_done(skb, view.answer_flags, extack.get("_msg"))
        kernel.heap.kfree(extack.address)
        self._user.netlink.deliver(sock, skb)
        await self.end()
        return 0

    def _put_done(self, skb: int, flags: int, text: int) -> None:
        kernel = self._kernel
        view = kernel.view("netlink_callback", self._cb)
        head = header(kernel, view.nlh)
        payload, flags = struct.pack("<i", self._result), flags | NLM_F_MULTI
        if text and self._user.ext_ack:
            payload += attribute(ATTR_MSG, kernel.memory.read_cstring(text) + b"\0")
            flags |= NLM_F_ACK_TLVS
        pid = skbuff.control_block(kernel, view.skb).portid
        put(kernel, skb, message(NLMSG_DONE, payload, flags=flags, seq=head.seq, pid=pid))

    async def end(self) -> None:
        """It is over, or the socket is closed before."""
        request = self._kernel.view("netlink_callback", self._cb).skb
        self._user.dump = None
        await self.control.done(self._cb)
        self._kernel.module_put(self.control.module)
        await skbuff.free(self._kernel, request)


async def start_dump(user: NetlinkSocket | None, skb: int, nlh: int, control: DumpControl) -> int:
    """Begin a dump for who sent `skb`: EINTR, which stands for "no acknowledgement", or what is wrong.

    ECONNREFUSED, the sender is gone; EBUSY, one is running; EPROTONOSUPPORT, the module is going
    (__netlink_dump_start).
    """
    if user is None:
        return -errno.ECONNREFUSED
    kernel = user.kernel
    if user.dump is not None:
        return -errno.EBUSY
    if not kernel.try_module_get(control.module):
        return -errno.EPROTONOSUPPORT
    cb = user.netlink.callback(user.sock)
    view = kernel.view("netlink_callback", cb)
    kernel.memory.clear(cb, view.layout.size)
    view.skb, view.nlh, view.module, view.min_dump_alloc = skb, nlh, control.module, control.min_dump_alloc
    view.dump, view.done = control.functions[1:]
    view.set("data", control.data)
    view.strict_check = user.strict
    skbuff.view(kernel, skb).users += 1
    dump = Dump(user, control, cb)
    user.dump = dump  # a second request meanwhile is refused
    error = await control.start(cb)
    if error:
        user.dump = None
        kernel.module_put(control.module)
        await skbuff.free(kernel, skb)
        return error
    return await dump.go_on() or -errno.EINTR

"""Network devices (net/core/dev.c): made, shown in /sys/class/net, and taken back; nothing is sent by them.

`struct net_device` lies in guest memory; kept here is which are registered, and which wait for the lock of
network configuration to be given back before the rest of them goes.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from kmod_emu.abi import lists
from kmod_emu.drivers.core import Devices
from kmod_emu.kernel.activation import to_int
from kmod_emu.kernel.notifier_chain import call_chain, chain_place
from kmod_emu.net.rtnetlink import Rtnl
from kmod_emu.uapi import errno

if TYPE_CHECKING:
    from kmod_emu.abi.structs import StructView
    from kmod_emu.kernel.kernel import KernelCore

IFNAMSIZ = 16
UNINITIALIZED, REGISTERED, UNREGISTERING, UNREGISTERED, RELEASED = range(5)  # reg_state
_REGISTER, _UNREGISTER, _POST_INIT = 5, 6, 17  # NETDEV_*
_DST_RELEASE, _NO_QUEUE = 1 << 5 | 1 << 17, 1 << 19  # IFF_XMIT_DST_RELEASE and _PERM, IFF_NO_QUEUE
_HW_ADDR, _HW_ADDR_SIZE, _MAX_ADDR_LEN = 40, 112, 32  # netdev_hw_addr.addr
_RX_QUEUE, _QUEUE_LENGTH, _ALIGN = 256, 1000, 32
_LOOPBACK, _IS_LOOPBACK = 772, 1 << 3  # ARPHRD_LOOPBACK, IFF_LOOPBACK
_PRESENT = 1 << 1  # __LINK_STATE_PRESENT
_MOST = {
    **dict.fromkeys(("gso_max_size", "gro_max_size", "tso_max_size"), 65536),
    **dict.fromkeys(("gso_max_segs", "tso_max_segs"), 65535),
}  # of one packet; not all releases know all of them
_LISTS = ("napi_list", "unreg_list", "close_list", "link_watch_list", "ptype_all", "ptype_specific",
          "net_notifier_list", "todo_list", "dev_list", "uc", "mc", "dev_addrs", "adj_list")  # fmt: skip
_NUMBERED = re.compile(r"%d")


class NetDevices:
    """Those that are registered, oldest first, and those that are to go."""

    def __init__(self, kernel: KernelCore) -> None:
        self._kernel = kernel
        self.registered: list[int] = []
        self.doomed: list[int] = []
        kernel[Devices].make_class(kernel.symbol("net_class"))
        kernel[Rtnl].todo = self.run_todo
        kernel.counted["network devices"] = lambda: len(self.registered)
        self._make_loopback()

    def _make_loopback(self) -> None:
        """The one that every namespace has, for who looks for it there; it has no directory in /sys."""
        kernel, size = self._kernel, self._kernel.profile.struct("net_device").size
        view = self._prepare(kernel.heap.kmalloc(size))
        view.set("type", _LOOPBACK)
        view.set("flags", _IS_LOOPBACK)
        view.set_bytes("name", b"lo")
        view.ifindex, view.mtu, view.addr_len, view.tx_queue_len = 1, 1 << 16, 6, _QUEUE_LENGTH
        view.hard_header_len = view.min_header_len = 14
        view.set_number("reg_state", REGISTERED)
        view.state = _PRESENT
        self._make_queues(view, 1, 1)
        self._enter(view)
        kernel.view("net", view.nd_net).loopback_dev = view.address

    def view(self, dev: int) -> StructView:
        """A typed view on one."""
        return self._kernel.view("net_device", dev)

    def name(self, dev: int) -> str:
        """What it is called."""
        return self.view(dev).text("name")

    def find(self, name: str) -> int:
        """The one of that name, 0 for none."""
        return next((dev for dev in self.registered if self.name(dev) == name), 0)

    # --- memory ---------------------------------------------------------------------------------------

    async def allocate(
        self, priv: int, name: bytes, assigned: int, setup: int, queues: tuple[int, int]
    ) -> int:
        """alloc_netdev_mqs(): zeros, what all begin with, then what its kind begins with; 0 for none."""
        kernel, layout = self._kernel, self._kernel.profile.struct("net_device")
        if min(queues) < 1:
            kernel.printk.emit("alloc_netdev: Unable to allocate device with zero queues\n", 3)
            return 0
        room = -(-layout.size // _ALIGN) * _ALIGN + priv
        view = self._prepare(kernel.heap.kmalloc(room))
        await kernel.call_guest(setup, view.address)
        if not view.tx_queue_len:
            view.set_number("priv_flags", view.number("priv_flags") | _NO_QUEUE)
            view.tx_queue_len = _QUEUE_LENGTH
        self._make_queues(view, *queues)
        view.set_bytes("name", name[: IFNAMSIZ - 1])
        view.name_assign_type = assigned
        return view.address

    def _prepare(self, dev: int) -> StructView:
        kernel, view = self._kernel, self.view(dev)
        for head in _LISTS:
            lists.init(kernel.memory, view.addressof(head))
        lists.init(kernel.memory, view.addressof("adj_list") + 16)
        address = kernel.heap.kmalloc(_HW_ADDR_SIZE)
        lists.add(kernel.memory, address, view.addressof("dev_addrs"))
        kernel.view("netdev_hw_addr_list", view.addressof("dev_addrs")).count = 1
        view.dev_addr, view.pcpu_refcnt = address + _HW_ADDR, kernel.percpu.allocate(4, 8)
        view.nd_net, view.upper_level, view.lower_level = kernel.symbol("init_net"), 1, 1
        for name, most in _MOST.items():
            if view.has(name):
                view.set(name, most)
        view.set_number("priv_flags", _DST_RELEASE)
        return view

    def _make_queues(self, view: StructView, tx: int, rx: int) -> None:
        kernel, size = self._kernel, self._kernel.profile.struct("netdev_queue").size
        view.num_tx_queues = view.real_num_tx_queues = tx
        view.num_rx_queues = view.real_num_rx_queues = rx
        view.set("_tx", kernel.heap.kmalloc(tx * size))
        view.set("_rx", kernel.heap.kmalloc(rx * _RX_QUEUE))
        for index in range(tx):
            kernel.view("netdev_queue", view.get("_tx") + index * size).dev = view.address

    async def free(self, view: StructView) -> None:
        """free_netdev(): at once, with its last reference, or when it has been unregistered."""
        kernel = self._kernel
        if view.number("reg_state") == UNREGISTERING:
            view.needs_free_netdev = 1
            return
        for part in (view.get("_tx"), view.get("_rx"), view.dev_addr - _HW_ADDR):
            kernel.heap.kfree(part)
        kernel.percpu.free(view.pcpu_refcnt)
        view.set("_tx", 0)
        view.set("_rx", 0)
        view.dev_addr = view.pcpu_refcnt = 0
        if view.number("reg_state") == UNINITIALIZED:
            kernel.heap.kfree(view.address)
        else:
            view.set_number("reg_state", RELEASED)
            await kernel.kobjects.put(view.addressof("dev"))

    # --- coming and going -------------------------------------------------------------------------------

    async def register(self, view: StructView) -> int:
        """register_netdevice(): a number, a place in /sys, and everybody is told; 0 or a negative errno."""
        kernel = self._kernel
        if error := self.choose_name(view, view.text("name")):
            return error
        operations = kernel.view("net_device_ops", view.netdev_ops)
        if operations.ndo_init and (
            error := to_int(await kernel.call_guest(operations.ndo_init, view.address))
        ):
            return -errno.EIO if error > 0 else error
        if not view.ifindex:
            taken = {self.view(dev).ifindex for dev in self.registered}
            view.ifindex = next(number for number in range(2, 1 << 31) if number not in taken)
        error = await self.tell(view, _POST_INIT) or await self._show(view)
        if error:
            await self._uninit(view)
            return error
        view.set_number("reg_state", REGISTERED)
        view.state |= _PRESENT
        if not view.addr_assign_type:
            view.set_bytes("perm_addr", kernel.memory.read(view.dev_addr, min(view.addr_len, _MAX_ADDR_LEN)))
        self._enter(view)
        if error := await self.tell(view, _REGISTER):
            await self.unregister([view])
        return error

    def _enter(self, view: StructView) -> None:
        base = self._kernel.view("net", view.nd_net).addressof("dev_base_head")
        lists.add_tail(self._kernel.memory, view.addressof("dev_list"), base)
        self.registered.append(view.address)

    def choose_name(self, view: StructView, wanted: str) -> int:
        """dev_get_valid_name(): `%d` becomes the lowest number that is free; 0 or a negative errno."""
        if not valid_name(wanted):
            return -errno.EINVAL
        names = {self.name(dev) for dev in self.registered}
        if "%" in wanted:
            if len(_NUMBERED.findall(wanted)) != 1 or wanted.count("%") != 1:
                return -errno.EINVAL
            wanted = next(
                name for number in range(1 << 15) if (name := wanted.replace("%d", str(number))) not in names
            )
        elif wanted in names:
            return -errno.EEXIST
        view.set_bytes("name", wanted.encode("utf-8", "surrogateescape")[: IFNAMSIZ - 1])
        return 0

    async def _show(self, view: StructView) -> int:
        kernel, dev = self._kernel, view.addressof("dev")
        kernel[Devices].initialize(dev)
        device = kernel.view("device", dev)
        device.set("class", kernel.symbol("net_class"))
        device.groups = view.addressof("sysfs_groups")
        kernel.kobjects.set_name(dev, view.text("name").encode("utf-8", "surrogateescape"))
        return await kernel[Devices].add(dev)

    async def tell(self, view: StructView, event: int) -> int:
        """Call the notifiers of network devices; 0 or a negative errno."""
        kernel = self._kernel
        info = kernel.heap.kmalloc(16)
        kernel.memory.write_u64(info, view.address)
        answer, _ = await call_chain(kernel, chain_place(kernel, "netdevice"), event, info)
        kernel.heap.kfree(info)
        answer &= 0x7FFF
        return 1 - answer if answer > 1 else 0

    async def _uninit(self, view: StructView) -> None:
        operations = self._kernel.view("net_device_ops", view.netdev_ops)
        if operations.ndo_uninit:
            await self._kernel.call_guest(operations.ndo_uninit, view.address)
        if view.priv_destructor:
            await self._kernel.call_guest(view.priv_destructor, view.address)

    async def unregister(self, views: list[StructView]) -> None:
        """unregister_netdevice_many(): they vanish; what is left of them goes with the lock."""
        kernel = self._kernel
        views = [view for view in views if view.address in self.registered]
        for view in views:
            self.registered.remove(view.address)
            view.dismantle = 1
            view.set_number("reg_state", UNREGISTERING)
            lists.delete_init(kernel.memory, view.addressof("dev_list"))
        for view in views:
            await self.tell(view, _UNREGISTER)
            operations = kernel.view("net_device_ops", view.netdev_ops)
            if operations.ndo_uninit:
                await kernel.call_guest(operations.ndo_uninit, view.address)
            await kernel[Devices].delete(view.addressof("dev"))
            self.doomed.append(view.address)

    async def run_todo(self) -> None:
        """netdev_run_todo(): the lock was given back."""
        kernel = self._kernel
        while self.doomed:
            view = self.view(self.doomed.pop(0))
            view.set_number("reg_state", UNREGISTERED)
            kernel.kobjects.get(view.addressof("dev"))
            if view.priv_destructor:
                await kernel.call_guest(view.priv_destructor, view.address)
            if view.needs_free_netdev:
                await self.free(view)
            await kernel.kobjects.put(view.addressof("dev"))

    def save(self) -> Any:
        """State for a snapshot or file."""
        return [list(self.registered), list(self.doomed)]

    def load(self, state: Any) -> None:
        """Put saved state back."""
        self.registered, self.doomed = list(state[0]), list(state[1])


def valid_name(name: str) -> bool:
    """dev_valid_name(): not too long, no path, no white space, no colon."""
    if not 0 < len(name.encode("utf-8", "surrogateescape")) < IFNAMSIZ or name in (".", ".."):
        return False
    return not any(letter in "/:" or letter.isspace() for letter in name)

"""What drivers of network devices call (net/core/dev.c, net/ethernet/eth.c, net/core/rtnetlink.c)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from kmod_emu.abi import lists
from kmod_emu.drivers.attributes import define_device_type
from kmod_emu.drivers.dev_printk import prefix
from kmod_emu.drivers.device import class_create_file_ns, class_remove_file_ns
from kmod_emu.drivers.families.protocols import KIND_OF_LINKS
from kmod_emu.drivers.netdevice import NetDevices, valid_name
from kmod_emu.drivers.registration import Registrations, families
from kmod_emu.fs.uevent import add_variable
from kmod_emu.kernel.exports import Fidelity, export, export_data
from kmod_emu.kernel.standin import declare_answers
from kmod_emu.kernel.vsprintf import vsnprintf
from kmod_emu.net.rtnetlink import rtnl_lock, rtnl_unlock
from kmod_emu.uapi import errno

if TYPE_CHECKING:
    from kmod_emu.abi.structs import StructView
    from kmod_emu.kernel.kernel import KernelCore
    from kmod_emu.kernel.va_list import Arguments

_NO_CARRIER = 1 << 2  # __LINK_STATE_NOCARRIER
_ETHERNET, _HEADER, _MTU, _MIN_MTU, _ADDRESS, _BROADCAST, _SHARING = 1, 14, 1500, 68, 6, 0x1002, 1 << 11
_STATES = (" (uninitialized)", "", " (unregistering)", " (unregistered)", " (released)")
_SHOW = "(struct device *dev, struct device_attribute *attr, char *buf)"
_DST_CACHE, _CELL = 40, 448


def _declare_file(name: str) -> None:
    @export(f"ssize_t net_{name}_show{_SHOW}")
    def show(kernel: KernelCore, dev: int, attr: int, buf: int) -> int:
        """A file of a device's (net/core/net-sysfs.c)."""
        view = kernel.view("net_device", dev - kernel.profile.offset("net_device", "dev"))
        if name == "address":
            text = kernel.memory.read(view.dev_addr, view.addr_len).hex(":")
        else:
            text = str(view.get(name))
        kernel.memory.write(buf, text.encode() + b"\n\0")
        return len(text) + 1


_FILES = ("address", "ifindex", "mtu", "type")
for _name in _FILES:
    _declare_file(_name)
define_device_type(
    "net_device_type", "netdev_release", "", {name: (0o444, f"net_{name}_show", "") for name in _FILES}
)


@export_data("struct class net_class", lambda kernel: kernel.profile.struct("class").size + 16)
def net_class(kernel: KernelCore, address: int) -> None:
    """/sys/class/net; its name lies behind it."""
    view = kernel.view("class", address)
    kernel.memory.write(address + view.layout.size, b"net\0")
    view.set("name", address + view.layout.size)
    view.dev_groups = kernel.symbol("net_device_type") + 64
    view.dev_release = kernel.symbol("netdev_release")
    view.dev_uevent = kernel.symbol("netdev_uevent")


@export("int netdev_uevent(struct device *dev, struct kobj_uevent_env *env)")
def netdev_uevent(kernel: KernelCore, dev: int, env: StructView) -> int:
    """INTERFACE and IFINDEX, by which udev knows it."""
    view = kernel.view("net_device", dev - kernel.profile.offset("net_device", "dev"))
    for variable in (f"INTERFACE={view.text('name')}", f"IFINDEX={view.ifindex}"):
        add_variable(kernel, env, variable.encode("utf-8", "surrogateescape"))
    return 0


@export("void netdev_release(struct device *dev)")
def netdev_release(kernel: KernelCore, dev: int) -> None:
    """The last reference is gone."""
    kernel.heap.kfree(dev - kernel.profile.offset("net_device", "dev"))


# --- made and registered --------------------------------------------------------------------------------


@export(
    "struct net_device *alloc_netdev_mqs(int sizeof_priv, const char *name, unsigned char name_assign_type,"
    " void (*setup)(struct net_device *), unsigned int txqs, unsigned int rxqs)",
    Fidelity.REGISTRATION,
)
async def alloc_netdev_mqs(
    kernel: KernelCore, sizeof_priv: int, name: bytes, name_assign_type: int, setup: int, txqs: int, rxqs: int
) -> int:
    """A device that is not registered yet."""
    return await kernel[NetDevices].allocate(sizeof_priv, name, name_assign_type, setup, (txqs, rxqs))


@export(
    "struct net_device *alloc_etherdev_mqs(int sizeof_priv, unsigned int txqs, unsigned int rxqs)",
    Fidelity.REGISTRATION,
)
async def alloc_etherdev_mqs(kernel: KernelCore, sizeof_priv: int, txqs: int, rxqs: int) -> int:
    """One for Ethernet."""
    setup = kernel.symbol("ether_setup")
    return await kernel[NetDevices].allocate(sizeof_priv, b"eth%d", 1, setup, (txqs, rxqs))


@export("void ether_setup(struct net_device *dev)")
def ether_setup(kernel: KernelCore, dev: StructView) -> None:
    """What an Ethernet device begins with (net/ethernet/eth.c)."""
    dev.set("type", _ETHERNET)
    dev.hard_header_len = dev.min_header_len = _HEADER
    dev.mtu = dev.max_mtu = _MTU
    dev.min_mtu, dev.addr_len, dev.tx_queue_len = _MIN_MTU, _ADDRESS, 1000
    dev.set("flags", _BROADCAST)
    dev.set_number("priv_flags", dev.number("priv_flags") | _SHARING)
    dev.set_bytes("broadcast", b"\xff" * _ADDRESS)


@export("void free_netdev(struct net_device *dev)", Fidelity.REGISTRATION)
async def free_netdev(kernel: KernelCore, dev: StructView) -> None:
    """It is given back."""
    await kernel[NetDevices].free(dev)


@export("int register_netdevice(struct net_device *dev)", Fidelity.REGISTRATION)
async def register_netdevice(kernel: KernelCore, dev: StructView) -> int:
    """It is there, for those who hold the lock."""
    return await kernel[NetDevices].register(dev)


@export("int register_netdev(struct net_device *dev)", Fidelity.REGISTRATION)
async def register_netdev(kernel: KernelCore, dev: StructView) -> int:
    """It is there."""
    await rtnl_lock(kernel)
    error = await kernel[NetDevices].register(dev)
    await rtnl_unlock(kernel)
    return error


@export(
    "void unregister_netdevice_queue(struct net_device *dev, struct list_head *head)", Fidelity.REGISTRATION
)
async def unregister_netdevice_queue(kernel: KernelCore, dev: StructView, head: int) -> None:
    """It goes, now or with others."""
    if not head:
        await kernel[NetDevices].unregister([dev])
        return
    lists.delete_init(kernel.memory, dev.addressof("unreg_list"))
    lists.add_tail(kernel.memory, dev.addressof("unreg_list"), head)


@export("void unregister_netdevice_many(struct list_head *head)", Fidelity.REGISTRATION)
async def unregister_netdevice_many(kernel: KernelCore, head: int) -> None:
    """Those of a list go."""
    offset, views = kernel.profile.offset("net_device", "unreg_list"), []
    for entry in list(lists.walk(kernel.memory, head)):
        lists.delete_init(kernel.memory, entry)
        views.append(kernel.view("net_device", entry - offset))
    await kernel[NetDevices].unregister(views)


@export("void unregister_netdev(struct net_device *dev)", Fidelity.REGISTRATION)
async def unregister_netdev(kernel: KernelCore, dev: StructView) -> None:
    """It goes."""
    await rtnl_lock(kernel)
    await kernel[NetDevices].unregister([dev])
    await rtnl_unlock(kernel)


# --- kinds of links -------------------------------------------------------------------------------------


async def _leave(kernel: KernelCore, ops: StructView) -> None:
    """__rtnl_link_unregister(): its devices go with it."""
    head = kernel.heap.kmalloc(16)
    lists.init(kernel.memory, head)
    for dev in list(kernel[NetDevices].registered):
        if kernel.view("net_device", dev).rtnl_link_ops == ops.address and ops.dellink:
            await kernel.call_guest(ops.dellink, dev, head)
    await unregister_netdevice_many(kernel, head)
    kernel.heap.kfree(head)
    kernel[Registrations].remove(families()[KIND_OF_LINKS], ops.address)


@export("int __rtnl_link_register(struct rtnl_link_ops *ops)", Fidelity.REGISTRATION)
def __rtnl_link_register(kernel: KernelCore, ops: int) -> int:
    """A kind of links, for those who hold the lock."""
    return kernel[Registrations].add(families()[KIND_OF_LINKS], ops)


@export("void __rtnl_link_unregister(struct rtnl_link_ops *ops)", Fidelity.REGISTRATION)
async def __rtnl_link_unregister(kernel: KernelCore, ops: StructView) -> None:
    """It goes, with its devices."""
    await _leave(kernel, ops)


@export("void rtnl_link_unregister(struct rtnl_link_ops *ops)", Fidelity.REGISTRATION)
async def rtnl_link_unregister(kernel: KernelCore, ops: StructView) -> None:
    """It goes, with its devices."""
    await rtnl_lock(kernel)
    await _leave(kernel, ops)
    await rtnl_unlock(kernel)


@export_data(
    "struct rw_semaphore pernet_ops_rwsem", lambda kernel: kernel.profile.struct("rw_semaphore").size
)
def pernet_ops_rwsem(kernel: KernelCore, address: int) -> None:
    """What keeps network namespaces as they are."""
    if kernel.profile.has("rw_semaphore.wait_list"):  # else it is a pointer, and there is nobody
        lists.init(kernel.memory, address + kernel.profile.offset("rw_semaphore", "wait_list"))


# --- names, addresses, messages ---------------------------------------------------------------------------


@export("bool dev_valid_name(const char *name)")
def dev_valid_name(kernel: KernelCore, name: str) -> bool:
    """Whether a device may be called so."""
    return valid_name(name)


@export("int dev_alloc_name(struct net_device *dev, const char *name)")
def dev_alloc_name(kernel: KernelCore, dev: StructView, name: str) -> int:
    """Call it so, with a number for `%d`, which is the answer."""
    if error := kernel[NetDevices].choose_name(dev, name):
        return error
    number = dev.text("name")[name.find("%d") :] if "%d" in name else "0"
    return int(number.rstrip(name.partition("%d")[2]) or 0)


def _declare_search(name: str, argument: str, *, held: bool) -> None:
    @export(f"struct net_device *{name}(struct net *net, {argument})")
    def search(kernel: KernelCore, net: int, wanted: int) -> int:
        """The device of a name or number, NULL for none."""
        devices = kernel[NetDevices]
        if argument.startswith("int"):
            found = (dev for dev in devices.registered if devices.view(dev).ifindex == wanted)
            dev = next(found, 0)
        else:
            dev = devices.find(kernel.memory.read_text(wanted))
        if dev and held:
            count = kernel.percpu.address(devices.view(dev).pcpu_refcnt)
            kernel.memory.write_u32(count, kernel.memory.read_u32(count) + 1 & 0xFFFF_FFFF)
        return dev


for _by, _argument in (("name", "const char *name"), ("index", "int ifindex")):
    for _before, _behind in (("__", ""), ("", ""), ("", "_rcu")):
        _declare_search(f"{_before}dev_get_by_{_by}{_behind}", _argument, held=not _before and not _behind)


@export("void dev_addr_mod(struct net_device *dev, unsigned int offset, const void *addr, size_t len)")
def dev_addr_mod(kernel: KernelCore, dev: StructView, offset: int, addr: int, len: int) -> None:
    """Change its address, and the copy that shows whether somebody else did (net/core/dev_addr_lists.c)."""
    data = kernel.memory.read(addr, len)
    kernel.memory.write(dev.dev_addr + offset, data)
    kernel.memory.write(dev.addressof("dev_addr_shadow") + offset, data)


@export("void netif_carrier_on(struct net_device *dev)")
def netif_carrier_on(kernel: KernelCore, dev: StructView) -> None:
    """Somebody is at the other end (net/sched/sch_generic.c)."""
    dev.state &= ~_NO_CARRIER


@export("void netif_carrier_off(struct net_device *dev)")
def netif_carrier_off(kernel: KernelCore, dev: StructView) -> None:
    """Nobody is (net/sched/sch_generic.c)."""
    dev.state |= _NO_CARRIER


def netdev_prefix(kernel: KernelCore, dev: int) -> str:
    """Driver and parent, if it has one; its name, and how far it is."""
    if not dev:
        return "(NULL net_device): "
    view = kernel.view("net_device", dev)
    name, state = view.text("name"), view.number("reg_state")
    who = name if name and "%" not in name else "(unnamed net_device)"
    parent = kernel.view("device", view.addressof("dev")).parent
    before = prefix(kernel, parent).removesuffix(": ") + " " if parent else ""
    return f"{before}{who}{_STATES[state] if state < len(_STATES) else ' (unknown)'}: "


def _declare_message(level: int, name: str) -> None:
    @export(f"void netdev_{name}(const struct net_device *dev, const char *fmt, ...)")
    def message(kernel: KernelCore, dev: int, fmt: bytes, args: Arguments) -> None:
        """A line of the log that begins with the device's name."""
        text = vsnprintf(fmt, args, kernel.format_context)
        kernel.printk.emit(netdev_prefix(kernel, dev).encode("utf-8", "surrogateescape") + text, level)


for _level, _kind in enumerate(("emerg", "alert", "crit", "err", "warn", "notice", "info")):
    _declare_message(_level, _kind)


@export("int netdev_class_create_file_ns(const struct class_attribute *class_attr, const void *ns)")
def netdev_class_create_file_ns(kernel: KernelCore, class_attr: int, ns: int) -> int:
    """A file in /sys/class/net."""
    return class_create_file_ns(kernel, kernel.symbol("net_class"), class_attr, ns)


@export("void netdev_class_remove_file_ns(const struct class_attribute *class_attr, const void *ns)")
def netdev_class_remove_file_ns(kernel: KernelCore, class_attr: int, ns: int) -> None:
    """It goes."""
    class_remove_file_ns(kernel, kernel.symbol("net_class"), class_attr, ns)


# --- what tunnels have --------------------------------------------------------------------------------------


@export("int dst_cache_init(struct dst_cache *dst_cache, gfp_t gfp)")
def dst_cache_init(kernel: KernelCore, dst_cache: StructView, gfp: int) -> int:
    """Room for a route that was used, for each processor (net/core/dst_cache.c)."""
    dst_cache.cache = kernel.percpu.allocate(_DST_CACHE, 8)
    return 0 if dst_cache.cache else -errno.ENOMEM


@export("void dst_cache_destroy(struct dst_cache *dst_cache)")
def dst_cache_destroy(kernel: KernelCore, dst_cache: StructView) -> None:
    """It goes; no route is in it (net/core/dst_cache.c)."""
    if dst_cache.cache:
        kernel.percpu.free(dst_cache.cache)


@export("int gro_cells_init(struct gro_cells *gcells, struct net_device *dev)", Fidelity.REGISTRATION)
def gro_cells_init(kernel: KernelCore, gcells: StructView, dev: int) -> int:
    """Where packets would be put together (net/core/gro_cells.c)."""
    gcells.cells = kernel.percpu.allocate(_CELL, 8)
    return 0 if gcells.cells else -errno.ENOMEM


@export("void gro_cells_destroy(struct gro_cells *gcells)", Fidelity.REGISTRATION)
def gro_cells_destroy(kernel: KernelCore, gcells: StructView) -> None:
    """It goes (net/core/gro_cells.c)."""
    if gcells.cells:
        kernel.percpu.free(gcells.cells)
        gcells.cells = 0


# Nobody listens, no packet waits, no device is below another.
declare_answers(
    __name__,
    {
        "void netdev_state_change(struct net_device *dev)": 0,
        "void *netdev_lower_get_next_private(struct net_device *dev, struct list_head **iter)": 0,
        "void netif_tx_wake_queue(struct netdev_queue *q)": 0,
    },
    Fidelity.REGISTRATION,
)

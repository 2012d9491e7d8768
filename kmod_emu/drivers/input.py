"""Input devices, handlers of their events, and the handles between them (drivers/input/input.c).

`struct input_dev`, `input_handler` and `input_handle` lie in guest memory, in lists as in Linux; kept here is
which devices and handlers are registered. What events do is in input_events.py, /dev/input in evdev.py.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from kmod_emu.abi import lists
from kmod_emu.drivers import devres, input_poller
from kmod_emu.drivers.core import Devices
from kmod_emu.drivers.dev_printk import prefix
from kmod_emu.drivers.input_bits import CODES, EV_ABS, EV_CNT, EV_KEY, EV_PWR, KEY_RESERVED, Bits
from kmod_emu.drivers.input_events import input_handle_event, start_softrepeat
from kmod_emu.kernel import report
from kmod_emu.kernel.exports import export
from kmod_emu.kernel.locking import init_lock
from kmod_emu.kernel.timer import init_timer_key
from kmod_emu.uapi import errno

if TYPE_CHECKING:
    from collections.abc import Iterator

    from kmod_emu.abi.structs import StructView
    from kmod_emu.kernel.kernel import KernelCore

_ABSINFO_SIZE, _ABS_CNT = 24, 64
_VALUE_SIZE = 8  # struct input_value
# What an entry of a handler's table asks to be the same, by bit of its `flags`.
_SAME = {1: "bustype", 2: "vendor", 4: "product", 8: "version"}
_CONTAINED = (
    "evbit",
    "keybit",
    "relbit",
    "absbit",
    "mscbit",
    "ledbit",
    "sndbit",
    "ffbit",
    "swbit",
    "propbit",
)


class Inputs:
    """The registered devices and handlers, oldest first."""

    def __init__(self, kernel: KernelCore) -> None:
        self._kernel = kernel
        self.devices: list[int] = []
        self.handlers: list[int] = []
        self._number = 0
        kernel[Devices].make_class(kernel.symbol("input_class"))

    def view(self, dev: int) -> StructView:
        """A typed view on a `struct input_dev`."""
        return self._kernel.view("input_dev", dev)

    def of_device(self, dev: int) -> int:
        """The input device around a `struct device`."""
        return dev - self._kernel.profile.offset("input_dev", "dev")

    def handles(self, dev: int) -> Iterator[StructView]:
        """A device's handles, in the order in which they get its events."""
        return self._walk(self.view(dev).addressof("h_list"), "d_node")

    def handles_of(self, handler: int) -> Iterator[StructView]:
        """A handler's handles."""
        return self._walk(self._kernel.view("input_handler", handler).addressof("h_list"), "h_node")

    def _walk(self, head: int, node: str) -> Iterator[StructView]:
        offset = self._kernel.profile.offset("input_handle", node)
        for entry in lists.walk(self._kernel.memory, head):
            yield self._kernel.view("input_handle", entry - offset)

    # --- devices ------------------------------------------------------------------------------------

    def allocate(self) -> int:
        """A device that nobody sees yet; 0 if there is no memory."""
        kernel = self._kernel
        dev = kernel.heap.kmalloc(kernel.profile.struct("input_dev").size)
        if not dev:
            return 0
        view = self.view(dev)
        device = kernel.view("device", view.addressof("dev"))
        device.set("type", kernel.symbol("input_dev_type"))
        device.set("class", kernel.symbol("input_class"))
        kernel[Devices].initialize(device.address)
        init_lock(kernel, "mutex", view.addressof("mutex"))
        init_timer_key(kernel, view.addressof("timer"), 0, 0, 0, 0)
        for head in ("h_list", "node"):
            lists.init(kernel.memory, view.addressof(head))
        kernel.kobjects.set_name(device.address, b"input%d" % self._number)
        self._number += 1
        return dev

    async def register(self, dev: int) -> int:
        """input_register_device(): show it, and let handlers connect; 0 or a negative errno."""
        kernel, view = self._kernel, self.view(dev)
        device, bits = view.addressof("dev"), Bits(view)
        if bits.test("evbit", EV_ABS) and not view.absinfo:
            text = "Absolute device without dev->absinfo, refusing to register"
            kernel.printk.emit(f"{prefix(kernel, device)}{text}\n", 3)
            return -errno.EINVAL
        bits.set("evbit", 0)
        bits.clear("keybit", KEY_RESERVED)
        for kind, (member, _) in CODES.items():
            if not bits.test("evbit", kind):
                kernel.memory.clear(view.addressof(member), len(view.bytes(member)))
        view.hint_events_per_packet = max(view.hint_events_per_packet, _packet_size(bits))
        view.max_vals = view.hint_events_per_packet + 2
        view.vals = kernel.heap.kmalloc(view.max_vals * _VALUE_SIZE)
        if not any(view.bytes("rep")):
            start_softrepeat(kernel, view, 250, 33)
        error = await kernel[Devices].add(device)
        if error:
            kernel.heap.kfree(view.vals)
            view.vals = 0
            return error
        named = kernel.memory.read_text(view.get("name")) if view.get("name") else "Unspecified device"
        kernel.printk.emit(f"input: {named} as {kernel.kobjects.sysfs.path(device)}\n", 6)
        self.devices.append(dev)
        for handler in self.handlers:
            await self._attach(view, handler)
        if view.devres_managed:
            parent = kernel.view("device", device).parent
            self._manage(parent, "devm_input_device_unregister", dev)
        return 0

    def _manage(self, parent: int, release: str, dev: int) -> None:
        kernel = self._kernel
        res = devres.devres_alloc_node(kernel, kernel.symbol(release), 8, 0, 0)
        kernel.memory.write_u64(res, dev)
        devres.devres_add(kernel, parent, res)

    async def unmanage(self, view: StructView, release: str) -> None:
        """Take it from the list of what its parent's driver will give back."""
        kernel = self._kernel

        async def same(res: int) -> bool:
            return kernel.memory.read_u64(res) == view.address

        parent = kernel.view("device", view.addressof("dev")).parent
        devres.devres_free(kernel, await devres.remove(kernel, parent, kernel.symbol(release), same))

    def allocate_managed(self, parent: int) -> int:
        """devm_input_allocate_device()."""
        dev = self.allocate()
        if dev:
            view = self.view(dev)
            self._kernel.view("device", view.addressof("dev")).parent = parent
            view.devres_managed = 1
            self._manage(parent, "devm_input_device_release", dev)
        return dev

    async def unregister(self, dev: int) -> None:
        """__input_unregister_device(): keys go up, handlers let go, nobody sees it."""
        kernel, view = self._kernel, self.view(dev)
        view.going_away = 1
        if Bits(view).test("evbit", EV_KEY):
            await release_keys(kernel, view)
        for handle in self.handles(dev):
            handle.open = 0
        for handle in list(self.handles(dev)):
            disconnect = kernel.view("input_handler", handle.handler).disconnect
            await kernel.call_guest(disconnect, handle.address)
        kernel.timers.disarm(view.addressof("timer"))
        if dev in self.devices:
            self.devices.remove(dev)
        await kernel[Devices].delete(view.addressof("dev"))

    # --- handlers -----------------------------------------------------------------------------------

    def add_handler(self, handler: int) -> None:
        """It is asked about every device to come."""
        lists.init(self._kernel.memory, self._kernel.view("input_handler", handler).addressof("h_list"))
        self.handlers.append(handler)

    async def register_handler(self, handler: int) -> None:
        """input_register_handler(): it is asked about every device there is, too."""
        self.add_handler(handler)
        for dev in list(self.devices):
            await self._attach(self.view(dev), handler)

    async def unregister_handler(self, handler: int) -> None:
        """input_unregister_handler(): it lets go of all devices."""
        disconnect = self._kernel.view("input_handler", handler).disconnect
        for handle in list(self.handles_of(handler)):
            await self._kernel.call_guest(disconnect, handle.address)
        if handler in self.handlers:
            self.handlers.remove(handler)

    async def _attach(self, view: StructView, handler: int) -> None:
        """input_attach_handler(): connect them if the handler's table or match() says so."""
        kernel, own = self._kernel, self._kernel.view("input_handler", handler)
        entry = kernel.view("input_device_id", own.id_table)
        while entry.flags or entry.driver_info:
            if matches(view, entry) and (
                not own.match or await kernel.call_guest(own.match, handler, view.address) & 0xFF
            ):
                break
            entry = kernel.view("input_device_id", entry.address + entry.layout.size)
        else:
            return
        error = await kernel.call_guest_int(own.connect, handler, view.address, entry.address)
        if error and error != -errno.ENODEV:
            name = kernel.memory.read_text(own.get("name"))
            device = kernel.kobjects.name(view.addressof("dev"))
            text = f"failed to attach handler {name} to device {device}, error: {error}"
            kernel.printk.emit(f"input: {text}\n", 3)

    # --- state --------------------------------------------------------------------------------------

    def save(self) -> Any:
        """State for a snapshot or file."""
        return [list(self.devices), list(self.handlers), self._number]

    def load(self, state: Any) -> None:
        """Put saved state back."""
        self.devices, self.handlers, self._number = list(state[0]), list(state[1]), state[2]


def matches(view: StructView, entry: StructView) -> bool:
    """input_match_device_id(): the entry's numbers are the device's, its bits are among the device's."""
    id_ = view.memory.read(view.addressof("id"), 8)
    for index, (flag, member) in enumerate(_SAME.items()):
        if entry.flags & flag and entry.get(member) != int.from_bytes(
            id_[2 * index : 2 * index + 2], "little"
        ):
            return False
    wanted = (int.from_bytes(entry.bytes(member), "little") for member in _CONTAINED)
    own = (int.from_bytes(view.bytes(member), "little") for member in _CONTAINED)
    return all(not asked & ~has for asked, has in zip(wanted, own, strict=True))


def _packet_size(bits: Bits) -> int:
    """input_estimate_events_per_packet(): what one movement of everything comes to."""
    axes = sum(
        bits.count(member) for kind, member in ((2, "relbit"), (3, "absbit")) if bits.test("evbit", kind)
    )
    return 1 + axes + 7  # SYN_REPORT; some keys


async def release_keys(kernel: KernelCore, view: StructView) -> None:
    """input_dev_release_keys(): what is down goes up."""
    bits = Bits(view)
    down = [code for code in range(CODES[EV_KEY][1] + 1) if bits.test("key", code)]
    for code in down:
        await input_handle_event(kernel, view, EV_KEY, code, 0)
    if down:
        await input_handle_event(kernel, view, 0, 0, 1)


# --- what drivers call ----------------------------------------------------------------------------------


@export("struct input_dev *input_allocate_device(void)")
def input_allocate_device(kernel: KernelCore) -> int:
    """A device on the heap."""
    return kernel[Inputs].allocate()


@export("struct input_dev *devm_input_allocate_device(struct device *dev)")
def devm_input_allocate_device(kernel: KernelCore, dev: int) -> int:
    """Likewise, until the driver's end."""
    return kernel[Inputs].allocate_managed(dev)


@export("void devm_input_device_release(struct device *dev, void *res)")
async def devm_input_device_release(kernel: KernelCore, dev: int, res: int) -> None:
    """Drop a managed device."""
    view = kernel[Inputs].view(kernel.memory.read_u64(res))
    await kernel.kobjects.put(view.addressof("dev"))


@export("void devm_input_device_unregister(struct device *dev, void *res)")
async def devm_input_device_unregister(kernel: KernelCore, dev: int, res: int) -> None:
    """Unregister a managed device."""
    await kernel[Inputs].unregister(kernel.memory.read_u64(res))


@export("void input_free_device(struct input_dev *dev)")
async def input_free_device(kernel: KernelCore, dev: int) -> None:
    """Free a device that was not registered."""
    if dev:
        view = kernel[Inputs].view(dev)
        if view.devres_managed:
            await kernel[Inputs].unmanage(view, "devm_input_device_release")
        await kernel.kobjects.put(view.addressof("dev"))


@export("void input_dev_release(struct device *device)")
def input_dev_release(kernel: KernelCore, device: int) -> None:
    """The last reference is gone."""
    dev = kernel[Inputs].of_device(device)
    view = kernel[Inputs].view(dev)
    for place in (view.absinfo, view.vals, view.poller, dev):
        if place:
            kernel.heap.kfree(place)


@export("int input_register_device(struct input_dev *dev)")
async def input_register_device(kernel: KernelCore, dev: int) -> int:
    """Show a device in /sys, and an evdev node of it in /dev/input."""
    return await kernel[Inputs].register(dev)


@export("void input_unregister_device(struct input_dev *dev)")
async def input_unregister_device(kernel: KernelCore, dev: int) -> None:
    """Show it no longer, and drop it."""
    view = kernel[Inputs].view(dev)
    if view.devres_managed:
        await kernel[Inputs].unmanage(view, "devm_input_device_unregister")
        await kernel[Inputs].unregister(dev)  # devres drops it
        return
    await kernel[Inputs].unregister(dev)
    await kernel.kobjects.put(view.addressof("dev"))


def alloc_absinfo(kernel: KernelCore, view: StructView) -> bool:
    """input_alloc_absinfo(): where ranges and positions of axes are kept."""
    if not view.absinfo:
        view.absinfo = kernel.heap.kmalloc(_ABS_CNT * _ABSINFO_SIZE)
    return bool(view.absinfo)


@export("void input_alloc_absinfo(struct input_dev *dev)")
def input_alloc_absinfo(kernel: KernelCore, dev: StructView) -> None:
    """See above."""
    alloc_absinfo(kernel, dev)


@export(
    "void input_set_abs_params(struct input_dev *dev, unsigned int axis, int min, int max, int fuzz,"
    " int flat)"
)
def input_set_abs_params(
    kernel: KernelCore, dev: StructView, axis: int, min: int, max: int, fuzz: int, flat: int
) -> None:
    """The range of an axis, which the device has from now on."""
    Bits(dev).set("evbit", EV_ABS)
    Bits(dev).set("absbit", axis)
    if alloc_absinfo(kernel, dev):
        info = dev.absinfo + axis * _ABSINFO_SIZE
        for offset, value in ((4, min), (8, max), (12, fuzz), (16, flat)):
            kernel.memory.write_u32(info + offset, value & 0xFFFF_FFFF)


@export("void input_set_capability(struct input_dev *dev, unsigned int type, unsigned int code)")
def input_set_capability(kernel: KernelCore, dev: StructView, type: int, code: int) -> None:
    """Say that a device can send an event."""
    member, last = CODES.get(type, ("", 0))
    if type < EV_CNT and last and code > last:
        kernel.printk.emit(f"input: input_set_capability: invalid code {code} for type {type}\n", 3)
        report.dump_stack(kernel)
        return
    if not member and type != EV_PWR:
        kernel.printk.emit(f"input: input_set_capability: unknown type {type} (code {code})\n", 3)
        report.dump_stack(kernel)
        return
    if type == EV_ABS and not alloc_absinfo(kernel, dev):
        return
    if member:
        Bits(dev).set(member, code)
    Bits(dev).set("evbit", type)


# --- what handlers call ---------------------------------------------------------------------------------


@export("int input_register_handler(struct input_handler *handler)")
async def input_register_handler(kernel: KernelCore, handler: int) -> int:
    """Be asked about every device."""
    await kernel[Inputs].register_handler(handler)
    return 0


@export("void input_unregister_handler(struct input_handler *handler)")
async def input_unregister_handler(kernel: KernelCore, handler: int) -> None:
    """No longer."""
    await kernel[Inputs].unregister_handler(handler)


@export("int input_register_handle(struct input_handle *handle)")
async def input_register_handle(kernel: KernelCore, handle: StructView) -> int:
    """Connect a handler to a device; filters come before all others."""
    dev, handler = kernel[Inputs].view(handle.dev), kernel.view("input_handler", handle.handler)
    put = lists.add if handler.filter else lists.add_tail
    put(kernel.memory, handle.addressof("d_node"), dev.addressof("h_list"))
    lists.add_tail(kernel.memory, handle.addressof("h_node"), handler.addressof("h_list"))
    if handler.start:
        await kernel.call_guest(handler.start, handle.address)
    return 0


@export("void input_unregister_handle(struct input_handle *handle)")
def input_unregister_handle(kernel: KernelCore, handle: StructView) -> None:
    """Disconnect them."""
    for node in ("h_node", "d_node"):
        lists.delete_init(kernel.memory, handle.addressof(node))


@export("int input_open_device(struct input_handle *handle)")
async def input_open_device(kernel: KernelCore, handle: StructView) -> int:
    """Events are wanted: the first handle that opens a device has its driver's open() called."""
    dev = kernel[Inputs].view(handle.dev)
    if dev.going_away:
        return -errno.ENODEV
    handle.open += 1
    dev.users += 1
    if dev.users > 1:
        return 0
    error = await kernel.call_guest_int(dev.open, dev.address) if dev.open else 0
    if error:
        dev.users -= 1
        handle.open -= 1
    elif dev.poller:
        await input_poller.start(kernel, dev)
    return error


@export("void input_close_device(struct input_handle *handle)")
async def input_close_device(kernel: KernelCore, handle: StructView) -> None:
    """They are not any more."""
    dev = kernel[Inputs].view(handle.dev)
    release_device(dev, handle)
    dev.users -= 1
    if not dev.users and dev.poller:
        await input_poller.stop(kernel, dev)
    if not dev.users and dev.close:
        await kernel.call_guest(dev.close, dev.address)
    if handle.open:  # 0 since the device was unregistered
        handle.open -= 1


@export("int input_grab_device(struct input_handle *handle)")
def input_grab_device(kernel: KernelCore, handle: StructView) -> int:
    """All events come to this handle alone; EBUSY if another has them."""
    dev = kernel[Inputs].view(handle.dev)
    if dev.grab:
        return -errno.EBUSY
    dev.grab = handle.address
    return 0


def release_device(dev: StructView, handle: StructView) -> None:
    """__input_release_device()."""
    if dev.grab == handle.address:
        dev.grab = 0


@export("void input_release_device(struct input_handle *handle)")
def input_release_device(kernel: KernelCore, handle: StructView) -> None:
    """No longer."""
    release_device(kernel[Inputs].view(handle.dev), handle)


@export("int input_flush_device(struct input_handle *handle, struct file *file)")
async def input_flush_device(kernel: KernelCore, handle: StructView, file: int) -> int:
    """Have the driver forget what a file asked for."""
    dev = kernel[Inputs].view(handle.dev)
    return await kernel.call_guest_int(dev.flush, dev.address, file) if dev.flush else 0


@export(
    "int input_handler_for_each_handle(struct input_handler *handler, void *data,"
    " int (*fn)(struct input_handle *, void *))"
)
async def input_handler_for_each_handle(kernel: KernelCore, handler: int, data: int, fn: int) -> int:
    """Call a function for each handle until it returns something else than 0."""
    for handle in list(kernel[Inputs].handles_of(handler)):
        if result := await kernel.call_guest_int(fn, handle.address, data):
            return result
    return 0


@export("bool input_match_device_id(const struct input_dev *dev, const struct input_device_id *id)")
def input_match_device_id(kernel: KernelCore, dev: StructView, id: StructView) -> int:
    """Whether a device is what an entry of a table asks for."""
    return int(matches(dev, id))


@export("void input_reset_device(struct input_dev *dev)")
async def input_reset_device(kernel: KernelCore, dev: StructView) -> None:
    """Keys that are down go up."""
    await release_keys(kernel, dev)

"""Input devices as /dev/input/eventN (drivers/input/evdev.c).

evdev is a handler like those of modules: its structs lie in guest memory, its functions are Python's.
"""

from __future__ import annotations

from struct import pack, unpack
from typing import TYPE_CHECKING, Any

from kmod_emu.drivers.core import Devices
from kmod_emu.drivers.device import create_device, device_destroy
from kmod_emu.drivers.evdev_ioctl import evdev_ioctl
from kmod_emu.drivers.input import (
    Inputs,
    input_close_device,
    input_open_device,
    input_register_handle,
    input_unregister_handle,
    release_device,
)
from kmod_emu.drivers.input_bits import EV_SYN, SYN_DROPPED, SYN_REPORT
from kmod_emu.drivers.input_events import input_inject_event, timestamps
from kmod_emu.errors import KernelError
from kmod_emu.fs.char_dev import CharDevices
from kmod_emu.fs.fasync import signal_owner
from kmod_emu.fs.file import (
    EPOLLERR,
    EPOLLHUP,
    EPOLLIN,
    EPOLLOUT,
    EPOLLRDNORM,
    EPOLLWRNORM,
    FileOperations,
    copy_out,
)
from kmod_emu.fs.select import WaitQueue
from kmod_emu.kernel.exports import export, export_data
from kmod_emu.uapi import errno
from kmod_emu.uapi.fcntl import O_NONBLOCK
from kmod_emu.uapi.stat import minor, mkdev

if TYPE_CHECKING:
    from kmod_emu.abi.structs import StructView
    from kmod_emu.fs.file import File, Position
    from kmod_emu.fs.select import Poll
    from kmod_emu.kernel.kernel import KernelCore

INPUT_MAJOR, EVDEV_MINOR_BASE, EVDEV_MINORS = 13, 64, 32
EVENT_SIZE = 24  # struct input_event: seconds, microseconds, type, code, value
_SMALLEST_BUFFER, _PACKETS = 64, 8


class Client:
    """One open file: the events that it has not read yet.

    Attributes:
        events: As they will be read, the unfinished packet at the end included.
        ready: How many of them are of finished packets.
        clock: Which clock its time stamps are of: an index into what `timestamps` gives.
        revoked: Whether it may do nothing any more.
        asynchronous: Whether its owner gets SIGIO for news.
    """

    def __init__(self, evdev: Evdev, size: int) -> None:
        self.evdev, self._size = evdev, size
        self.events: list[bytes] = []
        self.ready = self.clock = 0
        self.revoked = self.asynchronous = False
        self.queue = WaitQueue()

    def pass_values(self, kernel: KernelCore, file: File, values: bytes, times: tuple[int, ...]) -> None:
        """evdev_pass_values(): keep events, and wake the reader when a packet is complete."""
        if self.revoked:
            return
        when = pack("<QQ", times[self.clock] // 10**9, times[self.clock] // 1000 % 10**6)
        woken = False
        for start in range(0, len(values), 8):
            value = values[start : start + 8]
            report = unpack("<HH", value[:4]) == (EV_SYN, SYN_REPORT)
            if report and len(self.events) == self.ready:
                continue  # nothing came since the last one
            self._keep(when + value, when)
            if report:
                self.ready, woken = len(self.events), True
        if woken:
            self.queue.wake(kernel)
            if self.asynchronous:
                signal_owner(kernel, file)

    def _keep(self, event: bytes, when: bytes) -> None:
        self.events.append(event)
        if len(self.events) == self._size:  # too slow: all is dropped but the newest
            self.events = [when + pack("<HHi", EV_SYN, SYN_DROPPED, 0), event]
            self.ready = 0


class Evdev:
    """One event node.

    Attributes:
        handle: Address of its `struct input_handle`.
        exists: Whether the device is still there.
        clients: Files that have it open.
        grab: The one that gets all events.
    """

    def __init__(self, handle: int) -> None:
        self.handle, self.exists = handle, True
        self.clients: dict[File, Client] = {}
        self.grab: File | None = None


class Evdevs(FileOperations):
    """All event nodes by number, and what can be done with an open one."""

    def __init__(self, kernel: KernelCore) -> None:
        super().__init__(kernel)
        self.nodes: dict[int, Evdev] = {}
        kernel[CharDevices].add(self, mkdev(INPUT_MAJOR, EVDEV_MINOR_BASE), EVDEV_MINORS)
        kernel[Inputs].add_handler(kernel.symbol("evdev_handler"))

    def handle(self, evdev: Evdev) -> StructView:
        """A typed view on its handle."""
        return self.kernel.view("input_handle", evdev.handle)

    def device(self, evdev: Evdev) -> StructView:
        """A typed view on its input device."""
        return self.kernel[Inputs].view(self.handle(evdev).dev)

    def _client(self, file: File) -> Client:
        """ENODEV if the device is gone, or the file was told that it is."""
        client = file.private
        assert isinstance(client, Client)
        if client.revoked or not client.evdev.exists:
            raise KernelError(errno.ENODEV, "the input device is gone")
        return client

    async def open(self, file: File) -> int:
        """evdev_open(): the first has the driver's open() called."""
        evdev = self.nodes.get(minor(file.inode.rdev) - EVDEV_MINOR_BASE)
        if evdev is None:
            raise KernelError(errno.ENXIO, "no input device has that number")
        wanted = max(self.device(evdev).hint_events_per_packet * _PACKETS, _SMALLEST_BUFFER)
        file.private = evdev.clients[file] = Client(evdev, 1 << (wanted - 1).bit_length())
        if len(evdev.clients) == 1:
            error = await input_open_device(self.kernel, self.handle(evdev))
            if error:
                del evdev.clients[file]
                return error
        return 0

    async def release(self, file: File) -> None:
        """evdev_release()."""
        assert isinstance(file.private, Client)
        evdev = file.private.evdev
        self.ungrab(evdev, file)
        evdev.clients.pop(file, None)
        if not evdev.clients and evdev.exists:
            await input_close_device(self.kernel, self.handle(evdev))

    def ungrab(self, evdev: Evdev, file: File) -> None:
        """No longer all events for that file."""
        if evdev.grab is file:
            evdev.grab = None
            if evdev.exists:
                release_device(self.device(evdev), self.handle(evdev))

    async def read(self, file: File, buf: int, count: int, pos: Position) -> int:
        """Whole events; waits for the end of a packet."""
        client = self._client(file)
        if 0 < count < EVENT_SIZE:
            return -errno.EINVAL
        if not client.ready:
            if file.flags & O_NONBLOCK:
                return -errno.EAGAIN
            if not count:
                return 0
            await client.queue.wait(
                self.kernel, lambda: bool(client.ready) or client.revoked or not client.evdev.exists
            )
            self._client(file)
        taken = min(count // EVENT_SIZE, client.ready)
        copied = copy_out(self.kernel, buf, b"".join(client.events[:taken])) // EVENT_SIZE
        del client.events[:copied]
        client.ready -= copied
        return copied * EVENT_SIZE

    async def write(self, file: File, buf: int, count: int, pos: Position) -> int:
        """Send events to the device: lights go on."""
        evdev = self._client(file).evdev
        if 0 < count < EVENT_SIZE:
            return -errno.EINVAL
        done = 0
        while done + EVENT_SIZE <= count:
            event = self.kernel.user.read(buf + done, EVENT_SIZE)
            if len(event) < EVENT_SIZE:
                return -errno.EFAULT
            kind, code, value = unpack("<HHi", event[16:])
            await input_inject_event(self.kernel, self.handle(evdev), kind, code, value)
            done += EVENT_SIZE
        return done

    async def poll(self, file: File, table: Poll, events: int) -> int:
        """Readable where a packet is complete; hung up where the device is gone."""
        client = file.private
        assert isinstance(client, Client)
        table.add(client.queue)
        gone = client.revoked or not client.evdev.exists
        mask = EPOLLHUP | EPOLLERR if gone else EPOLLOUT | EPOLLWRNORM
        return mask | (EPOLLIN | EPOLLRDNORM if client.ready else 0)

    async def fasync(self, file: File, fd: int, on: int) -> int:
        """SIGIO for news."""
        if isinstance(file.private, Client):
            file.private.asynchronous = bool(on)
        return 0

    async def llseek(self, file: File, offset: int, whence: int) -> int:
        """There is no position."""
        raise KernelError(errno.ESPIPE)

    async def ioctl(self, file: File, cmd: int, arg: int) -> int:
        """EVIOC*."""
        return await evdev_ioctl(self, file, self._client(file), cmd, arg)

    def save(self) -> Any:
        """State for a snapshot or file; open files are not part of it."""
        return [[number, evdev.handle] for number, evdev in self.nodes.items()]

    def load(self, state: Any) -> None:
        """Put saved state back."""
        before, self.nodes = self.nodes, {}
        for number, handle in state:
            known = before.get(number)
            self.nodes[number] = known if known and known.handle == handle else Evdev(handle)


# --- the handler ----------------------------------------------------------------------------------------


def _number(kernel: KernelCore, handle: StructView) -> int:
    return next(number for number, each in kernel[Evdevs].nodes.items() if each.handle == handle.address)


@export(
    "int evdev_connect(struct input_handler *handler, struct input_dev *dev,"
    " const struct input_device_id *id)"
)
async def evdev_connect(kernel: KernelCore, handler: int, dev: int, id: int) -> int:
    """A device came: it gets a node."""
    evdevs = kernel[Evdevs]
    number = next((n for n in range(EVDEV_MINORS) if n not in evdevs.nodes), None)
    if number is None:
        kernel.printk.emit("evdev: failed to reserve new minor: -23\n", 3)
        return -errno.ENFILE
    layout = kernel.profile.struct("input_handle")
    handle = kernel.view("input_handle", kernel.heap.kmalloc(layout.size + 16))
    name = handle.address + layout.size
    kernel.memory.write(name, b"event%d\0" % number)
    handle.set("name", name)
    handle.dev, handle.handler = dev, handler
    await input_register_handle(kernel, handle)
    evdevs.nodes[number] = Evdev(handle.address)
    parent = kernel[Inputs].view(dev).addressof("dev")
    devt = mkdev(INPUT_MAJOR, EVDEV_MINOR_BASE + number)
    device = await create_device(
        kernel, kernel.symbol("input_class"), parent, devt, 0, 0, b"event%d" % number
    )
    return 0 if device in kernel[Devices].devices else -errno.ENOMEM


@export("void evdev_disconnect(struct input_handle *handle)")
async def evdev_disconnect(kernel: KernelCore, handle: StructView) -> None:
    """It went: who has it open is told."""
    number = _number(kernel, handle)
    evdev = kernel[Evdevs].nodes.pop(number)
    devt = mkdev(INPUT_MAJOR, EVDEV_MINOR_BASE + number)
    await device_destroy(kernel, kernel.symbol("input_class"), devt)
    evdev.exists = False
    for file, client in evdev.clients.items():
        client.queue.wake(kernel)
        if client.asynchronous:
            signal_owner(kernel, file)
    if evdev.clients:
        await input_close_device(kernel, handle)
    input_unregister_handle(kernel, handle)
    kernel.heap.kfree(handle.address)


@export("void evdev_events(struct input_handle *handle, const struct input_value *vals, unsigned int count)")
def evdev_events(kernel: KernelCore, handle: StructView, vals: int, count: int) -> None:
    """Events came."""
    evdev = kernel[Evdevs].nodes[_number(kernel, handle)]
    values = kernel.memory.read(vals, count * 8)
    times = timestamps(kernel, kernel[Inputs].view(handle.dev))
    for file, client in list(evdev.clients.items()):
        if evdev.grab in (None, file):
            client.pass_values(kernel, file, values, times)


@export_data("struct input_handler evdev_handler", 512)
def evdev_handler(kernel: KernelCore, address: int) -> None:
    """It takes every device; behind it its table and its name."""
    view = kernel.view("input_handler", address)
    for method in ("connect", "disconnect", "events"):
        view.set(method, kernel.symbol(f"evdev_{method}"))
    table = address + view.layout.size
    kernel.view("input_device_id", table).driver_info = 1
    name = address + 512 - 8
    kernel.memory.write(name, b"evdev\0")
    view.set("name", name)
    view.legacy_minors, view.minor, view.id_table = 1, EVDEV_MINOR_BASE, table

"""USB: a host controller of usbcore's, whose ports and transfers are Python's.

It is there from the first device that is plugged in. A transfer for which a device has no data waits until
the device says that it has some; nobody asks again and again.
"""

from __future__ import annotations

import errno
from typing import TYPE_CHECKING, Any

from kmod_emu.devices.pci import ids
from kmod_emu.devices.usb import IN, LOW, UsbFunction, setup_of
from kmod_emu.kernel.activation import to_int
from kmod_emu.vmlinux.hardware.ask import ask, make
from kmod_emu.vmlinux.hardware.calls import method
from kmod_emu.vmlinux.hardware.platform import make_platform_device, make_platform_driver
from kmod_emu.vmlinux.hardware.usb_hub import RootHub
from kmod_emu.vmlinux.hardware.usb_types import UsbTypes

if TYPE_CHECKING:
    from kmod_emu.abi.structs import StructView
    from kmod_emu.drivers.board import Wires, Wiring
    from kmod_emu.vmlinux.kernel import VmlinuxKernel

_NAME, _CONTROLLER = "kmod-emu USB host", "kmod-emu-usb"
_USB11 = 0x10  # HCD_USB11: full and low speed; no HCD_DMA, so buffers are virtual addresses
_RUNNING = 1  # HC_STATE_RUNNING
_METHODS = (
    "start",
    "stop",
    "get_frame_number",
    "urb_enqueue",
    "urb_dequeue",
    "hub_status_data",
    "hub_control",
)
_PORTS = 8
_SETTLE = 1.0  # seconds that the hub needs to find out what is there
_TRANSFER_NS = 125_000  # that a transfer takes
_KIND_SHIFT, _ENDPOINT_SHIFT, _CONTROL = 30, 15, 2  # in a pipe
_DONE, _POLL = "usb_done", "usb_poll"


class UsbBus:
    """The controller and what is in its ports."""

    def __init__(self, kernel: VmlinuxKernel) -> None:
        self._kernel = kernel
        self.types = UsbTypes(kernel)
        self.hub = RootHub(_PORTS)
        self._hcd = 0  # struct usb_hcd
        self._functions: dict[int, UsbFunction] = {}  # by port, from 1
        self._taken: set[int] = set()  # ports; nobody plays what is in some of them
        self._waiting: list[int] = []  # struct urb, of those for which there is no data
        kernel.sched.on(_DONE, self._finish)
        kernel.sched.on(_POLL, self._poll)

    # --- ports ----------------------------------------------------------------------------------------

    def plug(self, model: Any, wiring: Wiring, wires: Wires) -> int:
        """Put a model into the next free port, and say which that is.

        Raises:
            ValueError: It does not say what it is, there is no port left, or usbcore is not there.
            KernelError: The kernel does not take the controller.
        """
        ids(wiring.usb or "", "USB")
        port = next((port for port in range(1, _PORTS + 1) if port not in self._taken), None)
        if port is None:
            raise ValueError("no USB port is left")
        self.types.load()
        if not self._hcd:
            self._make_controller()
        self.seat(port, model, wiring, wires)
        self.hub.connect(port, low_speed=self._functions[port].speed == LOW)
        self._changed()
        return port

    def seat(self, port: int, model: Any, wiring: Wiring, wires: Wires) -> None:
        """Put a model into a port."""
        self._functions[port] = UsbFunction(model, ids(wiring.usb or "", "USB"))
        self._taken.add(port)
        wires.signal = self._attention

    def unplug(self, port: int) -> None:
        """Take a device out."""
        del self._functions[port]
        self._taken.remove(port)
        self.hub.disconnect(port)
        self._changed()

    def _changed(self) -> None:
        """The hub's thread resets ports, asks for descriptors, and looks for drivers."""
        self._kernel.call(self._kernel.lookup_name("usb_hcd_poll_rh_status"), self._hcd)
        self._kernel.advance(_SETTLE)

    def _make_controller(self) -> None:
        kernel, memory = self._kernel, self._kernel.memory
        texts = f"{_NAME}\0{_CONTROLLER}.0\0".encode()
        name = kernel.heap.kmalloc(len(texts))
        memory.write(name, texts)
        layout = self.types.layout("hc_driver")
        driver = self.types.view("hc_driver", kernel.heap.kmalloc(layout.size))
        memory.clear(driver.address, layout.size)
        driver.description = driver.product_desc = name
        driver.flags = _USB11
        for each in _METHODS:
            driver.set(each, kernel.methods[f"model_hcd_{each}"])
        make_platform_driver(kernel, _CONTROLLER)
        parent = make_platform_device(kernel, _CONTROLLER, 0, [])
        dev = parent + kernel.profile.offset("platform_device", "dev")
        bus_name, what = name + len(_NAME) + 1, "a USB host controller"
        hcd = make(kernel, "usb_create_hcd", driver.address, dev, bus_name, what=what)
        self.types.view("usb_hcd", hcd).set_bit("uses_new_polling", True)
        self._hcd = hcd
        ask(kernel, "usb_add_hcd", hcd, 0, 0, what=what)

    # --- transfers ------------------------------------------------------------------------------------

    async def enqueue(self, urb: int) -> int:
        """A transfer is asked for: 0 or a negative errno."""
        kernel = self._kernel
        link = kernel.lookup_name("usb_hcd_link_urb_to_ep")
        error = to_int(await kernel.call_guest(link, self._hcd, urb))
        if not error and not self._attempt(urb):
            self._waiting.append(urb)
        return error

    async def dequeue(self, urb: int, status: int) -> int:
        """A transfer is called off: 0 or a negative errno."""
        check = self._kernel.lookup_name("usb_hcd_check_unlink_urb")
        error = to_int(await self._kernel.call_guest(check, self._hcd, urb, status))
        if not error and urb in self._waiting:
            self._waiting.remove(urb)
            self._complete(urb, to_int(status))
        return error

    def _attempt(self, urb: int) -> bool:
        """Do a transfer if that can be done now."""
        view = self.types.view("urb", urb)
        device = self.types.view("usb_device", view.dev)
        function = self._functions.get(device.portnum)
        if function is None:
            self._complete(urb, -errno.ENODEV)
            return True
        try:
            answer = self._exchange(function, view)
        except OSError as error:
            self._complete(urb, -errno.EPIPE if error.errno is None else -error.errno)
            return True
        if answer is None:
            return False
        self._complete(urb, 0)
        return True

    def _exchange(self, function: UsbFunction, urb: StructView) -> bytes | None:
        memory, count = self._kernel.memory, urb.transfer_buffer_length
        pipe, buffer = urb.pipe, urb.transfer_buffer
        incoming = bool(pipe & IN)
        if pipe >> _KIND_SHIFT == _CONTROL:
            setup = setup_of(memory.read(urb.setup_packet, 8))
            incoming = bool(setup.request_type & IN)
            sent = b"" if incoming else bytes(memory.read(buffer, count)) if count else b""
            answer: bytes | None = function.control(setup, sent)
        else:
            address = pipe >> _ENDPOINT_SHIFT & 0xF | pipe & IN
            sent = b"" if incoming else bytes(memory.read(buffer, count)) if count else b""
            answer = function.transfer(address, sent, count)
        if incoming and answer is not None:
            answer = answer[:count]
            if answer:
                memory.write(buffer, answer)
            urb.actual_length = len(answer)
        elif answer is not None:
            urb.actual_length = count
        return answer

    def _complete(self, urb: int, status: int) -> None:
        """A transfer is over, as its driver will be told in an interrupt."""
        kernel = self._kernel
        kernel.sched.agenda.post(kernel.clock.now_ns + _TRANSFER_NS, _DONE, [urb, status])

    async def _finish(self, payload: list[int]) -> None:
        kernel, (urb, status) = self._kernel, payload

        async def give_back() -> None:
            await kernel.call_guest(kernel.lookup_name("usb_hcd_unlink_urb_from_ep"), self._hcd, urb)
            await kernel.call_guest(kernel.lookup_name("usb_hcd_giveback_urb"), self._hcd, urb, status)

        await kernel.irqs.interrupt(give_back())

    def _attention(self) -> None:
        """A device says that it has data."""
        self._kernel.sched.agenda.post(self._kernel.clock.now_ns, _POLL, 0)
        self._kernel.sched.poke()

    async def _poll(self, payload: int) -> None:
        self._waiting = [urb for urb in self._waiting if not self._attempt(urb)]

    # --- state ----------------------------------------------------------------------------------------

    def save(self) -> Any:
        """State for a snapshot or file."""
        return {
            "hcd": self._hcd,
            "waiting": list(self._waiting),
            "ports": sorted(self._taken),
            "hub": self.hub.save(),
        }

    def load(self, state: Any) -> None:
        """Put saved state back: what has been plugged in since is gone."""
        self._hcd, self._waiting = state["hcd"], list(state["waiting"])
        self._taken = set(state["ports"])
        self._functions = {port: it for port, it in self._functions.items() if port in self._taken}
        self.hub.load(state["hub"])


def _bus(kernel: VmlinuxKernel) -> UsbBus:
    return kernel[UsbBus]


@method("int model_hcd_start(struct usb_hcd *hcd)")
def model_hcd_start(kernel: VmlinuxKernel, hcd: int) -> int:
    """The controller runs."""
    _bus(kernel).types.view("usb_hcd", hcd).state = _RUNNING
    return 0


@method("void model_hcd_stop(struct usb_hcd *hcd)")
def model_hcd_stop(kernel: VmlinuxKernel, hcd: int) -> None:
    """Nothing runs on its own."""


@method("int model_hcd_get_frame_number(struct usb_hcd *hcd)")
def model_hcd_get_frame_number(kernel: VmlinuxKernel, hcd: int) -> int:
    """A frame a millisecond."""
    return kernel.clock.now_ns // 1_000_000 & 0x7FF


@method("int model_hcd_urb_enqueue(struct usb_hcd *hcd, struct urb *urb, gfp_t mem_flags)")
async def model_hcd_urb_enqueue(kernel: VmlinuxKernel, hcd: int, urb: int, mem_flags: int) -> int:
    """A driver asks for a transfer."""
    return await _bus(kernel).enqueue(urb)


@method("int model_hcd_urb_dequeue(struct usb_hcd *hcd, struct urb *urb, int status)")
async def model_hcd_urb_dequeue(kernel: VmlinuxKernel, hcd: int, urb: int, status: int) -> int:
    """A driver does not want it any more."""
    return await _bus(kernel).dequeue(urb, status)


@method("int model_hcd_hub_status_data(struct usb_hcd *hcd, char *buf)")
def model_hcd_hub_status_data(kernel: VmlinuxKernel, hcd: int, buf: int) -> int:
    """Which ports have changed."""
    data = _bus(kernel).hub.changes()
    kernel.memory.write(buf, data)
    return len(data) if any(data) else 0


@method(
    "int model_hcd_hub_control(struct usb_hcd *hcd, u16 request, u16 value, u16 index, char *buf, u16 length)"
)
def model_hcd_hub_control(
    kernel: VmlinuxKernel, hcd: int, request: int, value: int, index: int, buf: int, length: int
) -> int:
    """A request to the root hub."""
    answer = _bus(kernel).hub.control(request, value, index)
    if answer is None:
        return -errno.EPIPE
    kernel.memory.write(buf, answer[:length])
    return len(answer[:length])

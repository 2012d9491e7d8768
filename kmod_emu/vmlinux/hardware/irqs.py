"""Interrupt lines: the kernel's own descriptors and flow handlers; a device raises one as an event."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from kmod_emu.errors import KernelError
from kmod_emu.kernel.irq import Irqs, Line
from kmod_emu.kernel.preempt import EFLAGS_IF
from kmod_emu.vmlinux.hardware.calls import method

if TYPE_CHECKING:
    from collections.abc import Coroutine

    from kmod_emu.abi.structs import StructView
    from kmod_emu.vmlinux.kernel import VmlinuxKernel

_CHIP, _FLOW = "IO-APIC", "edge"
_IRQ_WORK = "irq_work_run"  # the kind of event, and what serves it
_MESSAGE = "message"
_TO_PROCESSORS = 0xFEE  # the first twelve bits of addresses that are no memory
_RETRIGGERED = (1 << 64) - 1  # VECTOR_SHUTDOWN, where no line is any more
_SENSE = 15  # IRQ_TYPE_SENSE_MASK


class VmlinuxIrqs(Irqs):
    """The lines that devices are wired to."""

    _kernel: VmlinuxKernel

    def __init__(self, kernel: VmlinuxKernel) -> None:
        super().__init__(kernel)
        self.lines = {}
        self._chip = 0  # struct irq_chip of them all
        kernel.sched.on(_IRQ_WORK, self._run_irq_work)
        kernel.sched.on(_MESSAGE, self._receive)

    def ensure(self, number: int) -> None:
        """A device model says that it is wired to this line."""
        if number not in self.lines:
            self._kernel.run(self.wire(number))

    async def wire(self, number: int) -> None:
        """Make a line.

        Raises:
            KernelError: The kernel does not make it.
        """
        kernel = self._kernel
        if not await kernel.call_guest(kernel.symbol("irq_to_desc"), number):
            allocate = kernel.symbol("__irq_alloc_descs")
            made = await kernel.call_guest_int(allocate, number, number, 1, 0, 0, 0)
            if made < 0:
                raise KernelError(-made, f"the kernel makes no interrupt line {number}")
        self._chip = self._chip or self._make_chip()
        install = kernel.symbol("irq_set_chip_and_handler_name")
        name = self._chip + kernel.profile.struct("irq_chip").size + len(_CHIP) + 1
        await kernel.call_guest(install, number, self._chip, kernel.symbol("handle_edge_irq"), name)
        self.lines[number] = Line(_CHIP, _FLOW)

    def _make_chip(self) -> int:
        """A chip to which nothing need be said, by a name that PCs have in /proc/interrupts."""
        kernel, size = self._kernel, self._kernel.profile.struct("irq_chip").size
        names = f"{_CHIP}\0{_FLOW}\0".encode()
        chip = kernel.heap.kmalloc(size + len(names))
        kernel.memory.write(chip, kernel.memory.read(kernel.symbol("dummy_irq_chip"), size) + names)
        view = kernel.view("irq_chip", chip)
        view.set("name", chip + size)
        view.irq_set_type = kernel.methods["model_irq_set_type"]
        return chip

    def raise_irq(self, number: int) -> None:
        """A device raises a line: it is served as soon as interrupts may come.

        Raises:
            KernelError: EINVAL, nothing is wired to it.
        """
        kernel = self._kernel
        self.line(number)
        kernel.events.emit("irq", number=number)
        kernel.sched.agenda.post(kernel.clock.now_ns, "irq", number)
        kernel.sched.poke()

    def message(self, address: int, data: int) -> None:
        """A PCI card writes an interrupt message: to a processor, with the number of a vector."""
        if address >> 20 == _TO_PROCESSORS:
            kernel = self._kernel
            kernel.sched.agenda.post(kernel.clock.now_ns, _MESSAGE, data & 0xFF)
            kernel.sched.poke()

    async def _receive(self, vector: int) -> None:
        """The processor looks whose vector it is."""
        kernel = self._kernel
        table = kernel.percpu.address(kernel.symbol("vector_irq"))
        line = kernel.memory.read_u64(table + 8 * vector)
        if line and line != _RETRIGGERED:
            data = kernel.profile.offset("irq_desc", "irq_data") + kernel.profile.offset("irq_data", "irq")
            number = kernel.memory.read_u32(line + data)
            kernel.events.emit("irq", number=number)
            await self._serve(number)

    def raise_irq_work(self) -> None:
        """The processor's interrupt to itself."""
        kernel = self._kernel
        kernel.sched.agenda.post(kernel.clock.now_ns, _IRQ_WORK, None)
        kernel.sched.poke()

    async def _run_irq_work(self, _: None) -> None:
        await self.interrupt(self._kernel.call_guest(self._kernel.symbol(_IRQ_WORK)))

    async def _serve(self, number: int) -> None:
        """The way in, the line's flow handler, and the way out, on which softirqs run."""
        await self.interrupt(self._kernel.call_guest(self._kernel.symbol("generic_handle_irq"), number))

    async def interrupt(self, work: Coroutine[Any, Any, Any]) -> None:
        """Have something done as an interrupt does it."""
        kernel = self._kernel
        flags = kernel.cpu.read("eflags")
        kernel.cpu.write("eflags", flags & ~EFLAGS_IF)
        await kernel.call_guest(kernel.symbol("irq_enter"))
        await work
        await kernel.call_guest(kernel.symbol("irq_exit"))
        kernel.cpu.write("eflags", flags)

    def save(self) -> Any:
        """State for a snapshot or file."""
        return {**super().save(), "chip": self._chip}

    def load(self, state: Any) -> None:
        """Put saved state back."""
        super().load(state)
        self._chip = state["chip"]


@method("int model_irq_set_type(struct irq_data *data, unsigned int type)")
def model_irq_set_type(kernel: VmlinuxKernel, data: StructView, type: int) -> int:
    """A driver says which edges it wants."""
    kernel.irqs.line(data.irq).trigger = type & _SENSE
    return 0

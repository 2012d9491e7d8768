"""Hardware that this machine does not have, and how the kernel would look for it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from kmod_emu.vmlinux.frontier.table import Frontier

if TYPE_CHECKING:
    from kmod_emu.kernel.kernel import KernelCore
    from kmod_emu.vmlinux.kernel import VmlinuxKernel

frontier = Frontier(__name__)

_NONE = "the machine has no such hardware"
_IRQ_STACK = 0x4000

frontier.nothing(
    _NONE,
    "trap_init acpi_early_init efi_enter_virtual_mode mem_encrypt_init"
    " setup_boot_config lockup_detector_init prepare_namespace",
)


@frontier.replace(
    "int acpi_init(void)", "no firmware has left tables; the bus is there, so that drivers can register"
)
async def acpi_init(kernel: KernelCore) -> int:
    """The bus of devices that tables would describe, and a directory in /sys (drivers/acpi/bus.c)."""
    name = kernel.heap.kmalloc(8)
    kernel.memory.write(name, b"acpi\0")
    parent = kernel.memory.read_u64(kernel.symbol("firmware_kobj"))
    acpi_kobj = await kernel.call_guest(kernel.symbol("kobject_create_and_add"), name, parent)
    kernel.heap.kfree(name)
    kernel.memory.write_u64(kernel.symbol("acpi_kobj"), acpi_kobj)
    return await kernel.call_guest_int(kernel.symbol("bus_register"), kernel.symbol("acpi_bus_type"))


@frontier.replace("void init_IRQ(void)", "there are no vectors: lines are made when a device is wired to one")
def init_irq(kernel: KernelCore) -> None:
    """The stack on which softirqs run (arch/x86/kernel/irqinit.c, irq_64.c)."""
    kernel.percpu.write("hardirq_stack_ptr", kernel.vmalloc.allocate(_IRQ_STACK) + _IRQ_STACK - 8, 8)


@frontier.replace("void arch_irq_work_raise(void)", "there is no local APIC: the interrupt is an event")
def arch_irq_work_raise(kernel: VmlinuxKernel) -> None:
    """The processor interrupts itself for irq_work (arch/x86/kernel/irq_work.c)."""
    kernel.irqs.raise_irq_work()


@frontier.replace(
    "void acpi_subsystem_init(void)", "no firmware has left tables; who has none switches no supplies"
)
async def acpi_subsystem_init(kernel: KernelCore) -> None:
    """Where nothing describes regulators, all supplies are on (drivers/acpi/bus.c)."""
    if kernel.symbols.internal("regulator_has_full_constraints"):
        await kernel.call_guest(kernel.symbol("regulator_has_full_constraints"))

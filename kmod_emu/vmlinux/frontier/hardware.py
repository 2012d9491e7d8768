"""Hardware that this machine does not have, and how the kernel would look for it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from kmod_emu.vmlinux.frontier.table import Frontier

if TYPE_CHECKING:
    from kmod_emu.vmlinux.kernel import VmlinuxKernel

frontier = Frontier(__name__)

_NONE = "the machine has no such hardware"
_IRQ_STACK = 0x4000

frontier.nothing(
    "there is no local APIC: an interrupt ends by itself", "native_apic_mem_write native_apic_mem_eoi"
)
frontier.nothing(
    _NONE,
    "trap_init efi_enter_virtual_mode mem_encrypt_init"
    " setup_boot_config lockup_detector_init prepare_namespace",
)


@frontier.replace("void init_IRQ(void)", "no gates are set: interrupts come from models of devices")
async def init_irq(kernel: VmlinuxKernel) -> None:
    """A PC's lines, and the stack on which softirqs run (arch/x86/kernel/irqinit.c, irq_64.c)."""
    kernel.percpu.write("hardirq_stack_ptr", kernel.vmalloc.allocate(_IRQ_STACK) + _IRQ_STACK - 8, 8)
    await kernel.pc.wire()
    kernel.percpu.write("x86_cpu_to_apicid", 0, 2)  # to whom interrupt messages go, and their vectors
    await kernel.call_guest(kernel.symbol("lapic_assign_system_vectors"))


@frontier.replace("void arch_irq_work_raise(void)", "there is no local APIC: the interrupt is an event")
def arch_irq_work_raise(kernel: VmlinuxKernel) -> None:
    """The processor interrupts itself for irq_work (arch/x86/kernel/irq_work.c)."""
    kernel.irqs.raise_irq_work()

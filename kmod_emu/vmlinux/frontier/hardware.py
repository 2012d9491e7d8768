"""Hardware that this machine does not have, and how the kernel would look for it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from kmod_emu.vmlinux.frontier.table import Frontier

if TYPE_CHECKING:
    from kmod_emu.kernel.kernel import KernelCore

frontier = Frontier(__name__)

_NONE = "the machine has no such hardware"

frontier.nothing(
    _NONE,
    "trap_init init_IRQ acpi_early_init acpi_subsystem_init efi_enter_virtual_mode mem_encrypt_init"
    " setup_boot_config lockup_detector_init prepare_namespace",
)


@frontier.replace(
    "int acpi_init(void)", "no firmware has left tables; the bus is there, so that drivers can register"
)
async def acpi_init(kernel: KernelCore) -> int:
    """The bus of devices that tables would describe (drivers/acpi/bus.c)."""
    return await kernel.call_guest_int(kernel.symbol("bus_register"), kernel.symbol("acpi_bus_type"))

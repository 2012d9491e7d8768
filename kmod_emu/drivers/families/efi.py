"""EFI, which did not start this machine (drivers/firmware/efi/efi.c)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from kmod_emu.kernel.exports import Fidelity, export_data

if TYPE_CHECKING:
    from kmod_emu.kernel.kernel import KernelCore

_SIZE, _FIRST_TABLE, _TABLES = 256, 16, 8  # of struct efi; where it has addresses of tables, and how many
_NO_TABLE = (1 << 64) - 1  # EFI_INVALID_TABLE_ADDR


@export_data("struct efi efi", _SIZE, Fidelity.APPROXIMATE)
def efi(kernel: KernelCore, address: int) -> None:
    """No services, no tables, and no flag that says EFI_BOOT."""
    for number in range(_TABLES):
        kernel.memory.write_u64(address + _FIRST_TABLE + 8 * number, _NO_TABLE)

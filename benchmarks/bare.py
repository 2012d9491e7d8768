"""Unicorn by itself with its best settings: the reference for guest speed.

Virtual TLB mode and a TLB fill hook that gives data no execute permission, code no write permission; no
other hook. See docs/architecture.md for what each of these is worth.
"""

from __future__ import annotations

import ctypes
import mmap
from typing import TYPE_CHECKING, Any

import unicorn
from unicorn import unicorn_const as uc_const
from unicorn import x86_const as x86

if TYPE_CHECKING:
    from collections.abc import Callable

CODE, DATA, SIZE = 0xFFFF_FFFF_C000_0000, 0xFFFF_8880_0000_0000, 1 << 20
ARGUMENTS = CODE + SIZE - 0x1000  # one page of data in reach of the code
READ_WRITE, READ_EXEC = 3, 5


class Bare:
    """One MiB of code at CODE, its last page data, and one of data at DATA."""

    def __init__(self, code: bytes) -> None:
        self._map = mmap.mmap(-1, 2 * SIZE)
        self.view = memoryview(self._map)
        self.view[: len(code)] = code
        self.uc = unicorn.Uc(unicorn.UC_ARCH_X86, unicorn.UC_MODE_64)
        self.uc.ctl_set_tlb_mode(uc_const.UC_TLB_VIRTUAL)
        self.uc.ctl_exits_enabled(True)
        host = ctypes.addressof(ctypes.c_char.from_buffer(self._map))
        self.uc.mem_map_ptr(0, 2 * SIZE, uc_const.UC_PROT_ALL, host)
        self.uc.hook_add(uc_const.UC_HOOK_TLB_FILL, self._fill)

    def _fill(self, uc: Any, address: int, access: int, entry: Any, _: Any) -> bool:
        page = address & ~0xFFF
        entry.paddr = page - CODE if page >= CODE else page - DATA + SIZE
        entry.perms = READ_EXEC if CODE <= page < ARGUMENTS else READ_WRITE
        return True

    def on_out(self, handler: Callable[[int], None]) -> None:
        """Call `handler` with EAX at every `out`."""

        def out(uc: Any, port: int, size: int, value: int, _: Any) -> None:
            handler(value)

        self.uc.hook_add(uc_const.UC_HOOK_INSN, out, None, 1, 0, x86.UC_X86_INS_OUT)

    def run(self, rcx: int) -> None:
        """Run from CODE up to `hlt`, with RCX as the loop's count and a stack at the end of the data."""
        self.uc.reg_write(x86.UC_X86_REG_RCX, rcx)
        self.uc.reg_write(x86.UC_X86_REG_RSP, DATA + SIZE - 0x1000)
        self.uc.reg_write(x86.UC_X86_REG_RDI, DATA)
        self.uc.emu_start(CODE, 0)

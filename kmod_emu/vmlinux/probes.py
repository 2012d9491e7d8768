"""Kprobes on the real kernel: from the exception on, its own code handles them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from kmod_emu.kernel.probes import Probes
from kmod_emu.vmlinux.exceptions import handled_by

if TYPE_CHECKING:
    from collections.abc import Coroutine

_TABLE_BITS = 6  # KPROBE_HASH_BITS


class VmlinuxProbes(Probes):
    """What the kernel has marked with int3."""

    def marks(self, rip: int) -> int | None:
        """The place whose mark guest code has just run into, or the end of an instruction that was moved."""
        kernel = self._kernel
        if kernel.percpu.read("current_kprobe", 8):
            return rip
        memory, table = kernel.memory, kernel.symbol("kprobe_table")
        for bucket in range(table, table + (8 << _TABLE_BITS), 8):
            probe = memory.read_u64(bucket)
            while probe:
                if (place := kernel.view("kprobe", probe).addr) in (rip - 1, rip):
                    return int(place)
                probe = memory.read_u64(probe)
        return None

    def hit(self, rip: int) -> Coroutine[Any, Any, int] | None:
        """Guest code stopped at an int3: what to do, or None if it is its own."""
        if self.marks(rip) is None:
            return None
        return handled_by(self._kernel, self._kernel.symbol("exc_int3"), rip)

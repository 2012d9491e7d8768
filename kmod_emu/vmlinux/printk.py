"""The machine's log, and the kernel's own ring of records, which programs read: both have the same."""

from __future__ import annotations

import os
import struct
from typing import TYPE_CHECKING, Any

from kmod_emu.kernel.printk import Printk

if TYPE_CHECKING:
    from kmod_emu.kernel.kernel import KernelCore

_SAID = "python_said"
_VA_LIST = struct.Struct("<IIQQ")  # the last of it serves as the stack: nothing else looks at it
_REGISTERS_USED = (48, 304)  # offsets: nothing is left in registers, what is next is on the stack


class VmlinuxPrintk(Printk):
    """What Python says is heard by the kernel as soon as code of it may run."""

    def __init__(self, kernel: KernelCore) -> None:
        super().__init__(kernel)
        self.heard = super().emit  # the kernel said it itself
        self._unheard: list[bytes] = []

    def begin(self) -> None:
        """The scheduler is there."""
        self._kernel.sched.on(_SAID, lambda _: self.catch_up())

    def emit(self, text: str | bytes, level: int | None = None) -> int:
        """As on the stub kernel."""
        length = self.heard(text, level)
        raw = text.encode("utf-8", "surrogateescape") if isinstance(text, str) else text
        self._unheard.append((b"" if level is None else b"\1%d" % level) + raw)
        self._kernel.sched.agenda.post(self._kernel.clock.now_ns, _SAID)
        return length

    async def catch_up(self) -> None:
        """What Python said goes to the ring: vprintk_store("%s", text) (kernel/printk/printk.c)."""
        kernel = self._kernel
        while self._unheard:
            raw = b"%s\0" + self._unheard.pop(0) + b"\0"
            place = kernel.heap.kmalloc(_VA_LIST.size + len(raw))
            if not place:
                return
            words = place + _VA_LIST.size
            kernel.memory.write(place, _VA_LIST.pack(*_REGISTERS_USED, place + 16, words + 3) + raw)
            await kernel.call_guest(kernel.symbol("vprintk_store"), 0, -1, 0, words, place)
            kernel.heap.kfree(place)
            await kernel.call_guest(kernel.symbol("wake_up_klogd"))

    def save(self) -> Any:
        """State for a snapshot or file."""
        return {**super().save(), "unheard": [os.fsdecode(raw) for raw in self._unheard]}

    def load(self, state: Any) -> None:
        """Put saved state back."""
        super().load(state)
        self._unheard = [os.fsencode(text) for text in state["unheard"]]

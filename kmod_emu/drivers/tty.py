"""Terminals, as far as there are none: no process here has a controlling one (drivers/tty/tty_io.c)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from kmod_emu.kernel.exports import Fidelity, export

if TYPE_CHECKING:
    from kmod_emu.kernel.kernel import KernelCore


@export("struct tty_struct *get_current_tty(void)", Fidelity.APPROXIMATE)
def get_current_tty(kernel: KernelCore) -> int:
    """The current task's controlling terminal: NULL."""
    return 0

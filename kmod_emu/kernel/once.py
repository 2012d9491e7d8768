"""DO_ONCE(): what is done the first time (lib/once.c)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from kmod_emu.kernel.exports import Fidelity, export

if TYPE_CHECKING:
    from kmod_emu.kernel.kernel import KernelCore


@export("bool __do_once_start(bool *done, unsigned long *flags)", Fidelity.APPROXIMATE)
def __do_once_start(kernel: KernelCore, done: int, flags: int) -> bool:
    """Whether it is the first time (lib/once.c)."""
    return not kernel.memory.read_u8(done)


@export(
    "void __do_once_done(bool *done, struct static_key_true *once_key, unsigned long *flags,"
    " struct module *mod)",
    Fidelity.APPROXIMATE,
)
def __do_once_done(kernel: KernelCore, done: int, once_key: int, flags: int, mod: int) -> None:
    """It is done; code goes on asking, where the kernel would patch the question away (lib/once.c)."""
    kernel.memory.write_u8(done, 1)

"""Entropy: random numbers that are the same in each run."""

from __future__ import annotations

from typing import TYPE_CHECKING

from kmod_emu.kernel import misc
from kmod_emu.vmlinux.frontier.table import Frontier

if TYPE_CHECKING:
    from kmod_emu.kernel.kernel import KernelCore

frontier = Frontier(__name__)

_RANDOM = "two runs of a machine are alike: random numbers come from a generator that is part of it"
_CRNG_READY = 2

frontier.shared(_RANDOM, "get_random_bytes get_random_u8 get_random_u16 get_random_u32 get_random_u64")
frontier.nothing(_RANDOM, "random_init_early add_device_randomness add_interrupt_randomness")


@frontier.replace("void _get_random_bytes(void *buf, size_t len)", _RANDOM)
def _get_random_bytes(kernel: KernelCore, buf: int, len: int) -> None:
    """Fill a buffer (drivers/char/random.c)."""
    misc.get_random_bytes(kernel, buf, len)


@frontier.replace("void random_init(void)", _RANDOM)
def random_init(kernel: KernelCore) -> None:
    """The generator is ready: the kernel's own code counts no entropy and waits for none (random.c)."""
    kernel.memory.write_u32(kernel.symbol("crng_init"), _CRNG_READY)

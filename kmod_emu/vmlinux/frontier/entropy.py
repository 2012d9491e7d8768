"""Entropy: random numbers that are the same in each run."""

from __future__ import annotations

from typing import TYPE_CHECKING

from kmod_emu.kernel import misc
from kmod_emu.vmlinux.frontier.table import Frontier

if TYPE_CHECKING:
    from kmod_emu.kernel.kernel import KernelCore

frontier = Frontier(__name__)

_RANDOM = "two runs of a machine are alike: random numbers come from a generator that is part of it"

frontier.shared(_RANDOM, "get_random_bytes get_random_u8 get_random_u16 get_random_u32 get_random_u64")
frontier.nothing(_RANDOM, "random_init random_init_early add_device_randomness add_interrupt_randomness")


@frontier.replace("void _get_random_bytes(void *buf, size_t len)", _RANDOM)
def _get_random_bytes(kernel: KernelCore, buf: int, len: int) -> None:
    """Fill a buffer (drivers/char/random.c)."""
    misc.get_random_bytes(kernel, buf, len)


@frontier.replace("int wait_for_random_bytes(void)", _RANDOM)
def wait_for_random_bytes(kernel: KernelCore) -> int:
    """The generator is ready from the start (drivers/char/random.c)."""
    return 0


@frontier.replace("bool rng_is_initialized(void)", _RANDOM)
def rng_is_initialized(kernel: KernelCore) -> int:
    """The generator is ready from the start (drivers/char/random.c)."""
    return 1

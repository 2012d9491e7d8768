"""Counters with a part on each processor (lib/percpu_counter.c): it holds what is not in `count` yet."""

from __future__ import annotations

from typing import TYPE_CHECKING

from kmod_emu.kernel.exports import export, export_data
from kmod_emu.kernel.percpu import __alloc_percpu, free_percpu
from kmod_emu.uapi import errno

if TYPE_CHECKING:
    from kmod_emu.kernel.kernel import KernelCore

_BATCH = 32
_MASK32 = 0xFFFF_FFFF


@export_data("int percpu_counter_batch", 4)
def percpu_counter_batch(kernel: KernelCore, address: int) -> None:
    """How far a part may be from 0 before it goes into the count."""
    kernel.memory.write_u32(address, _BATCH)


def _part(kernel: KernelCore, fbc: int) -> tuple[int, int]:
    """Where this processor's part is, and its value."""
    address = kernel.percpu.address(kernel.view("percpu_counter", fbc).counters)
    value = kernel.memory.read_u32(address)
    return address, value - (1 << 32) if value >> 31 else value


def _init(kernel: KernelCore, fbc: int, amount: int, how_many: int) -> int:
    size = kernel.profile.struct("percpu_counter").size
    parts = __alloc_percpu(kernel, 4 * how_many, 4)
    if not parts:
        return -errno.ENOMEM
    for index in range(how_many):
        view = kernel.view("percpu_counter", fbc + index * size)
        view.count, view.counters = amount, parts + 4 * index
    return 0


def _destroy(kernel: KernelCore, fbc: int, how_many: int) -> None:
    size = kernel.profile.struct("percpu_counter").size
    free_percpu(kernel, kernel.view("percpu_counter", fbc).counters)
    for index in range(how_many):
        kernel.view("percpu_counter", fbc + index * size).counters = 0


@export("int __percpu_counter_init(struct percpu_counter *fbc, s64 amount, gfp_t gfp, void *key)")
def __percpu_counter_init(kernel: KernelCore, fbc: int, amount: int, gfp: int, key: int) -> int:
    """Make a counter (lib/percpu_counter.c)."""
    return _init(kernel, fbc, amount, 1)


@export(
    "int __percpu_counter_init_many(struct percpu_counter *fbc, s64 amount, gfp_t gfp, u32 nr, void *key)"
)
def __percpu_counter_init_many(kernel: KernelCore, fbc: int, amount: int, gfp: int, nr: int, key: int) -> int:
    """Make an array of counters (lib/percpu_counter.c)."""
    return _init(kernel, fbc, amount, nr)


@export("void percpu_counter_destroy(struct percpu_counter *fbc)")
def percpu_counter_destroy(kernel: KernelCore, fbc: int) -> None:
    """Free its parts (lib/percpu_counter.c)."""
    if kernel.view("percpu_counter", fbc).counters:
        _destroy(kernel, fbc, 1)


@export("void percpu_counter_destroy_many(struct percpu_counter *fbc, u32 nr)")
def percpu_counter_destroy_many(kernel: KernelCore, fbc: int, nr: int) -> None:
    """Free the parts of an array of counters (lib/percpu_counter.c)."""
    if kernel.view("percpu_counter", fbc).counters:
        _destroy(kernel, fbc, nr)


@export("void percpu_counter_add_batch(struct percpu_counter *fbc, s64 amount, s32 batch)")
def percpu_counter_add_batch(kernel: KernelCore, fbc: int, amount: int, batch: int) -> None:
    """Add; what reaches the batch goes into the count (lib/percpu_counter.c)."""
    place, value = _part(kernel, fbc)
    value += amount
    if abs(value) >= batch:
        view = kernel.view("percpu_counter", fbc)
        view.count, value = view.count + value, 0
    kernel.memory.write_u32(place, value & _MASK32)


@export("s64 __percpu_counter_sum(struct percpu_counter *fbc)")
def __percpu_counter_sum(kernel: KernelCore, fbc: int) -> int:
    """The exact value (lib/percpu_counter.c)."""
    return kernel.view("percpu_counter", fbc).signed("count") + _part(kernel, fbc)[1]


@export("void percpu_counter_sync(struct percpu_counter *fbc)")
def percpu_counter_sync(kernel: KernelCore, fbc: int) -> None:
    """This processor's part goes into the count (lib/percpu_counter.c)."""
    percpu_counter_add_batch(kernel, fbc, 0, 0)


@export("void percpu_counter_set(struct percpu_counter *fbc, s64 amount)")
def percpu_counter_set(kernel: KernelCore, fbc: int, amount: int) -> None:
    """Set it (lib/percpu_counter.c)."""
    kernel.memory.write_u32(_part(kernel, fbc)[0], 0)
    kernel.view("percpu_counter", fbc).count = amount


@export("int __percpu_counter_compare(struct percpu_counter *fbc, s64 rhs, s32 batch)")
def __percpu_counter_compare(kernel: KernelCore, fbc: int, rhs: int, batch: int) -> int:
    """-1, 0 or 1 (lib/percpu_counter.c)."""
    value = __percpu_counter_sum(kernel, fbc)
    return (value > rhs) - (value < rhs)

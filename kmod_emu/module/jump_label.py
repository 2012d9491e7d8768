"""Static keys at run time: the branches that look at one are patched (kernel/jump_label.c)."""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING

from kmod_emu.kernel.exports import export
from kmod_emu.module.finalize import jump_labels
from kmod_emu.module.modules import Modules

if TYPE_CHECKING:
    from collections.abc import Iterator

    from kmod_emu.kernel.kernel import KernelCore
    from kmod_emu.module.modules import Module

_ENTRY = 16  # struct jump_entry: s32 code, s32 target, s64 key, each relative to itself
_MASK64 = (1 << 64) - 1


def jump_label_update(kernel: KernelCore, key: int) -> None:
    """Patch all branches of a key, those in init code that is gone excepted."""
    enabled = kernel.memory.read_u32(key) != 0
    for module in kernel[Modules].known.values():
        for entry in _entries(kernel, module, key):
            for patch in jump_labels(kernel.memory, entry, _ENTRY, lambda _: enabled):
                if module.holds(patch.address):
                    kernel.memory.write(patch.address, patch.code)


def _entries(kernel: KernelCore, module: Module, key: int) -> Iterator[int]:
    view = module.view
    start, size = view.jump_entries, view.num_jump_entries * _ENTRY
    table = kernel.memory.read(start, size) if size else b""
    for offset, (code, _, distance) in zip(
        range(0, size, _ENTRY), struct.iter_unpack("<iiq", table), strict=True
    ):
        if start + offset + 8 + distance & _MASK64 & ~3 == key and module.holds(start + offset + code):
            yield start + offset


@export("void static_key_enable(struct static_key *key)")
def static_key_enable(kernel: KernelCore, key: int) -> None:
    """Turn a key on."""
    if not kernel.memory.read_u32(key):
        kernel.memory.write_u32(key, 1)
        jump_label_update(kernel, key)


@export("void static_key_disable(struct static_key *key)")
def static_key_disable(kernel: KernelCore, key: int) -> None:
    """Turn a key off."""
    if kernel.memory.read_u32(key) == 1:
        kernel.memory.write_u32(key, 0)
        jump_label_update(kernel, key)


@export("bool static_key_slow_inc(struct static_key *key)")
def static_key_slow_inc(kernel: KernelCore, key: int) -> int:
    """One more who wants it on."""
    count = kernel.memory.read_u32(key)
    kernel.memory.write_u32(key, count + 1)
    if not count:
        jump_label_update(kernel, key)
    return 1


@export("void static_key_slow_dec(struct static_key *key)")
def static_key_slow_dec(kernel: KernelCore, key: int) -> None:
    """One less who wants it on; the last one turns it off."""
    count = kernel.memory.read_u32(key)
    if not count:
        kernel.warnings.warn("kernel/jump_label.c", 266, "jump label: negative count!")
        return
    kernel.memory.write_u32(key, count - 1)
    if count == 1:
        jump_label_update(kernel, key)


@export("int static_key_count(struct static_key *key)")
def static_key_count(kernel: KernelCore, key: int) -> int:
    """How many want it on."""
    return kernel.memory.read_u32(key)

"""Which processor this is, as modules ask it (arch/x86/kernel/cpu/match.c)."""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING

from kmod_emu.kernel.exports import Fidelity, export

if TYPE_CHECKING:
    from kmod_emu.kernel.kernel import KernelCore

_ANY_VENDOR = 0xFFFF
_ENTRY = struct.Struct("<5H")  # vendor, family, model, steppings, feature


@export("const struct x86_cpu_id *x86_match_cpu(const struct x86_cpu_id *match)")
def x86_match_cpu(kernel: KernelCore, match: int) -> int:
    """The entry of a table that is true of this processor; optional features are not."""
    size = kernel.profile.struct("x86_cpu_id").size
    own_family, own_vendor, own_model, own_stepping = kernel.memory.read(kernel.symbol("boot_cpu_data"), 4)
    while True:
        entry = _ENTRY.unpack(kernel.memory.read(match, _ENTRY.size))
        if not any(entry):
            return 0
        vendor, family, model, steppings, feature = entry
        if (
            vendor in (own_vendor, _ANY_VENDOR)
            and family in (own_family, 0)
            and model in (own_model, 0)
            and (not steppings or steppings >> own_stepping & 1)
            and (not feature or has_feature(kernel, feature))
        ):
            return match
        match += size


def has_feature(kernel: KernelCore, feature: int) -> bool:
    """Whether boot_cpu_data's bitmap has a feature."""
    word = kernel.symbol("boot_cpu_data") + kernel.profile.offset("cpuinfo_x86", "x86_capability")
    return bool(kernel.memory.read_u8(word + feature // 8) >> feature % 8 & 1)


@export("int cpu_has_xfeatures(u64 xfeatures_mask, const char **feature_name)", Fidelity.APPROXIMATE)
def cpu_has_xfeatures(kernel: KernelCore, xfeatures_mask: int, feature_name: int) -> int:
    """Whether it keeps these registers: it has no XSAVE (arch/x86/kernel/fpu/xstate.c)."""
    return 0

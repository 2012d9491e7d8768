"""Which processor this is, as modules ask it (arch/x86/kernel/cpu/match.c)."""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING

from kmod_emu.kernel.exports import Fidelity, export, export_data

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
    """It has no XSAVE, so it keeps none of these; the last is named (arch/x86/kernel/fpu/xstate.c)."""
    if feature_name and 0 < xfeatures_mask < 1 << len(_XFEATURES):
        name = kernel.symbol("xfeature_names") + (xfeatures_mask.bit_length() - 1) * _XFEATURE_NAME
        kernel.memory.write_u64(feature_name, name)
    return 0


_XFEATURES = (
    "x87 floating point registers", "SSE registers", "AVX registers", "MPX bounds registers", "MPX CSR",
    "AVX-512 opmask", "AVX-512 Hi256", "AVX-512 ZMM_Hi256", "Processor Trace (unused)",
    "Protection Keys User registers", "PASID state",
)  # fmt: skip
_XFEATURE_NAME = 32


@export_data("char xfeature_names[][32]", _XFEATURE_NAME * len(_XFEATURES))
def xfeature_names(kernel: KernelCore, address: int) -> None:
    """What the kernel calls sets of registers."""
    for number, name in enumerate(_XFEATURES):
        kernel.memory.write(address + number * _XFEATURE_NAME, name.encode())

"""What the processor says of itself: an AMD processor as QEMU imitates one, without what Unicorn cannot do.

The recordings of the real kernel were made on QEMU's `-cpu max`, so drivers that choose by vendor, family or
model choose alike. Of its features AVX, FMA, XSAVE, SMAP, SHA, 3DNow! and their kin are missing, as they are
missing in Unicorn; SVM is named because drivers ask for it, though no guest can be run.
"""

from __future__ import annotations

import struct
from typing import NamedTuple

_VENDOR, _MODEL_NAME = b"AuthenticAMD", b"QEMU TCG CPU version 2.5+"
_HYPERVISOR = b"TCGTCGTCGTCG"
_FAMILY_15_MODEL_107_STEPPING_1 = 0x0006_0FB1
_CLFLUSH_8_QUADWORDS = 0x800


class Registers(NamedTuple):
    """What one CPUID leaves in registers."""

    eax: int = 0
    ebx: int = 0
    ecx: int = 0
    edx: int = 0


def _bits(*numbers: int) -> int:
    return sum(1 << number for number in numbers)


# By their names in /proc/cpuinfo.
_1_EDX = _bits(
    *(0, 2, 3, 4, 5, 6, 7, 8, 9, 11, 12, 13, 14, 15, 16, 17, 19, 22, 23, 24, 25, 26)
)  # fpu to sse2
_1_ECX = _bits(
    0, 1, 3, 9, 13, 19, 20, 22, 23, 25, 31
)  # pni pclmulqdq monitor ssse3 cx16 sse4 movbe popcnt aes hypervisor
_7_EBX = _bits(0, 3, 7, 8, 9)  # fsgsbase bmi1 smep bmi2 erms
_EXT_EDX = (_1_EDX & 0x0183_F3FF) | _bits(11, 20, 22, 26, 27, 29)  # syscall nx mmxext pdpe1gb rdtscp lm
_EXT_ECX = _bits(0, 2, 4, 5, 6, 8)  # lahf_lm svm cr8_legacy abm sse4a 3dnowprefetch
_SVM_EDX = _bits(0, 16)  # npt vgif


def _vendor(text: bytes) -> tuple[int, int, int]:
    """As in EBX, ECX and EDX of leaves that name somebody."""
    first, second, third = struct.unpack("<III", text)
    return first, third, second


def _leaves() -> dict[int, Registers]:
    name = _MODEL_NAME.ljust(48, b"\0")
    leaves = {
        0: Registers(0xD, *_vendor(_VENDOR)),
        1: Registers(_FAMILY_15_MODEL_107_STEPPING_1, _CLFLUSH_8_QUADWORDS, _1_ECX, _1_EDX),
        5: Registers(0, 0, _bits(0, 1)),  # mwait's extensions, no C-states deeper than the first
        6: Registers(_bits(2)),  # arat
        7: Registers(0, _7_EBX),
        0x4000_0000: Registers(0x4000_0001, *struct.unpack("<III", _HYPERVISOR)),
        0x8000_0000: Registers(0x8000_000A, *_vendor(_VENDOR)),
        0x8000_0001: Registers(_FAMILY_15_MODEL_107_STEPPING_1, 0, _EXT_ECX, _EXT_EDX),
        0x8000_0005: Registers(0x01FF_01FF, 0x01FF_01FF, 0x4002_0140, 0x4002_0140),
        0x8000_0006: Registers(0, 0x4200_4200, 0x0200_8140),
        0x8000_0008: Registers(0x3028),  # 40 bits of physical addresses, 48 of virtual ones
        0x8000_000A: Registers(1, 16, 0, _SVM_EDX),
    }
    for part in range(3):
        leaves[0x8000_0002 + part] = Registers(*struct.unpack_from("<IIII", name, 16 * part))
    return leaves


_LEAVES = _leaves()
_WITH_SUBLEAVES = (7,)


def answer(leaf: int, subleaf: int) -> Registers:
    """What CPUID leaves in the registers.

    >>> answer(1, 0).eax >> 8 & 15
    15
    """
    if subleaf and leaf in _WITH_SUBLEAVES:
        return Registers()
    return _LEAVES.get(leaf, Registers())

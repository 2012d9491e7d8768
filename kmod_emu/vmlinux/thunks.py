"""Returns and indirect calls of the kernel's own code do without the thunks that mitigations need.

The compiler leaves jumps to thunks; for a processor without mitigations, such as this one, the kernel makes
instructions of them (arch/x86/kernel/alternative.c). Here that is done before any of its code runs: the
processor has nothing to forget then, and is spared two blocks of code at each return from the first one on.
"""

from __future__ import annotations

import struct
from array import array
from typing import TYPE_CHECKING

from kmod_emu.module import finalize
from kmod_emu.module.patch import fills_with_prefixes, indirect_thunks

if TYPE_CHECKING:
    from kmod_emu.vmlinux.kernel import VmlinuxKernel

_RETURN = "__x86_return_thunk"
_JUMP = struct.Struct("<Bi")
_JUMP_OPCODE = 0xE9


def take_out_thunks(kernel: VmlinuxKernel) -> None:
    """Patch the code of a kernel that has been mapped and has not run yet."""
    memory = kernel.memory
    if sites := kernel.vmlinux.section(".retpoline_sites"):
        thunks, prefixes = indirect_thunks(kernel), fills_with_prefixes(kernel)
        for patch in finalize.retpolines(memory, sites.address, sites.size, thunks, new=prefixes):
            memory.write(patch.address, patch.code)
    sites = kernel.vmlinux.section(".return_sites")
    if sites and kernel.symbols.internal(_RETURN):
        thunk = kernel.symbol(_RETURN)
        offsets = array("i", memory.read(sites.address, sites.size & -4))
        places = [sites.address + 4 * index + offset for index, offset in enumerate(offsets)]
        for section in kernel.vmlinux.sections:
            if section.executable and section.in_file:
                code = memory.writable(section.address, section.size)
                places = _return(code, section.address, places, thunk)


def _return(code: memoryview, base: int, places: list[int], thunk: int) -> list[int]:
    """Make returns of jumps to a thunk, 50,000 in some kernels; which places lie elsewhere."""
    elsewhere, last, target = [], len(code) - _JUMP.size, thunk - base - _JUMP.size
    for place in places:
        site = place - base
        if not 0 <= site <= last:
            elsewhere.append(place)
        elif _JUMP.unpack_from(code, site) == (_JUMP_OPCODE, target - site):
            code[site : site + _JUMP.size] = finalize.RETURN
    return elsewhere

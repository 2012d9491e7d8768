"""Changing code: static branches, static calls, alternatives."""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING

from kmod_emu.module.finalize import nops
from kmod_emu.vmlinux.frontier.table import Frontier

if TYPE_CHECKING:
    from kmod_emu.kernel.kernel import KernelCore
    from kmod_emu.vmlinux.kernel import VmlinuxKernel

frontier = Frontier(__name__)

_CALL_LENGTH, _ENDBR_LENGTH = 5, 4
_DISABLED = 1 << 25  # FTRACE_FL_DISABLED
_U64 = struct.Struct("<Q")
_DONE_WITHOUT_MODULE = b"\x48\x85\xff\x75\x03\x31\xc0\xc3"  # test rdi, rdi; jnz; xor eax, eax; ret
_POKE = "code is read-only to the machine, and the processor has to forget what it translated"
_LOOKED_UP = "it looks 40,000 names up, a fifth of all code that a boot runs; they are known here as a set"
_ALONE = "no other processor executes the code meanwhile, so that it needs no int3 in its place"
_POKES = struct.Struct(
    "<iiBB5sB"
)  # struct text_poke_loc: place from _stext, target, length, opcode, code, old byte


@frontier.replace(
    "int ftrace_make_nop(struct module *mod, struct dyn_ftrace *rec, unsigned long addr)",
    "whoever mapped the code has taken out the calls at the entries of functions",
    first=_DONE_WITHOUT_MODULE,
)
def ftrace_make_nop(kernel: KernelCore, mod: int, rec: int, addr: int) -> int:
    """Take out a call of a module that the kernel's own loader loads (arch/x86/kernel/ftrace.c)."""
    kernel.memory.write(kernel.memory.read_u64(rec), nops(_CALL_LENGTH))
    return 0


@frontier.replace("void ftrace_check_work_func(struct work_struct *work)", _LOOKED_UP)
def ftrace_check_work_func(kernel: VmlinuxKernel, work: int) -> None:
    """Places in functions that the linker has dropped are never traced (kernel/trace/ftrace.c)."""
    if not kernel.has_types:  # who does not know what a record looks like lets them be
        return
    memory, begins = kernel.memory, kernel.symbols.begins()
    record, page = (kernel.profile.struct(name) for name in ("dyn_ftrace", "ftrace_page"))
    ip, flags = record.members["ip"].offset, record.members["flags"].offset
    at = memory.read_u64(kernel.symbol("ftrace_pages_start"))
    while at:
        start = memory.read_u64(at + page.members["records"].offset)
        count = memory.read_u32(at + page.members["index"].offset)
        records = memory.read(start, count * record.size)
        for place in range(0, len(records), record.size):
            (address,) = _U64.unpack_from(records, place + ip)
            if address not in begins and address - _ENDBR_LENGTH not in begins:
                (before,) = _U64.unpack_from(records, place + flags)
                memory.write_u64(start + place + flags, before | _DISABLED)
        at = memory.read_u64(at + page.members["next"].offset)


@frontier.replace("void text_poke_early(void *addr, const void *opcode, size_t len)", _POKE)
def text_poke_early(kernel: KernelCore, addr: int, opcode: int, len: int) -> None:
    """Write code (arch/x86/kernel/alternative.c)."""
    kernel.memory.write(addr, kernel.memory.read(opcode, len))


@frontier.replace("void *__text_poke(void *poke, void *addr, const void *src, size_t len)", _POKE)
def __text_poke(kernel: KernelCore, poke: int, addr: int, src: int, len: int) -> int:
    """Write code, since 6.1 by a function that copies or fills (arch/x86/kernel/alternative.c)."""
    if not kernel.symbols.internal("text_poke_memset"):
        addr, src, len = poke, addr, src
    elif poke == kernel.symbol("text_poke_memset"):
        kernel.memory.write(addr, bytes([kernel.memory.read_u32(src) & 0xFF]) * len)
        return addr
    kernel.memory.write(addr, kernel.memory.read(src, len))
    return addr


def _poke_all(kernel: KernelCore, vector: int, count: int) -> None:
    start = kernel.symbol("_stext")
    for place, _, length, _, code, _ in _POKES.iter_unpack(kernel.memory.read(vector, count * _POKES.size)):
        kernel.memory.write(start + place, code[:length])


@frontier.replace("void text_poke_bp_batch(struct text_poke_loc *tp, unsigned int nr_entries)", _ALONE)
def text_poke_bp_batch(kernel: KernelCore, tp: int, nr_entries: int) -> None:
    """Write many instructions (arch/x86/kernel/alternative.c)."""
    _poke_all(kernel, tp, nr_entries)


@frontier.replace("void smp_text_poke_batch_finish(void)", _ALONE)
def smp_text_poke_batch_finish(kernel: KernelCore) -> None:
    """The same in later kernels, where there is one list of what is to be written."""
    vector = kernel.symbol("text_poke_array")
    count = vector + kernel.profile.offset("smp_text_poke_array", "nr_entries")
    _poke_all(kernel, vector, kernel.memory.read_u32(count))
    kernel.memory.write_u32(count, 0)


frontier.nothing(_POKE, "text_poke_sync do_sync_core")
frontier.nothing(
    "whoever mapped the code has patched it (vmlinux/text.py), by what every x86-64 processor has",
    "alternative_instructions arch_cpu_finalize_init check_bugs",
)

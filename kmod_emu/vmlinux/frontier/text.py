"""Changing code: static branches, static calls, alternatives."""

from __future__ import annotations

from typing import TYPE_CHECKING

from kmod_emu.module.finalize import mcount
from kmod_emu.vmlinux.frontier.table import Frontier

if TYPE_CHECKING:
    from kmod_emu.kernel.kernel import KernelCore

frontier = Frontier(__name__)

_TRACED = "functions are not traced: the calls at their entries become nothing"
_POKE = "code is read-only to the machine, and the processor has to forget what it translated"


@frontier.replace("void ftrace_module_init(struct module *mod)", _TRACED)
def ftrace_module_init(kernel: KernelCore, mod: int) -> None:
    """Take out the calls of a module that is being loaded (kernel/trace/ftrace.c)."""
    view = kernel.view("module", mod)
    size = view.num_ftrace_callsites * 8
    for patch in mcount(kernel.memory, view.ftrace_callsites, size):
        kernel.memory.write(patch.address, patch.code)


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


frontier.nothing(
    _TRACED,
    "ftrace_init ftrace_module_enable ftrace_release_mod ftrace_free_mem ftrace_free_init_mem",
)
frontier.nothing(
    _POKE, "text_poke_sync do_sync_core alternative_instructions arch_cpu_finalize_init check_bugs"
)

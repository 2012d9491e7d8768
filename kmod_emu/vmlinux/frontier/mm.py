"""User memory: its page tables are the kernel's, which a software MMU walks."""

from __future__ import annotations

from typing import TYPE_CHECKING

from kmod_emu.vmlinux.frontier.table import Frontier

if TYPE_CHECKING:
    from kmod_emu.vmlinux.kernel import VmlinuxKernel

frontier = Frontier(__name__)

_MMU = "a software MMU walks page tables: there is no CR3, and the processor's own TLB is told"
_FPU = "registers of ring 3 are in the machine's context of the program while the kernel runs"


@frontier.replace("void switch_mm_irqs_off(void *prev, void *next, void *tsk)", _MMU)
def switch_mm_irqs_off(kernel: VmlinuxKernel, prev: int, next: int, tsk: int) -> None:
    """The processor walks other page tables (arch/x86/mm/tlb.c)."""
    kernel.tasks.use_mm(next)


def _define_flushes() -> None:
    for name in ("flush_tlb_mm_range", "arch_tlbbatch_flush"):

        @frontier.replace(f"void {name}(void)", _MMU)
        def flush(kernel: VmlinuxKernel) -> None:
            """Pages changed that the processor may have seen (arch/x86/mm/tlb.c)."""
            kernel.memory.flush_user()


_define_flushes()
frontier.nothing(_FPU, "switch_fpu_return")


@frontier.replace("void restore_fpregs_from_fpstate(void *fpstate, u64 mask)", _FPU)
async def restore_fpregs_from_fpstate(kernel: VmlinuxKernel, fpstate: int, mask: int) -> None:
    """The program's x87 and SSE registers become the processor's (arch/x86/kernel/fpu/core.c)."""
    kernel.user_mode.give_floating()

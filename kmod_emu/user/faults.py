"""Faults of programs: what signal they get, and what dmesg says (arch/x86/mm/fault.c, kernel/traps.c)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from kmod_emu.kernel.layout import TASK_SIZE_MAX
from kmod_emu.machine.cpu import StopReason
from kmod_emu.machine.memory import Access, PageFault
from kmod_emu.machine.operands import memory_operands
from kmod_emu.user.programs import SIG_DFL, SIG_IGN, SigAction
from kmod_emu.user.signals import SI_KERNEL, SIGBUS, SIGFPE, SIGILL, SIGKILL, SIGSEGV, SIGTRAP, force

if TYPE_CHECKING:
    from kmod_emu.kernel.kernel import KernelCore
    from kmod_emu.machine.cpu import Stop
    from kmod_emu.machine.ring3 import UserContext
    from kmod_emu.user.programs import Program

_SEGV_MAPERR, _SEGV_ACCERR, _BUS_ADRERR = 1, 2, 2
_X86_PF = {Access.READ: 4, Access.WRITE: 6, Access.FETCH: 20}
_PROLOGUE, _CODE_SIZE = 42, 64
# vector -> signal, si_code, whether si_addr is the instruction, the trap's name
_VECTORS = {
    0: (SIGFPE, 1, True, "divide error"),
    1: (SIGTRAP, 1, True, ""),
    3: (SIGTRAP, SI_KERNEL, False, "int3"),
    4: (SIGSEGV, SI_KERNEL, False, "overflow"),
    6: (SIGILL, 2, True, "invalid opcode"),
    13: (SIGSEGV, SI_KERNEL, False, "general protection fault"),
    16: (SIGFPE, 0, True, "fpu exception"),
    17: (SIGBUS, 1, False, "alignment check"),
    19: (SIGFPE, 0, True, "simd exception"),
}


class Readable(Protocol):
    """Memory of the program's."""

    def read(self, address: int, size: int) -> bytes:
        """Read; raises PageFault."""


def fault(kernel: KernelCore, program: Program, stop: Stop) -> None:
    """The processor refused what the program wanted: it gets a signal."""
    if stop.reason is StopReason.EXCEPTION:
        vector = stop.vector if stop.vector in _VECTORS else 13
        signal, code, exact, name = _VECTORS[vector or 0]
        if name and _unhandled(program, signal):
            _show(kernel, program, f"traps: {_who(program)} {name if vector == 13 else 'trap ' + name}", 0)
        force(kernel, program, signal, code, program.context["rip"] if exact else 0)
        return
    mm, page = program.task.mm, stop.fault
    if page is None or mm is None:  # a `hlt` that nobody executed: a late stop of the watchdog
        return
    if mm.out_of_memory:
        mm.out_of_memory = False
        kernel.printk.emit(f"Out of memory: Killed process {program.task.pid} ({program.task.comm})\n", 3)
        force(kernel, program, SIGKILL, SI_KERNEL, 0)
        return
    address = exact_address(mm, program.context, page)
    vma = mm.find(address) if address < TASK_SIZE_MAX else None
    if vma is not None and vma.allows(page.access):
        force(kernel, program, SIGBUS, _BUS_ADRERR, address)
        return
    if _unhandled(program, SIGSEGV):
        error = _X86_PF[page.access] | (1 if vma is not None or address >= TASK_SIZE_MAX else 0)
        _show(kernel, program, f"{_who(program)}: segfault at {address:x}", error)
    force(kernel, program, SIGSEGV, _SEGV_ACCERR if vma is not None else _SEGV_MAPERR, address)


async def device_fault(program: Program, stop: Stop) -> bool:
    """Whether the driver of a mapped device has brought the page in."""
    mm, page = program.task.mm, stop.fault
    if stop.reason is not StopReason.FAULT or page is None or mm is None:
        return False
    vma = mm.find(page.address)
    if vma is None or vma.owner is None or not vma.allows(page.access):
        return False
    return bool(await vma.owner.fault(mm, page.address))


def _who(program: Program) -> str:
    return f"{program.task.comm}[{program.task.pid}]"


def _unhandled(program: Program, signal: int) -> bool:
    return program.actions.get(signal, SigAction()).handler in (SIG_DFL, SIG_IGN)


def exact_address(mm: Readable, context: UserContext, page: PageFault) -> int:
    """The MMU only knows the page, the instruction knows the rest."""
    if page.access is Access.FETCH:
        return context["rip"]
    try:
        code = mm.read(context["rip"], 15)
    except PageFault:
        return page.address
    for address, size in memory_operands(code, context["rip"], context.general()):
        if address & ~0xFFF == page.address & ~0xFFF:
            return address
        if address + size - 1 & ~0xFFF == page.address & ~0xFFF:
            return page.address & ~0xFFF
    return page.address


def _show(kernel: KernelCore, program: Program, head: str, error: int) -> None:
    """As show_signal_msg does: where it happened, and the code there."""
    context, mm = program.context, program.task.mm
    rip, rsp = context["rip"], context["rsp"]
    trap = head.startswith("traps:")
    place = (
        f" ip:{rip:x} sp:{rsp:x} error:{error:x}" if trap else f" ip {rip:016x} sp {rsp:016x} error {error:x}"
    )
    assert mm is not None
    vma = mm.find(rip)
    where = (
        f" in {vma.name.rsplit('/', 1)[-1]}[{vma.start:x}+{vma.end - vma.start:x}]"
        if vma and vma.name
        else ""
    )
    kernel.printk.emit(f"{head}{place}{where}\n", 6)
    if trap:
        return
    try:
        code = mm.read(rip - _PROLOGUE, _CODE_SIZE)
    except PageFault:
        kernel.printk.emit(
            f"Code: Unable to access opcode bytes at 0x{rip - _PROLOGUE & (1 << 64) - 1:x}.\n", 6
        )
        return
    words = [f"{byte:02x}" for byte in code]
    words[_PROLOGUE] = f"<{words[_PROLOGUE]}>"
    kernel.printk.emit(f"Code: {' '.join(words)}\n", 6)

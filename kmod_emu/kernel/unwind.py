"""Call traces: who called the code that runs (arch/x86/kernel/dumpstack.c, unwind_orc.c).

The walk follows a module's ORC tables, and the task's chain of activations where Python lies between two
guest functions. As in Linux the trace then lists every word of the stack that is an address of code: plain if
the walk came by it, with a question mark if it may be left from an earlier call.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from kmod_emu.kernel.layout import TRAP_BASE, TRAP_SPACE
from kmod_emu.kernel.orc import BP, BP_INDIRECT, PREV_SP, SP, SP_INDIRECT, UNDEFINED, OrcTables
from kmod_emu.machine.memory import EXEC, PageFault

if TYPE_CHECKING:
    from collections.abc import Iterator

    from kmod_emu.kernel.kernel import KernelCore
    from kmod_emu.kernel.orc import OrcEntry
    from kmod_emu.kernel.tasks import Task


class Frame(NamedTuple):
    """One line of a call trace: a return address, and whether the walk came by it."""

    address: int
    reliable: bool

    def text(self, kernel: KernelCore) -> str:
        """The address as printk_stack_address() prints it: named by the call, not by what follows it."""
        location = kernel.locate(self.address - 1)
        name = str(location._replace(offset=location.offset + 1)) if location else f"{self.address:#x}"
        return f" {'' if self.reliable else '? '}{name}"


class Place(NamedTuple):
    """Where a walk is: an instruction and the registers there."""

    rip: int
    rsp: int
    rbp: int


def call_trace(kernel: KernelCore, task: Task) -> list[Frame]:
    """The callers of what runs, innermost first."""
    start = _start(kernel, task)
    if start is None or not task.stack <= start.rsp < task.stack_top:
        return []
    walked = dict(_walk(kernel, task, start))
    memory, first = kernel.memory, start.rsp & ~7
    words = memoryview(memory.read(first, task.stack_top - first)).cast("Q")
    frames = []
    for slot, word in zip(range(first, task.stack_top, 8), words, strict=True):
        if slot in walked or _is_text(kernel, word):
            frames.append(Frame(word, slot in walked))
    return frames


def callers(kernel: KernelCore, task: Task) -> list[tuple[int, int]]:
    """Who called what runs, innermost first: the slot of the stack with the return address, and this."""
    start = _start(kernel, task)
    return [] if start is None else list(_walk(kernel, task, start))


def _start(kernel: KernelCore, task: Task) -> Place | None:
    """Where guest code stopped; None if the task runs in Python and no guest code is below."""
    cpu = kernel.cpu
    if task.resume is not None:  # it gave up the processor
        return Place(task.resume.rip, task.resume.rsp, 0)
    if kernel.sched.in_guest and task is kernel.sched.current:
        return Place(cpu.rip, cpu.read("rsp"), cpu.read("rbp"))
    if task.activations and task.activations[-1].deliver is not None:
        below = task.activations[-1]
        return Place(below.rip, below.stack, cpu.read("rbp"))
    return None


def _walk(kernel: KernelCore, task: Task, place: Place) -> Iterator[tuple[int, int]]:
    """Slots of the stack that hold the return addresses of the callers, and these."""
    tables = orc_tables(kernel)
    activations = [activation for activation in task.activations if activation.deliver is not None]
    called = False  # the place is a return address: the instruction is the one before it
    while task.stack <= place.rsp < task.stack_top:
        try:
            slot, caller_rbp = return_slot(kernel, tables, place, called)
            rip = kernel.memory.read_u64(slot)
        except (PageFault, LookupError):
            return
        if rip == kernel.traps.return_address:
            if not activations:
                return
            below = activations.pop()  # Python was called from there, or interrupted it
            place = Place(below.rip, below.stack, caller_rbp)
            called = False
            continue
        yield slot, rip
        place, called = Place(rip, slot + 8, caller_rbp), True


def orc_tables(kernel: KernelCore) -> OrcTables:
    """The tables of all modules."""
    return OrcTables(kernel, (tables.module for tables in kernel.faults.tables.values() if tables.module))


def return_slot(kernel: KernelCore, tables: OrcTables, place: Place, called: bool) -> tuple[int, int]:
    """Where the return address of the function at `place` lies, and its caller's RBP.

    Raises:
        LookupError: Nobody knows.
    """
    if TRAP_BASE <= place.rip < TRAP_BASE + TRAP_SPACE or not kernel.memory.mapped(place.rip, EXEC):
        return place.rsp, place.rbp  # a trap, or a jump to nowhere: the return address is on top
    entry = tables.find(place.rip - called) if tables.covers(place.rip) else None
    if entry is None:
        return _guess(kernel, place), place.rbp
    rsp = _caller_rsp(kernel, entry, place)
    if entry.bp_reg == PREV_SP:
        return rsp - 8, kernel.memory.read_u64(rsp + entry.bp_offset)
    if entry.bp_reg == BP:
        return rsp - 8, kernel.memory.read_u64(place.rbp + entry.bp_offset)
    return rsp - 8, place.rbp


def _caller_rsp(kernel: KernelCore, entry: OrcEntry, place: Place) -> int:
    """The caller's stack pointer."""
    if not entry.call or entry.sp_reg == UNDEFINED:
        raise LookupError("the stack ends here")
    if entry.sp_reg == SP:
        return place.rsp + entry.sp_offset
    if entry.sp_reg == BP:
        return place.rbp + entry.sp_offset
    if entry.sp_reg == SP_INDIRECT:
        return kernel.memory.read_u64(place.rsp) + entry.sp_offset
    if entry.sp_reg == BP_INDIRECT:
        return kernel.memory.read_u64(place.rbp + entry.sp_offset)
    raise LookupError("a register that is not kept")


def _guess(kernel: KernelCore, place: Place) -> int:
    """Code without tables, as the guest half of the base kernel: the next word that follows a call."""
    for slot in range(place.rsp & ~7, (place.rsp & ~7) + 1024, 8):
        word = kernel.memory.read_u64(slot)
        if word == kernel.traps.return_address or (_is_text(kernel, word) and _follows_call(kernel, word)):
            return slot
    raise LookupError("no return address near")


def _is_text(kernel: KernelCore, address: int) -> bool:
    trap = TRAP_BASE <= address < TRAP_BASE + TRAP_SPACE
    return not trap and address >> 63 == 1 and kernel.memory.mapped(address, EXEC)


def _follows_call(kernel: KernelCore, address: int) -> bool:
    if not kernel.memory.mapped(address - 6):
        return False
    before = kernel.memory.read(address - 6, 6)
    return before[1] == 0xE8 or before[4] == 0xFF or before[3] == 0xFF or before[0] == 0xFF

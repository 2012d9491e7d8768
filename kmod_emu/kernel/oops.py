"""Oopses: the report in dmesg, and the death of the task (arch/x86/kernel/dumpstack.c, kernel/exit.c)."""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING, Any, NamedTuple, NoReturn

from kmod_emu.kernel import ptregs, report
from kmod_emu.kernel.layout import (
    PAGE_OFFSET,
    START_KERNEL_MAP,
    STRUCT_PAGE_SIZE,
    TASK_SIZE_MAX,
    VMEMMAP_START,
)
from kmod_emu.kernel.notifier import NOTIFY_STOP_MASK
from kmod_emu.kernel.notifier_chain import call_chain, chain_place
from kmod_emu.kernel.panic import SIGKILL, GuestFirst, die
from kmod_emu.kernel.percpu import PREEMPT_ENABLED
from kmod_emu.kernel.preempt import EFLAGS_IF, in_interrupt
from kmod_emu.kernel.taint import Taint
from kmod_emu.machine.cpu import Stop, StopReason
from kmod_emu.machine.memory import PAGE_SIZE, Access, PageFault

if TYPE_CHECKING:
    from kmod_emu.kernel.bugs import BugEntry
    from kmod_emu.kernel.kernel import KernelCore
    from kmod_emu.kernel.tasks import Task

SIGTRAP, SIGILL, SIGFPE, SIGSEGV = 5, 4, 8, 11
BREAKPOINT, INVALID_OPCODE, GENERAL_PROTECTION, PAGE_FAULT = 3, 6, 13, 14
_MASK64 = (1 << 64) - 1
_PREEMPT_MASK = (1 << 31) - 1  # the highest bit says "no resched needed"
_COMPOUND_HEAD = 8  # in struct page
_DIE_OOPS, _DIE_INT3, _DIE_TRAP, _DIE_GPF = 1, 2, 8, 9  # enum die_val (asm/kdebug.h)
_BEFORE = {BREAKPOINT: (_DIE_INT3, SIGTRAP), GENERAL_PROTECTION: (_DIE_GPF, SIGSEGV)}
_TRAP_SIGNALS = {0: SIGFPE, INVALID_OPCODE: SIGILL}
_DIE_ARGS = struct.Struct("<QQqii")  # struct die_args: regs, str, err, trapnr, signr
_TEXT_SPACE = 64


class Oops(NamedTuple):
    """What is known when a fault cannot be mended.

    Attributes:
        task: Who runs.
        stop: Where.
        what: The kernel's name of it.
        code: The processor's error code.
        sentence: What is wrong, for a person; the place is added.
        head: Lines above the one that counts it.
        vector: The exception's number, if it is one; modules hear of it before anything is said.
        signal: What kills the task.
        cr2: The address of a page fault.
        register: What CR2 holds after a fault that left no stack; the machine ends.
        fatal: Whether the fault counts as an interrupt, which the machine does not survive either.
    """

    task: Task
    stop: Stop
    what: str
    code: int
    sentence: str
    head: tuple[report.Line, ...] = ()
    vector: int = INVALID_OPCODE
    signal: int = SIGSEGV
    cr2: int | None = None
    register: int | None = None
    fatal: bool = False


class Oopses:
    """The oopses of this boot.

    Attributes:
        count: How many there were.
    """

    def __init__(self, kernel: KernelCore) -> None:
        self._kernel = kernel
        self.count = 0
        self._first_registers: list[report.Line] = []

    # --- one oops -----------------------------------------------------------------------------------

    def oops(self, oops: Oops) -> NoReturn:
        """The report, and the task's death.

        Raises:
            Killed: Always.
            GuestFirst: In a deferred step, when modules want to know of it.
        """
        kernel = self._kernel
        kernel.taint.debug_locks = False  # oops_enter(): before anything is printed
        kernel.printk.say(oops.head)
        if kernel.panics.deferring and kernel.memory.read_u64(chain_place(kernel, "die")):
            if oops.register is not None:  # the processor has a stack for this
                kernel.cpu.write("rsp", kernel.tasks.init_task.stack_top)
            raise GuestFirst(self._told(oops))
        self._print(oops)
        self._end(oops)

    def _print(self, oops: Oops) -> None:
        """__die(): up to where modules hear of it."""
        kernel = self._kernel
        self.count += 1
        kernel.printk.say([report.die_line(kernel, oops.what, self.count, oops.code)])
        cr2 = oops.cr2 or oops.register or 0
        registers = report.register_lines(kernel, oops.stop, cr2)
        self._first_registers = self._first_registers or registers
        kernel.printk.say(report.state_lines(kernel, oops.task, oops.stop, cr2))

    async def _told(self, oops: Oops) -> int:
        """The same, with the modules of `die_chain` called; one that says stop saves the task."""
        kernel = self._kernel
        activation = kernel.sched.current.activations[-1]
        regs = kernel.view("pt_regs", activation.rsp)
        ptregs.fill(kernel, regs, oops.stop.rip)
        activation.rsp -= _TEXT_SPACE + _DIE_ARGS.size
        if oops.vector != PAGE_FAULT:
            signal = _TRAP_SIGNALS.get(oops.vector, SIGSEGV)
            if await self._notify(oops, regs.address, *_BEFORE.get(oops.vector, (_DIE_TRAP, signal))):
                ptregs.apply(kernel, regs)
                return regs.ip
        ptregs.apply(kernel, regs)
        self._print(oops)
        saved = await self._notify(oops, regs.address, _DIE_OOPS, SIGSEGV)
        ptregs.apply(kernel, regs)
        if saved:
            self._print_end(oops)
            return regs.ip
        return await kernel.panics.finish(lambda: self._end(oops))

    async def _notify(self, oops: Oops, regs: int, event: int, signal: int) -> bool:
        """notify_die(): whether somebody says that nothing more is to be done."""
        kernel = self._kernel
        arguments = kernel.sched.current.activations[-1].rsp
        text = arguments + _DIE_ARGS.size
        kernel.memory.write(text, oops.what.encode()[: _TEXT_SPACE - 1] + b"\0")
        vector = oops.vector if oops.vector != PAGE_FAULT else 0  # only a task's own faults are noted there
        kernel.memory.write(arguments, _DIE_ARGS.pack(regs, text, oops.code, vector, signal))
        answer, _ = await call_chain(kernel, chain_place(kernel, "die"), event, arguments)
        return bool(answer & NOTIFY_STOP_MASK)

    def _print_end(self, oops: Oops) -> None:
        address = [] if oops.cr2 is None else [(4, f"CR2: {oops.cr2:016x}")]
        self._kernel.printk.say([*address, (4, report.END_TRACE), *self._first_registers])
        self._kernel.taint.add(Taint.DIE)

    def _end(self, oops: Oops) -> NoReturn:
        """oops_end() and make_task_dead()."""
        kernel, task = self._kernel, oops.task
        self._print_end(oops)
        sentence = f"{oops.sentence} at {kernel.findings.place(task, oops.stop.rip)}"
        if oops.register is not None or oops.fatal or in_interrupt(kernel):
            kernel.findings.note("oops", sentence)
            if oops.register is not None:
                kernel.cpu.write("rsp", kernel.tasks.init_task.stack_top)
            kernel.panics.panic("Fatal exception in interrupt")
        if kernel.sysctl["panic_on_oops"]:
            kernel.panics.panic("Fatal exception")
        # Without SMAP, a fault at a user's address is looked into with interrupts on.
        irqs_off = oops.cr2 is not None and (kernel.memory.smap or oops.cr2 >= TASK_SIZE_MAX)
        self._note_locks_held(task, irqs_off=irqs_off)
        limit = kernel.sysctl["oops_limit"]
        if limit and self.count >= limit:
            kernel.panics.panic(f"Oopsed too often (kernel.oops_limit is {limit})")
        die(kernel, task, oops.signal, "oops", sentence)

    def _note_locks_held(self, task: Task, *, irqs_off: bool) -> None:
        """kernel/exit.c: make_task_dead. Page faults are handled with interrupts off, others are not."""
        kernel = self._kernel
        if irqs_off or not kernel.cpu.read("eflags") & EFLAGS_IF:
            kernel.printk.say([(6, f"note: {task.comm}[{task.pid}] exited with irqs disabled")])
        count = kernel.percpu.read("__preempt_count", 4) & _PREEMPT_MASK
        if count:
            kernel.printk.say([(6, f"note: {task.comm}[{task.pid}] exited with preempt_count {count}")])
            kernel.percpu.write("__preempt_count", PREEMPT_ENABLED, 4)

    # --- oopses of the base kernel's own ------------------------------------------------------------

    def bug(self, sentence: str, place: tuple[str, int] | None = None) -> NoReturn:
        """BUG() inside an export, or in guest code that calls it.

        Args:
            sentence: What is wrong, for a person.
            place: File and line where the real kernel has it, if known.

        Raises:
            Killed: Always.
        """
        kernel = self._kernel
        rip = kernel.memory.read_u64(kernel.traps.stack_pointer) if place else kernel.cpu.rip
        stop = Stop(StopReason.EXCEPTION, rip, vector=INVALID_OPCODE)
        where = ((2, f"kernel BUG at {place[0]}:{place[1]}!"),) if place else ()
        self._bug(kernel.sched.current, stop, sentence, where)

    def bug_at(self, task: Task, stop: Stop, bug: BugEntry) -> NoReturn:
        """The instruction of a BUG() was met (lib/bug.c: __report_bug).

        Raises:
            Killed: Always.
            GuestFirst: In a deferred step, when modules want to know of it.
        """
        where = f"{bug.file}:{bug.line}"
        self._bug(task, stop, f"BUG() at {where}", ((2, f"kernel BUG at {where}!"),))

    def _bug(self, task: Task, stop: Stop, sentence: str, where: tuple[report.Line, ...]) -> NoReturn:
        self.oops(Oops(task, stop, "invalid opcode", 0, sentence, ((4, report.CUT_HERE), *where)))

    def bad_free(self, function: str, address: int) -> None:
        """Freeing what is no object: an oops inside the kernel's memory management."""
        kernel = self._kernel
        sentence = f"{function}({address:#x}) frees something that is not allocated"
        stacks = None
        if (known := kernel.faults.freed_before(address)) is not None:
            sentence, stacks = known
        kernel.findings.note("bad free", sentence, stacks)
        if kernel.heap.was_freed(address):  # the hardened free list finds what is freed twice in a row
            self.bug(sentence, ("mm/slub.c", 419))
        start = PAGE_OFFSET if address < START_KERNEL_MAP else START_KERNEL_MAP
        page = VMEMMAP_START + (address - start & _MASK64) // PAGE_SIZE * STRUCT_PAGE_SIZE
        if not kernel.memory.mapped(page & _MASK64):  # virt_to_head_page() looks there
            raise PageFault(page + _COMPOUND_HEAD & _MASK64, Access.READ)
        raise PageFault(address, Access.READ)

    def kernel_crash(self, function: str, address: int, *, write: bool) -> NoReturn:
        """The real kernel's own code would fault here, on input that it does not check.

        Raises:
            Killed: Always.
        """
        fault = PageFault(address, Access.WRITE if write else Access.READ)
        stop = Stop(StopReason.FAULT, 0, fault=fault)
        head, code = report.page_fault_lines(self._kernel, fault, address)
        sentence = f"{function} follows a wild pointer in the module file to {address:#x}"
        task = self._kernel.sched.current
        self.oops(Oops(task, stop, "Oops", code, sentence, tuple(head), PAGE_FAULT, SIGKILL, cr2=address))

    def save(self) -> Any:
        """State for a snapshot or file."""
        return {"count": self.count, "first_registers": [list(line) for line in self._first_registers]}

    def load(self, state: Any) -> None:
        """Put saved state back."""
        self.count = state["count"]
        self._first_registers = [(level, line) for level, line in state["first_registers"]]

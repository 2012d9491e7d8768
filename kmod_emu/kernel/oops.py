"""Faults of kernel code, as the kernel reports them (arch/x86/mm/fault.c, kernel/dumpstack.c, panic.c).

A fault with an entry in an exception table goes on at its fixup; WARN prints and goes on; everything else
is an oops: the report goes to dmesg and the task dies holding whatever it held.
"""

from __future__ import annotations

import time
from contextlib import suppress
from typing import TYPE_CHECKING, Any, NamedTuple, NoReturn

from kmod_emu.errors import Killed, Unimplemented
from kmod_emu.kernel import bugs, extable, missing, report
from kmod_emu.kernel.gp_hint import general_protection
from kmod_emu.kernel.layout import (
    PAGE_OFFSET,
    START_KERNEL_MAP,
    STRUCT_PAGE_SIZE,
    TASK_SIZE_MAX,
    THREAD_SIZE,
    VMEMMAP_START,
)
from kmod_emu.kernel.percpu import PREEMPT_ENABLED
from kmod_emu.kernel.preempt import in_interrupt
from kmod_emu.kernel.taint import Taint
from kmod_emu.kernel.unwind import call_trace
from kmod_emu.machine.cpu import Stop, StopReason
from kmod_emu.machine.memory import PAGE_SIZE, WRITE, Access, PageFault

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine

    from kmod_emu.kernel.bugs import BugEntry
    from kmod_emu.kernel.kernel import KernelCore
    from kmod_emu.kernel.tasks import Task

SIGKILL, SIGSEGV = 9, 11
_MASK64 = (1 << 64) - 1
_LOOP_SEARCH = 512  # instructions to look at for the loop that code is caught in
_BREAKPOINT, _INVALID_OPCODE, _GENERAL_PROTECTION = 3, 6, 13
_FIRST_EXTERNAL_VECTOR = 0x20
_EFLAGS_IF = 1 << 9
_PREEMPT_MASK = (1 << 31) - 1  # the highest bit says "no resched needed"
_TRAP_NAMES = {0: "divide error", 3: "int3", 6: "invalid opcode", 8: "double fault", 12: "stack segment"}
_PAGE_FAULT = 14
_COMPOUND_HEAD = 8  # in struct page
_EXCEPTION_FRAME = 40  # bytes that the processor puts on the stack below the first 8
_PANIC_TEXT = 1024
_ENDINGS = ("oops", "panic", "soft lockup", "unimplemented", "bad free")  # who died says these


class _PanicFirst(Exception):
    """Something has to run before the machine ends.

    Attributes:
        work: The coroutine that ends it.
    """

    def __init__(self, work: Coroutine[Any, Any, int]) -> None:
        self.work = work


class Tables(NamedTuple):
    """What faults look into: (address, size) of a module's tables, and its `struct module`."""

    bugs: tuple[int, int]
    extable: tuple[int, int]
    module: int = 0


class Faults:
    """Decides what a stop of the processor means, and reports it.

    Attributes:
        tables: Tables of loaded modules by the module's name; the module room keeps it up to date.
        count: Oopses so far.
        warnings: WARNs so far.
        reports: One sentence for each oops, warning or unimplemented export, newest last.
    """

    def __init__(self, kernel: KernelCore) -> None:
        self._kernel = kernel
        self.tables: dict[str, Tables] = {}
        self.count = self.warnings = 0
        self.reports: list[dict[str, Any]] = []
        self.permissive = False
        self.former: Callable[[int], str | None] = lambda address: None  # what freed memory was, likewise
        # Set by checkers: what was freed at an address, and whether to go on after an access that faulted.
        self.freed_before: Callable[[int], tuple[str, dict[str, list[str]]] | None] = lambda address: None
        self.go_on: Callable[[int, Access, int], bool] = lambda address, access, rip: False
        self.source_line: Callable[[int], str | None] = lambda address: None  # set where files are at hand
        self.unimplemented: list[str] = []
        self.panicked = ""
        self._notifies = False  # while a panic may call notifiers: a stop is handled
        self._warned: set[tuple[str, int]] = set()  # places of WARN_ONCE that have been said
        self._first_registers: list[report.Line] = []
        self._by_reason: dict[StopReason, Callable[[Task, Stop], int]] = {
            StopReason.FAULT: self._page_fault,
            StopReason.EXCEPTION: self._exception,
            StopReason.LOCKUP: self._soft_lockup,
            StopReason.HALT: self._halted,
        }

    # --- entry points -------------------------------------------------------------------------------

    def handle(self, task: Task, stop: Stop) -> int | Coroutine[Any, Any, int]:
        """Guest code stopped; where it goes on, or a coroutine to run first, or the task dies.

        Raises:
            Killed: The task died.
        """
        sched = self._kernel.sched
        if sched.handler_fault is not None:
            fault, sched.handler_fault = sched.handler_fault, None
            return self._page_fault(task, stop._replace(reason=StopReason.FAULT, fault=fault), exact=True)
        if stop.vector == _BREAKPOINT and (work := self._kernel.probes.hit(stop.rip)):
            return work
        self._notifies = True
        try:
            if stop.reason in (StopReason.FAULT, StopReason.EXCEPTION) and (place := self._no_room()):
                self._double_fault(task, stop, place)
            return self._by_reason[stop.reason](task, stop)
        except _PanicFirst as panic:
            return panic.work
        finally:
            self._notifies = False

    def meaning(self, stop: Stop) -> tuple[str, str] | None:
        """What `handle` will make of a stop, as (kind, detail), without doing it.

        Kinds are "oops", "warn" and "unimplemented"; None: the code goes on.
        """
        fault = self._kernel.sched.handler_fault or stop.fault
        if fault is None and stop.reason is not StopReason.EXCEPTION:
            return None
        if fault is not None:
            if (absent := self._absent(fault)) is not None:
                return "unimplemented", absent
            if self._meant_for_users(stop):
                return None
        if stop.vector == _BREAKPOINT and self._kernel.probes.marks(stop.rip):
            return None
        if (stop.vector or 0) >= _FIRST_EXTERNAL_VECTOR:
            return None
        if stop.vector == _INVALID_OPCODE:
            with suppress(bugs.WildText, PageFault):
                if (bug := self._find_bug(stop.rip)) is not None:
                    kind = "warn" if bug.flags & bugs.BUGFLAG_WARNING else "oops"
                    return kind, f"{bug.file}:{bug.line}"
        tables = (tables.extable for tables in self.tables.values())
        if extable.has_entry(self._kernel, stop.rip, tables):
            return None
        if fault is not None:
            return "oops", self._page_fault_sentence(fault, fault.address)
        return "oops", _TRAP_NAMES.get(stop.vector or 0, f"exception {stop.vector}")

    def in_handler(self, task: Task, fault: PageFault) -> NoReturn:
        """A coroutine followed a bad pointer of the guest's."""
        rip = _system_call(fault) if len(task.activations) == 1 else None
        place = self._kernel.cpu.rip if rip is None else self._kernel.symbols.address(rip)
        self._page_fault(task, Stop(StopReason.FAULT, place, fault=fault), exact=True)
        raise AssertionError("a fault in a coroutine has no fixup")

    def dump_stack(self) -> None:
        """Print the CPU and call trace of the task that runs (lib/dump_stack.c)."""
        self.print(report.stack_lines(self._kernel, self._kernel.sched.current))

    def bad_free(self, function: str, address: int) -> None:
        """Freeing what is no object: an oops inside the kernel's memory management."""
        kernel = self._kernel
        sentence = f"{function}({address:#x}) frees something that is not allocated"
        stacks = None
        if (known := self.freed_before(address)) is not None:
            sentence, stacks = known
        self.note("bad free", sentence, stacks)
        if kernel.heap.was_freed(address):  # the hardened free list finds what is freed twice in a row
            self.bug(sentence, ("mm/slub.c", 419))
        start = PAGE_OFFSET if address < START_KERNEL_MAP else START_KERNEL_MAP
        page = VMEMMAP_START + (address - start & _MASK64) // PAGE_SIZE * STRUCT_PAGE_SIZE
        if not kernel.memory.mapped(page & _MASK64):  # virt_to_head_page() looks there
            raise PageFault(page + _COMPOUND_HEAD & _MASK64, Access.READ)
        raise PageFault(address, Access.READ)

    def deadlock(self, lock: int, since: str = "") -> NoReturn:
        """A spinlock is taken and its holder can never run: the code would spin for ever.

        Args:
            lock: Which.
            since: Who holds it since when, if that is known.

        Raises:
            Killed: Always.
        """
        task = self._kernel.sched.current
        self._kernel.printk.emit(
            f"watchdog: BUG: soft lockup - CPU#0 stuck for 22s! [{task.comm}:{task.pid}]\n", 0
        )
        self._kernel.taint.add(Taint.SOFTLOCKUP)
        sentence = f"the spinlock at {self._kernel.describe(lock)} is taken and nobody can release it"
        self._die(task, SIGKILL, "soft lockup", f"{sentence}: {since}" if since else sentence)

    def warn(self, file: str, line: int, text: str, function: str = "") -> None:
        """WARN() inside the base kernel (kernel/panic.c: __warn).

        Args:
            file: Where the real kernel has it.
            line: Where the real kernel has it.
            text: What it says, "" for a WARN_ON().
            function: What the real kernel calls the place; by default the guest code that runs.
        """
        kernel = self._kernel
        task, rip = kernel.sched.current, kernel.cpu.rip
        self.print([(4, report.CUT_HERE), *([(4, text)] if text else [])])
        self.print([(4, self._warning_line(task, file, line, function or kernel.describe(rip)))])
        self.print(report.state_lines(kernel, task, Stop(StopReason.TRAP, rip), first_modules=True))
        self._check_panic_on_warn()
        self.print([(4, report.END_TRACE)])
        kernel.taint.add(Taint.WARN)
        called = self.caller_of(task)
        self.note("warning", f"{text or f'WARN at {file}:{line}'}{f', called at {called}' if called else ''}")

    def kernel_crash(self, function: str, address: int, *, write: bool) -> NoReturn:
        """The real kernel's own code would fault here, on input that it does not check.

        Raises:
            Killed: Always.
        """
        fault = PageFault(address, Access.WRITE if write else Access.READ)
        stop = Stop(StopReason.FAULT, 0, fault=fault)
        head = report.page_fault_lines(self._kernel, fault, address, self.count + 1)
        sentence = f"{function} follows a wild pointer in the module file to {address:#x}"
        self._oops(self._kernel.sched.current, stop, head, address, SIGKILL, sentence)

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
        stop = Stop(StopReason.EXCEPTION, rip, vector=_INVALID_OPCODE)
        where = [(2, f"kernel BUG at {place[0]}:{place[1]}!")] if place else []
        opcode = report.die_line(self._kernel, "invalid opcode", self.count + 1)
        head = [(4, report.CUT_HERE), *where, opcode]
        self._oops(self._kernel.sched.current, stop, head, None, SIGSEGV, sentence)

    def panic(self, text: str) -> NoReturn:
        """The machine stops for good (kernel/panic.c).

        Raises:
            Killed: Always; for every later system call too.
            _PanicFirst: While a stop is handled, when notifiers of modules are to be called before.
        """
        self._panic_begins(text)
        chain = self._kernel.symbol("panic_notifier_list")
        head = chain + self._kernel.profile.offset("atomic_notifier_head", "head")
        if self._notifies and self._kernel.memory.read_u64(head):
            raise _PanicFirst(self._tell_and_die(text, head))
        self._panic_ends(text)

    async def panic_told(self, text: str) -> NoReturn:
        """As `panic`, from a coroutine: notifiers of modules are called.

        Raises:
            Killed: Always.
        """
        self._panic_begins(text)
        chain = self._kernel.symbol("panic_notifier_list")
        await self._tell_and_die(text, chain + self._kernel.profile.offset("atomic_notifier_head", "head"))
        raise AssertionError("a panic does not return")

    def _panic_begins(self, text: str) -> None:
        self.panicked = text
        self.print([(0, f"Kernel panic - not syncing: {text}")])
        if not self._kernel.taint.test(Taint.DIE):
            self.dump_stack()
        self.print([(0, "Kernel Offset: disabled")])

    async def _tell_and_die(self, text: str, head: int) -> int:
        from kmod_emu.kernel.notifier_chain import call_chain

        kernel = self._kernel
        words = kernel.heap.kmalloc(_PANIC_TEXT)
        if words:
            kernel.memory.write(words, text.encode("utf-8", "surrogateescape")[: _PANIC_TEXT - 1] + b"\0")
        await call_chain(kernel, head, 0, words)
        self._panic_ends(text)

    def _panic_ends(self, text: str) -> NoReturn:
        self.print([(0, f"---[ end Kernel panic - not syncing: {text} ]---")])
        self._die(self._kernel.sched.current, SIGKILL, "panic", f"kernel panic: {text}")

    def warn_once(self, file: str, line: int, text: str, function: str) -> None:
        """WARN_ONCE() inside the base kernel: as `warn`, the first time since boot."""
        if (file, line) not in self._warned:
            self._warned.add((file, line))
            self.warn(file, line, text, function)

    # --- kinds of stops -----------------------------------------------------------------------------

    def _page_fault(self, task: Task, stop: Stop, exact: bool = False) -> int:
        fault = stop.fault
        assert fault is not None
        if (absent := self._absent(fault)) is not None:
            return self._unimplemented(task, stop, absent)
        if self._meant_for_users(stop):
            step = self._step_with_user_access(stop.rip)
            if step.reason is StopReason.COUNT:
                return step.rip
            stop, fault = step, step.fault or fault
        fixup = self._fixup(stop.rip, _PAGE_FAULT)
        if fixup is not None:
            return fixup
        address = fault.address if exact else report.fault_address(self._kernel, stop)
        told = self.reports and self.reports[-1]["kind"] == "bad free"  # of which this fault is the end
        if not told and self.go_on(address, fault.access, 0 if exact else stop.rip) and not exact:
            return stop.rip
        lines = report.page_fault_lines(self._kernel, fault, address, self.count + 1)
        sentence = self._page_fault_sentence(fault, address)
        if fault.present and address < TASK_SIZE_MAX and fault.access is not Access.FETCH:
            where = self.source_line(stop.rip) or self._kernel.describe(stop.rip)
            way = "copy_from_user" if fault.access is Access.READ else "copy_to_user"
            sentence = f"the code dereferences a user pointer at {where}; use {way}()"
        self._oops(task, stop, lines, address, SIGKILL, sentence)

    def _page_fault_sentence(self, fault: PageFault, address: int) -> str:
        what = {Access.READ: "reads", Access.WRITE: "writes", Access.FETCH: "jumps to"}[fault.access]
        if address < PAGE_SIZE:
            return f"the code {what} a NULL pointer"
        former = None if fault.present else self.former(address)
        why = "whose page forbids it" if fault.present else "where nothing is mapped"
        return f"the code {what} {address:#018x}, {f'which was {former}' if former else why},"

    def _absent(self, fault: PageFault) -> str | None:
        """The export that nobody serves, if that is what was touched."""
        symbols, gs_base = self._kernel.symbols, self._kernel.percpu.base
        return symbols.absent(fault.address) or symbols.absent(fault.address - gs_base & _MASK64)

    def _meant_for_users(self, stop: Stop) -> bool:
        """Whether SMAP stopped code that has an entry in an exception table: inlined copies open the door."""
        fault = stop.fault
        if (
            fault is None
            or not (fault.present and self._kernel.memory.smap)
            or fault.address >= TASK_SIZE_MAX
        ):
            return False
        tables = (tables.extable for tables in self.tables.values())
        return fault.access is not Access.FETCH and extable.has_entry(self._kernel, stop.rip, tables)

    def _step_with_user_access(self, rip: int) -> Stop:
        """One instruction, between stac and clac."""
        memory = self._kernel.memory
        memory.smap = False
        try:
            return self._kernel.cpu.run(rip, count=1)
        finally:
            memory.smap = True
            memory.flush()

    def _no_room(self) -> int:
        """Where the processor could not save its state for the handler of a fault; 0 if it could."""
        top = (self._kernel.cpu.read("rsp") & ~15) - 8 & _MASK64
        for place in (top, top - _EXCEPTION_FRAME & _MASK64):
            if place < TASK_SIZE_MAX or not self._kernel.memory.mapped(place, WRITE):
                return place
        return 0

    def _double_fault(self, task: Task, stop: Stop, place: int) -> NoReturn:
        """A fault whose handler has no stack: the end (arch/x86/kernel/traps.c: exc_double_fault)."""
        if task.stack - PAGE_SIZE <= place < task.stack:
            hashed = (
                f"{self._kernel.format_context.hash_pointer(address):016x}"
                for address in (place, task.stack, task.stack + THREAD_SIZE - 1)
            )
            line = "BUG: TASK stack guard page was hit at {} (stack is {}..{})".format(*hashed)
            name, sentence = "stack guard page", "the kernel stack of 16 KiB is used up"
        else:
            line = "traps: PANIC: double fault, error_code: 0x0"
            name, sentence = (
                "double fault",
                f"the stack pointer leads to {place:#x}, where nothing fits",
            )
        head = [(0, line), report.die_line(self._kernel, name, self.count + 1)]
        self._oops(task, stop, head, None, SIGSEGV, sentence, register=place)

    def _exception(self, task: Task, stop: Stop) -> int:
        rip, vector = stop.rip, stop.vector
        if vector is not None and vector >= _FIRST_EXTERNAL_VECTOR:  # an `int` instruction of the module's
            self._kernel.printk.emit(f"__common_interrupt: 0.{vector} No irq handler for vector\n", 0)
            return rip
        if vector == _INVALID_OPCODE and (bug := self._bug_at(rip)) is not None:
            return self._report_bug(task, stop, bug)
        fixup = self._fixup(rip, vector or 0)
        if fixup is not None:
            return fixup
        name, code = _TRAP_NAMES.get(vector or 0, f"exception {vector}"), 0
        what = name
        if vector == _GENERAL_PROTECTION:
            what, code = general_protection(self._kernel, rip)
            name = "general protection fault"
        line = report.die_line(self._kernel, what, self.count + 1, code)
        self._oops(task, stop, [line], None, SIGSEGV, name, fatal=vector == _BREAKPOINT)

    def _soft_lockup(self, task: Task, stop: Stop) -> int:
        """Code that never returns: the kernel only complains for ever, here the task is ended."""
        stop = self._loop_head(stop)
        self._kernel.events.emit("lockup")
        limit = self._kernel.cpu.watchdog.limit or 0
        seconds = max(int(limit), 1)
        head = f"watchdog: BUG: soft lockup - CPU#0 stuck for {seconds}s! [{task.comm}:{task.pid}]"
        self.print([(0, head)])
        self.print(report.state_lines(self._kernel, task, stop, first_modules=True))
        self._kernel.taint.add(Taint.SOFTLOCKUP)
        place = self._kernel.describe(stop.rip)
        self._die(task, SIGKILL, "soft lockup", f"code that never returned ran for {limit:g} s, at {place}")

    def _loop_head(self, stop: Stop) -> Stop:
        """Go on to the lowest instruction of a short loop: where the watchdog hit is chance, this is not."""
        cpu, rip, seen = self._kernel.cpu, stop.rip, []
        for _ in range(_LOOP_SEARCH):
            seen.append(rip)
            step = cpu.run(rip, count=1)
            if step.reason is not StopReason.COUNT:
                return stop
            rip = step.rip
            if rip == stop.rip:
                break
        else:
            return stop
        while rip != min(seen):
            rip = cpu.run(rip, count=1).rip
        return stop._replace(rip=rip)

    def _halted(self, task: Task, stop: Stop) -> int:
        return stop.rip  # hlt in process context: an idle instruction, or a late stop of the watchdog

    def _unimplemented(self, task: Task, stop: Stop, name: str) -> int:
        """The guest touched an export that nobody serves."""
        called = stop.rip == stop.fault.address if stop.fault else False
        kernel = self._kernel
        rsp = kernel.cpu.read("rsp")
        caller = kernel.memory.read_u64(rsp) if called else stop.rip
        user = kernel.sched.called if caller == kernel.traps.return_address else caller  # it ends in a jump
        if name not in self.unimplemented:
            self.unimplemented.append(name)
        if called and self.permissive:
            kernel.cpu.write("rax", 0)
            kernel.cpu.write("rsp", rsp + 8)
            return caller
        entry = missing.report(kernel, name, user, called=called)
        kernel.events.emit("unimplemented", name=name, caller=caller)
        self.reports.append(entry)
        task.dead = True
        raise Unimplemented(name, entry["text"], entry["recipe"])

    # --- exception tables and bug tables --------------------------------------------------------------

    def _fixup(self, rip: int, vector: int) -> int | None:
        """Where the exception tables say to go on, or None."""
        return extable.fixup(self._kernel, rip, vector, (tables.extable for tables in self.tables.values()))

    def _bug_at(self, rip: int) -> BugEntry | None:
        """The record of a BUG or WARN whose instruction is at `rip`, if it is one that can be read."""
        try:
            return self._find_bug(rip)
        except bugs.WildText as wild:  # printk follows the pointer, and nobody catches that
            stop = Stop(StopReason.FAULT, rip, fault=wild.fault)
            self._page_fault(self._kernel.sched.current, stop, exact=True)
        except PageFault:
            pass
        return None

    def _find_bug(self, rip: int) -> BugEntry | None:
        return bugs.find(self._kernel, rip, (tables.bugs for tables in self.tables.values()))

    def _report_bug(self, task: Task, stop: Stop, bug: BugEntry) -> int:
        """lib/bug.c: __report_bug."""
        kernel = self._kernel
        if not bug.flags & bugs.BUGFLAG_WARNING:
            head = [(4, report.CUT_HERE), (2, f"kernel BUG at {bug.file}:{bug.line}!")]
            head.append(report.die_line(kernel, "invalid opcode", self.count + 1))
            self._oops(task, stop, head, None, SIGSEGV, f"BUG() at {bug.file}:{bug.line}")
        if bug.flags & bugs.BUGFLAG_ONCE:
            if bug.flags & bugs.BUGFLAG_DONE:
                return bug.next
            kernel.memory.write_u16(bug.flags_address, bug.flags | bugs.BUGFLAG_DONE)
        lines = [] if bug.flags & bugs.BUGFLAG_NO_CUT_HERE else [(4, report.CUT_HERE)]
        if bug.text:
            lines.append((4, bug.text.rstrip("\n")))
        lines.append((4, self._warning_line(task, bug.file, bug.line, kernel.describe(bug.address))))
        lines += report.state_lines(kernel, task, stop, first_modules=True)
        self.print(lines)
        self._check_panic_on_warn()
        self.print([(4, report.END_TRACE)])
        kernel.taint.add(Taint(bug.flags >> 8 if bug.flags >> 8 < len(Taint) else Taint.WARN))
        self.note("warning", f"WARN at {bug.file}:{bug.line}")
        return bug.next

    def _warning_line(self, task: Task, file: str, line: int, place: str) -> str:
        if self._kernel.profile.has("bug_entry.format_disp"):
            return f"WARNING: {file}:{line} at {place}, CPU#0: {task.comm}/{task.pid}"
        return f"WARNING: CPU: 0 PID: {task.pid} at {file}:{line} {place}"

    def _check_panic_on_warn(self) -> None:
        """kernel/panic.c: check_panic_on_warn."""
        sysctl = self._kernel.sysctl
        self.warnings += 1
        if sysctl["panic_on_warn"]:
            sysctl.values["panic_on_warn"] = 0  # panic() must not come here again
            self.panic("kernel: panic_on_warn set ...")
        limit = sysctl["warn_limit"]
        if limit and self.warnings >= limit:
            self.panic(f"kernel: system warned too often (kernel.warn_limit is {limit})")

    # --- dying --------------------------------------------------------------------------------------

    def _oops(
        self,
        task: Task,
        stop: Stop,
        head: list[tuple[int, str]],
        cr2: int | None,
        signal: int,
        sentence: str,
        *,
        register: int | None = None,
        fatal: bool = False,
    ) -> NoReturn:
        """The report, and the task's death (oops_end).

        Args:
            task: Who runs.
            stop: Where.
            head: The lines above the processor's state.
            cr2: The address of a page fault.
            signal: What kills the task.
            sentence: What is wrong, for a person.
            register: What CR2 holds after a fault that left no stack; the machine ends.
            fatal: Whether the fault counts as an interrupt, which the machine does not survive either.
        """
        kernel = self._kernel
        self.count += 1
        kernel.taint.debug_locks = False  # oops_enter(): before anything is printed
        self.print(head)
        registers = report.register_lines(kernel, stop, cr2 or register or 0)
        self._first_registers = self._first_registers or registers
        self.print(report.state_lines(kernel, task, stop, cr2, register))
        self.print([(4, report.END_TRACE), *self._first_registers])
        kernel.taint.add(Taint.DIE)
        sentence = f"{sentence} at {self._place(task, stop.rip)}"
        if register is not None or fatal or in_interrupt(kernel):
            self.note("oops", sentence)
            if register is not None:
                kernel.cpu.write("rsp", kernel.tasks.init_task.stack_top)  # the processor has one for this
            self.panic("Fatal exception in interrupt")
        if kernel.sysctl["panic_on_oops"]:
            self.panic("Fatal exception")
        # Without SMAP, a fault at a user's address is looked into with interrupts on.
        irqs_off = cr2 is not None and (kernel.memory.smap or cr2 >= TASK_SIZE_MAX)
        self._note_locks_held(task, irqs_off=irqs_off)
        limit = kernel.sysctl["oops_limit"]
        if limit and self.count >= limit:
            self.panic(f"Oopsed too often (kernel.oops_limit is {limit})")
        self._die(task, signal, "oops", sentence)

    def _place(self, task: Task, rip: int) -> str:
        """The symbol at a place and the line of its source, or of the nearest caller that has one."""
        text = self._kernel.describe(rip)
        if line := self.line_of(rip):
            return f"{text} ({line})"
        called = self.caller_of(task)
        return f"{text}, called at {called}" if called else text

    def caller_of(self, task: Task) -> str | None:
        """The nearest line of source that the task came by on its way here, if any is known."""
        frames = (frame for frame in call_trace(self._kernel, task) if frame.reliable)
        return next(filter(None, (self.line_of(frame.address - 1) for frame in frames)), None)

    def line_of(self, address: int) -> str | None:
        """`source_line`, on the host's time: reading debug information is not what the task does."""
        started = time.process_time()
        line = self.source_line(address)
        self._kernel.cpu.watchdog.forgive(time.process_time() - started)
        return line

    def call_place(self, address: int) -> str:
        """The call before a return address, or an instruction: symbol, and file:line where that is known."""
        location = self._kernel.locate(address)
        line = self.line_of(address - 1 if location and location.offset else address)
        return f"{self._kernel.describe(address)}{f' ({line})' if line else ''}"

    @property
    def findings(self) -> list[str]:
        """The lines of `reports` that ended nothing: warnings, and what checkers found, with their stacks."""
        lines = []
        for finding in self.reports:
            if finding["kind"] not in _ENDINGS:
                lines.append(finding["text"])
            for what, stack in finding.get("stacks", {}).items():
                lines += [f"  {what}:", *(f"    {frame}" for frame in stack)]
        return lines

    def _note_locks_held(self, task: Task, *, irqs_off: bool) -> None:
        """kernel/exit.c: make_task_dead. Page faults are handled with interrupts off, others are not."""
        kernel = self._kernel
        if irqs_off or not kernel.cpu.read("eflags") & _EFLAGS_IF:
            self.print([(6, f"note: {task.comm}[{task.pid}] exited with irqs disabled")])
        count = kernel.percpu.read("__preempt_count", 4) & _PREEMPT_MASK
        if count:
            self.print([(6, f"note: {task.comm}[{task.pid}] exited with preempt_count {count}")])
            kernel.percpu.write("__preempt_count", PREEMPT_ENABLED, 4)

    def _die(self, task: Task, signal: int, kind: str, sentence: str) -> NoReturn:
        task.dead = True
        self.note(kind, sentence)
        self._kernel.events.emit(kind, text=sentence)
        raise Killed(signal, sentence)

    def note(self, kind: str, sentence: str, stacks: dict[str, list[str]] | None = None) -> None:
        """Add a finding to `reports`.

        Args:
            kind: A few words that scripts can compare.
            sentence: What is wrong, for a person.
            stacks: Calls that led there, innermost first, by what they did: "access", "allocation", "free".
        """
        self.reports.append({"kind": kind, "text": sentence} | ({"stacks": stacks} if stacks else {}))

    def print(self, lines: list[tuple[int, str]]) -> None:
        """Lines with their levels into the log."""
        for level, line in lines:
            self._kernel.printk.emit(line + "\n", level)

    def save(self) -> Any:
        """State for a snapshot or file."""
        return {
            "tables": {name: list(tables) for name, tables in self.tables.items()},
            "count": self.count,
            "warnings": self.warnings,
            "warned": [list(place) for place in sorted(self._warned)],
            "panicked": self.panicked,
            "first_registers": [list(line) for line in self._first_registers],
        }

    def load(self, state: Any) -> None:
        """Put saved state back."""
        self.tables = {
            name: Tables((bugs[0], bugs[1]), (extable[0], extable[1]), module)
            for name, (bugs, extable, module) in state["tables"].items()
        }
        self.count, self.warnings, self.panicked = state["count"], state["warnings"], state["panicked"]
        self._warned = {(file, line) for file, line in state["warned"]}
        self._first_registers = [(level, line) for level, line in state["first_registers"]]


def _system_call(fault: PageFault) -> str | None:
    """The symbol of the system call that was served in Python when a fault was raised."""
    trace = fault.__traceback__
    while trace is not None:
        entry = trace.tb_frame.f_locals.get("entry")
        if trace.tb_frame.f_code.co_name == "do_syscall" and entry is not None:
            return str(entry.symbol)
        trace = trace.tb_next
    return None

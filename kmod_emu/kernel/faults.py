"""What a stop of the processor means (arch/x86/mm/fault.c, arch/x86/kernel/traps.c).

A fault with an entry in an exception table goes on at its fixup; WARN prints and goes on; everything else
is an oops: the report goes to dmesg and the task dies holding whatever it held.
"""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING, Any, NamedTuple, NoReturn

from kmod_emu.errors import Unimplemented
from kmod_emu.kernel import bugs, extable, missing, report, watchdog
from kmod_emu.kernel.gp_hint import general_protection
from kmod_emu.kernel.layout import TASK_SIZE_MAX, THREAD_SIZE
from kmod_emu.kernel.oops import BREAKPOINT, GENERAL_PROTECTION, INVALID_OPCODE, PAGE_FAULT, Oops
from kmod_emu.kernel.panic import SIGKILL
from kmod_emu.machine.cpu import Stop, StopReason
from kmod_emu.machine.memory import PAGE_SIZE, WRITE, Access, PageFault

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine

    from kmod_emu.kernel.bugs import BugEntry
    from kmod_emu.kernel.kernel import KernelCore
    from kmod_emu.kernel.tasks import Task

_MASK64 = (1 << 64) - 1
_FIRST_EXTERNAL_VECTOR = 0x20
_TRAP_NAMES = {0: "divide error", 3: "int3", 6: "invalid opcode", 8: "double fault", 12: "stack segment"}
_DOUBLE_FAULT = 8
_EXCEPTION_FRAME = 40  # bytes that the processor puts on the stack below the first 8


class Tables(NamedTuple):
    """What faults look into: (address, size) of a module's tables, and its `struct module`."""

    bugs: tuple[int, int]
    extable: tuple[int, int]
    module: int = 0


class Faults:
    """Decides where guest code that stopped goes on, or how it ends.

    Attributes:
        tables: Tables of loaded modules by the module's name; the module room keeps it up to date.
        unimplemented: Exports without an implementation that were used, in order.
        permissive: Whether such a function returns 0 instead of ending the task.
    """

    def __init__(self, kernel: KernelCore) -> None:
        self._kernel = kernel
        self.tables: dict[str, Tables] = {}
        self.permissive = False
        self.former: Callable[[int], str | None] = lambda address: None  # what freed memory was
        # Set by checkers: what was freed at an address, and whether to go on after an access that faulted.
        self.freed_before: Callable[[int], tuple[str, dict[str, list[str]]] | None] = lambda address: None
        self.go_on: Callable[[int, Access, int], bool] = lambda address, access, rip: False
        # Brings in a page of user memory, on a base kernel that does so by itself; the place to go on.
        self.user_page: Callable[[Stop], Coroutine[Any, Any, int] | None] = lambda stop: None
        self.unimplemented: list[str] = []
        self._by_reason: dict[StopReason, Callable[[Task, Stop], int]] = {
            StopReason.FAULT: self._page_fault,
            StopReason.EXCEPTION: self._exception,
            StopReason.LOCKUP: self._lockup,
            StopReason.HALT: self._halted,
        }

    def lacks(self, name: str, sentence: str) -> None:
        """Something was asked of a function that it does not do here, and got a refusal."""
        if name not in self.unimplemented:
            self.unimplemented.append(name)
        self._kernel.findings.note("unimplemented", sentence)

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
        if stop.vector == BREAKPOINT and (work := self._kernel.probes.hit(stop.rip)):
            return work
        if stop.fault is not None and stop.fault.address < TASK_SIZE_MAX and (work := self.user_page(stop)):
            return work
        return self._kernel.panics.deferred(lambda: self._handle(task, stop))

    def _handle(self, task: Task, stop: Stop) -> int:
        if stop.reason in (StopReason.FAULT, StopReason.EXCEPTION) and (place := self._no_room()):
            self._double_fault(task, stop, place)
        return self._by_reason[stop.reason](task, stop)

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
        if stop.vector == BREAKPOINT and self._kernel.probes.marks(stop.rip):
            return None
        if (stop.vector or 0) >= _FIRST_EXTERNAL_VECTOR:
            return None
        if stop.vector == INVALID_OPCODE:
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
        fixup = self._fixup(stop.rip, PAGE_FAULT)
        if fixup is not None:
            return fixup
        address = fault.address if exact else report.fault_address(self._kernel, stop)
        reports = self._kernel.findings.reports
        told = reports and reports[-1]["kind"] == "bad free"  # of which this fault is the end
        if not told and self.go_on(address, fault.access, 0 if exact else stop.rip) and not exact:
            return stop.rip
        sentence = self._page_fault_sentence(fault, address)
        if fault.present and address < TASK_SIZE_MAX and fault.access is not Access.FETCH:
            where = self._kernel.findings.line_of(stop.rip) or self._kernel.describe(stop.rip)
            way = "copy_from_user" if fault.access is Access.READ else "copy_to_user"
            sentence = f"the code dereferences a user pointer at {where}; use {way}()"
        head, code = report.page_fault_lines(self._kernel, fault, address)
        self._kernel.oopses.oops(
            Oops(task, stop, "Oops", code, sentence, tuple(head), PAGE_FAULT, SIGKILL, cr2=address)
        )

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
            name, sentence = "double fault", f"the stack pointer leads to {place:#x}, where nothing fits"
        self._kernel.oopses.oops(
            Oops(task, stop, name, 0, sentence, ((0, line),), _DOUBLE_FAULT, register=place)
        )

    def _exception(self, task: Task, stop: Stop) -> int:
        rip, vector = stop.rip, stop.vector
        if vector is not None and vector >= _FIRST_EXTERNAL_VECTOR:  # an `int` instruction of the module's
            self._kernel.printk.emit(f"__common_interrupt: 0.{vector} No irq handler for vector\n", 0)
            return rip
        if vector == INVALID_OPCODE and (bug := self._bug_at(rip)) is not None:
            if bug.flags & bugs.BUGFLAG_WARNING:
                return self._kernel.warnings.at(task, stop, bug)
            self._kernel.oopses.bug_at(task, stop, bug)
        fixup = self._fixup(rip, vector or 0)
        if fixup is not None:
            return fixup
        name, code = _TRAP_NAMES.get(vector or 0, f"exception {vector}"), 0
        what = name
        if vector == GENERAL_PROTECTION:
            what, code = general_protection(self._kernel, rip)
            name = "general protection fault"
        fatal = vector == BREAKPOINT
        self._kernel.oopses.oops(Oops(task, stop, what, code, name, vector=vector or 0, fatal=fatal))

    def _lockup(self, task: Task, stop: Stop) -> int:
        watchdog.soft_lockup(self._kernel, task, stop)

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
        kernel.findings.reports.append(entry)
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

    def save(self) -> Any:
        """State for a snapshot or file."""
        return {name: list(tables) for name, tables in self.tables.items()}

    def load(self, state: Any) -> None:
        """Put saved state back."""
        self.tables = {
            name: Tables((bugs[0], bugs[1]), (extable[0], extable[1]), module)
            for name, (bugs, extable, module) in state.items()
        }


def _system_call(fault: PageFault) -> str | None:
    """The symbol of the system call that was served in Python when a fault was raised."""
    trace = fault.__traceback__
    while trace is not None:
        entry = trace.tb_frame.f_locals.get("entry")
        if trace.tb_frame.f_code.co_name == "do_syscall" and entry is not None:
            return str(entry.symbol)
        trace = trace.tb_next
    return None

"""Interrupts: lines, the drivers' actions on them, and what happens when one is raised (kernel/irq/).

The machine has the sixteen lines of a PC, and those that device models ask for. An interrupt is an event of
the agenda: it is served on top of the task that runs, when that may be interrupted.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from kmod_emu.errors import KernelError
from kmod_emu.kernel import report
from kmod_emu.kernel.activation import Block
from kmod_emu.kernel.preempt import EFLAGS_IF, HARDIRQ_OFFSET, preempt_count_add
from kmod_emu.uapi import errno

if TYPE_CHECKING:
    from collections.abc import Iterator

    from kmod_emu.kernel.kernel import KernelCore
    from kmod_emu.kernel.tasks import Task

IRQF_SHARED, IRQF_ONESHOT = 0x80, 0x2000
IRQ_NONE, IRQ_HANDLED, IRQ_WAKE_THREAD = 0, 1, 2
LEGACY_LINES = 16
_FIRST_DYNAMIC, _LAST_LINE = 24, 255
_STUCK, _UNHANDLED = 100_000, 99_900  # of so many interrupts in a row, so many that nobody cared for
_BOGUS_REPORTS = 100

# Lines that a PC's own drivers have: number, name, flags. Nothing of ours serves them.
_BUILT_IN = ((0, "timer", 0x14A00), (1, "i8042", IRQF_SHARED), (8, "rtc0", 0), (9, "acpi", IRQF_SHARED),
             (12, "i8042", IRQF_SHARED))  # fmt: skip

# What /proc/interrupts says at its end; one processor, which gets none of these.
_ARCHITECTURE = (
    ("NMI", "Non-maskable interrupts"), ("LOC", "Local timer interrupts"), ("SPU", "Spurious interrupts"),
    ("PMI", "Performance monitoring interrupts"), ("IWI", "IRQ work interrupts"),
    ("RTR", "APIC ICR read retries"), ("RES", "Rescheduling interrupts"), ("CAL", "Function call interrupts"),
    ("TLB", "TLB shootdowns"), ("TRM", "Thermal event interrupts"), ("THR", "Threshold APIC interrupts"),
    ("DFR", "Deferred Error APIC interrupts"), ("MCE", "Machine check exceptions"),
    ("MCP", "Machine check polls"), ("ERR", ""), ("MIS", ""),
    ("PIN", "Posted-interrupt notification event"), ("NPI", "Nested posted-interrupt event"),
    ("PIW", "Posted-interrupt wakeup event"),
)  # fmt: skip


class Action:
    """What one driver does when a line is raised (`struct irqaction`).

    Attributes:
        handler: Address; 0 for the default primary handler, which only wakes the thread.
        thread_fn: Address, 0 for none.
        thread: Pid of the kernel thread, 0 for none.
        wanted: The thread is to run (once more).
        running: It runs.
        built_in: Of the kernel's own: it takes every interrupt.
    """

    def __init__(
        self, handler: int, thread_fn: int, flags: int, name: str, name_at: int, dev_id: int
    ) -> None:
        self.handler, self.thread_fn, self.flags = handler, thread_fn, flags
        self.name, self.name_at, self.dev_id = name, name_at, dev_id
        self.thread = 0
        self.wanted = self.running = self.warned = self.built_in = False

    @property
    def busy(self) -> bool:
        """Whether its thread has something to do."""
        return self.wanted or self.running


class Line:
    """One interrupt line (`struct irq_desc`).

    Attributes:
        chip: As /proc/interrupts has it.
        depth: How often it was disabled.
        pending: It was raised while it could not be served.
        count: How often it was served.
        streak: Since when nobody cared is counted.
    """

    def __init__(self, chip: str = "IO-APIC", flow: str = "edge") -> None:
        self.chip, self.flow = chip, flow
        self.actions: list[Action] = []
        self.depth = self.trigger = self.count = self.streak = self.unhandled = 0
        self.pending = self.spurious = False

    @property
    def masked(self) -> bool:
        """Whether an interrupt has to wait: it is disabled, or a one-shot handler's thread is not done."""
        return bool(self.depth) or any(a.busy and a.flags & IRQF_ONESHOT for a in self.actions)


class Irqs:
    """All lines.

    Attributes:
        probing: Lines that probe_irq_on() watches -> whether they were raised since; None while it does not.
    """

    def __init__(self, kernel: KernelCore) -> None:
        self._kernel = kernel
        self.lines = {number: Line() for number in range(LEGACY_LINES)}
        self.lines[9].flow = "fasteoi"
        for number, name, flags in _BUILT_IN:
            action = Action(0, 0, flags, name, 0, 0)
            action.built_in = True
            self.lines[number].actions.append(action)
        self.probing: dict[int, bool] | None = None
        self._bogus_reports = _BOGUS_REPORTS
        kernel.sched.on("irq", self._serve)

    def line(self, number: int) -> Line:
        """A line; EINVAL if the machine has none of that number."""
        line = self.lines.get(number)
        if line is None:
            raise KernelError(errno.EINVAL, f"this machine has no interrupt line {number}")
        return line

    def allocate(self, chip: str, flow: str = "edge") -> int:
        """A line for a device that is not on the ISA bus."""
        number = next(n for n in range(_FIRST_DYNAMIC, _LAST_LINE) if n not in self.lines)
        self.lines[number] = Line(chip, flow)
        return number

    def ensure(self, number: int) -> None:
        """A device model says that it is wired to this line."""
        self.lines.setdefault(number, Line("IO-APIC", "fasteoi"))

    # --- raising ------------------------------------------------------------------------------------

    def raise_irq(self, number: int) -> None:
        """A device raises a line: it is served as soon as interrupts may come.

        A line that nobody has requested is masked: nothing happens.

        Raises:
            KernelError: EINVAL, there is no such line.
        """
        line = self.line(number)
        if not line.actions:
            if self.probing is not None and number in self.probing:
                self.probing[number] = True
            return
        kernel = self._kernel
        kernel.events.emit("irq", number=number, handlers=len(line.actions))
        kernel.sched.agenda.post(kernel.clock.now_ns, "irq", number)
        kernel.sched.poke()

    def resend(self, number: int) -> None:
        """Interrupts of a line may come again: one that came meanwhile does."""
        line = self.lines[number]
        if line.pending and not line.masked:
            line.pending = False
            self._kernel.sched.agenda.post(self._kernel.clock.now_ns, "irq", number)
            self._kernel.sched.poke()

    async def _serve(self, number: int) -> None:
        """handle_irq_event(): call all handlers with interrupts off."""
        kernel, line = self._kernel, self.lines.get(number)
        if line is None or not line.actions:
            return
        if line.masked:
            line.pending = True
            return
        line.count += 1
        flags = kernel.cpu.read("eflags")
        preempt_count_add(kernel, HARDIRQ_OFFSET)
        result = 0
        for action in list(line.actions):
            kernel.cpu.write("eflags", flags & ~EFLAGS_IF)
            result |= await self._call(number, action)
        kernel.cpu.write("eflags", flags)
        preempt_count_add(kernel, -HARDIRQ_OFFSET)
        if not line.spurious:
            self._note(number, line, result)

    async def _call(self, number: int, action: Action) -> int:
        """One handler: what it returned."""
        kernel = self._kernel
        if action.built_in:
            return IRQ_HANDLED
        result = IRQ_WAKE_THREAD
        if action.handler:
            result = await kernel.call_guest(action.handler, number, action.dev_id) & 0xFFFF_FFFF
        if kernel.cpu.read("eflags") & EFLAGS_IF:
            text = f"irq {number} handler {kernel.describe(action.handler)} enabled interrupts"
            kernel.warnings.warn("kernel/irq/handle.c", 161, text, "__handle_irq_event_percpu+0x150/0x190")
        if result == IRQ_WAKE_THREAD:
            self.wake_thread(number, action)
        return result

    # --- threads ------------------------------------------------------------------------------------

    def thread_of(self, action: Action) -> Task | None:
        """Its kernel thread, if it has one that lives."""
        return self._kernel.tasks.by_pid.get(action.thread) if action.thread else None

    def wake_thread(self, number: int, action: Action) -> None:
        """The action's thread is to run."""
        kernel = self._kernel
        task = self.thread_of(action)
        if task is None:
            if not action.warned:
                action.warned = True
                what = "returned IRQ_WAKE_THREAD but no thread function available."
                kernel.printk.emit(f"IRQ {number} device {action.name} {what}\n", 4)
            return
        action.wanted = True
        if not action.running:
            action.running = True
            kernel.sched.start(task, self._thread(number, action))

    async def _thread(self, number: int, action: Action) -> None:
        """What an interrupt's thread does until nothing is left to do."""
        while action.wanted:
            action.wanted = False
            await self._kernel.call_guest(action.thread_fn, number, action.dev_id)
        action.running = False
        self.resend(number)

    async def wait_for_thread(self, action: Action) -> None:
        """Until an action's thread has nothing to do."""
        sched, task = self._kernel.sched, self.thread_of(action)
        waiter = sched.current
        if task is not None and task is not waiter and action.busy and not task.finished:
            task.watchers.append(lambda: sched.wake(waiter))
            await Block()

    # --- nobody cared -------------------------------------------------------------------------------

    def _note(self, number: int, line: Line, result: int) -> None:
        """note_interrupt(): a line that is raised and raised, and that nobody cares for, is disabled."""
        if result > (IRQ_HANDLED | IRQ_WAKE_THREAD):
            if self._bogus_reports > 0:
                self._bogus_reports -= 1
                self._report(f"irq event {number}: bogus return value {result:x}", line)
            return
        line.streak += 1
        line.unhandled += result == IRQ_NONE
        if line.streak < _STUCK:
            return
        if line.unhandled > _UNHANDLED:
            self._report(f'irq {number}: nobody cared (try booting with the "irqpoll" option)', line)
            self._kernel.printk.emit(f"Disabling IRQ #{number}\n", 0)
            line.spurious = True
            line.depth += 1
        line.streak = line.unhandled = 0

    def _report(self, text: str, line: Line) -> None:
        kernel = self._kernel
        kernel.printk.emit(f"{text}\n", 3)
        report.dump_stack(kernel)
        kernel.printk.emit("handlers:\n", 3)
        for action in line.actions:
            kernel.printk.emit("".join(self._functions(action)) + "\n", 3)

    def _functions(self, action: Action) -> Iterator[str]:
        """Its functions as `[<%p>] %ps`."""
        hashed = self._kernel.format_context.hash_pointer
        for title, function in (("", action.handler), (" threaded ", action.thread_fn)):
            if function:
                name = self._kernel.describe(function).partition("+")[0]
                yield f"{title}[<{hashed(function) or 0:016x}>] {name}"

    # --- /proc --------------------------------------------------------------------------------------

    def text(self) -> str:
        """/proc/interrupts."""
        rows = [f"{'CPU0':>15}       "]
        for number, line in sorted(self.lines.items()):
            if line.actions or line.count:
                names = ", ".join(action.name for action in line.actions)
                pin = number or 2  # the timer's is the one where a PC's second controller would be
                row = f"{number:3d}: {line.count:10d}  {line.chip:>8} {pin:3d}-{line.flow:<8}"
                rows.append(row + (f"  {names}" if names else ""))
        rows += [f"{name}: {0:10d}" + (f"   {text}" if text else "") for name, text in _ARCHITECTURE]
        return "".join(f"{row}\n" for row in rows)

    # --- state --------------------------------------------------------------------------------------

    def save(self) -> Any:
        """State for a snapshot or file; what a thread is in the middle of is not part of it."""
        lines = {
            str(number): {**vars(line), "actions": [dict(vars(action)) for action in line.actions]}
            for number, line in self.lines.items()
        }
        probing = None if self.probing is None else list(self.probing.items())
        return {"lines": lines, "probing": probing, "bogus": self._bogus_reports}

    def load(self, state: Any) -> None:
        """Put saved state back."""
        self.lines = {int(number): _line(saved) for number, saved in state["lines"].items()}
        self.probing = None if state["probing"] is None else dict(state["probing"])
        self._bogus_reports = state["bogus"]


def _line(saved: dict[str, Any]) -> Line:
    line = Line()
    vars(line).update(saved)
    line.actions = []
    for fields in saved["actions"]:
        action = Action(0, 0, 0, "", 0, 0)
        vars(action).update(fields)
        action.running = action.wanted = False
        line.actions.append(action)
    return line

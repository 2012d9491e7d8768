"""WARN(): the kernel complains and goes on (kernel/panic.c: __warn, lib/bug.c: __report_bug)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from kmod_emu.kernel import bugs, report
from kmod_emu.kernel.taint import Taint
from kmod_emu.machine.cpu import Stop, StopReason

if TYPE_CHECKING:
    from kmod_emu.kernel.bugs import BugEntry
    from kmod_emu.kernel.kernel import KernelCore
    from kmod_emu.kernel.tasks import Task


class Warnings:
    """Warnings of the base kernel and of modules.

    Attributes:
        count: How many there were.
    """

    def __init__(self, kernel: KernelCore) -> None:
        self._kernel = kernel
        self.count = 0
        self._said: set[tuple[str, int]] = set()  # places of WARN_ONCE that have been said

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
        kernel.printk.say([(4, report.CUT_HERE), *([(4, text)] if text else [])])
        kernel.printk.say([(4, self._warning_line(task, file, line, function or kernel.describe(rip)))])
        kernel.printk.say(report.state_lines(kernel, task, Stop(StopReason.TRAP, rip), first_modules=True))
        self._check_panic_on_warn()
        kernel.printk.say([(4, report.END_TRACE)])
        kernel.taint.add(Taint.WARN)
        called = kernel.findings.caller_of(task)
        kernel.findings.note(
            "warning", f"{text or f'WARN at {file}:{line}'}{f', called at {called}' if called else ''}"
        )

    def warn_once(self, file: str, line: int, text: str, function: str) -> None:
        """WARN_ONCE() inside the base kernel: as `warn`, the first time since boot."""
        if (file, line) not in self._said:
            self._said.add((file, line))
            self.warn(file, line, text, function)

    def at(self, task: Task, stop: Stop, bug: BugEntry) -> int:
        """The instruction of a WARN was met (lib/bug.c: __report_bug); where code goes on."""
        kernel = self._kernel
        if bug.flags & bugs.BUGFLAG_ONCE:
            if bug.flags & bugs.BUGFLAG_DONE:
                return bug.next
            kernel.memory.write_u16(bug.flags_address, bug.flags | bugs.BUGFLAG_DONE)
        lines = [] if bug.flags & bugs.BUGFLAG_NO_CUT_HERE else [(4, report.CUT_HERE)]
        if bug.text:
            lines.append((4, bug.text.rstrip("\n")))
        lines.append((4, self._warning_line(task, bug.file, bug.line, kernel.describe(bug.address))))
        lines += report.state_lines(kernel, task, stop, first_modules=True)
        kernel.printk.say(lines)
        self._check_panic_on_warn()
        kernel.printk.say([(4, report.END_TRACE)])
        kernel.taint.add(Taint(bug.flags >> 8 if bug.flags >> 8 < len(Taint) else Taint.WARN))
        kernel.findings.note("warning", f"WARN at {bug.file}:{bug.line}")
        return bug.next

    def _warning_line(self, task: Task, file: str, line: int, place: str) -> str:
        if self._kernel.profile.has("bug_entry.format_disp"):
            return f"WARNING: {file}:{line} at {place}, CPU#0: {task.comm}/{task.pid}"
        return f"WARNING: CPU: 0 PID: {task.pid} at {file}:{line} {place}"

    def _check_panic_on_warn(self) -> None:
        """kernel/panic.c: check_panic_on_warn."""
        sysctl = self._kernel.sysctl
        self.count += 1
        if sysctl["panic_on_warn"]:
            sysctl.values["panic_on_warn"] = 0  # panic() must not come here again
            self._kernel.panics.panic("kernel: panic_on_warn set ...")
        limit = sysctl["warn_limit"]
        if limit and self.count >= limit:
            self._kernel.panics.panic(f"kernel: system warned too often (kernel.warn_limit is {limit})")

    def save(self) -> Any:
        """State for a snapshot or file."""
        return {"count": self.count, "said": [list(place) for place in sorted(self._said)]}

    def load(self, state: Any) -> None:
        """Put saved state back."""
        self.count = state["count"]
        self._said = {(file, line) for file, line in state["said"]}

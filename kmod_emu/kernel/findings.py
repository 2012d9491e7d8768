"""What was found wrong: one entry for each oops, warning, missing export and finding of a checker."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

from kmod_emu.kernel.layout import MODULES_SIZE
from kmod_emu.kernel.unwind import call_trace, callers
from kmod_emu.text import tame

if TYPE_CHECKING:
    from collections.abc import Callable

    from kmod_emu.kernel.kernel import KernelCore
    from kmod_emu.kernel.tasks import Task

_MOST = 1000
_ENDINGS = ("oops", "panic", "soft lockup", "unimplemented", "bad free", "nonsense")  # who died says these
_SHORT = ("oops", "panic", "soft lockup", "unimplemented", "warning", "nonsense")  # the log has their calls


class Findings:
    """The list, and the places in it: symbols, with lines of source where those are known.

    Attributes:
        reports: Newest last. Each has `kind`, `text` (one sentence) and, where they are known, `stacks`
            and `bytes`.
        source_line: The file:line of an address, set where files are at hand.
    """

    def __init__(self, kernel: KernelCore) -> None:
        self._kernel = kernel
        self.reports: list[dict[str, Any]] = []
        self.source_line: Callable[[int], str | None] = lambda address: None

    def note(
        self,
        kind: str,
        sentence: str,
        stacks: dict[str, list[str]] | None = None,
        rows: list[str] | None = None,
    ) -> None:
        """Add a finding to `reports`, unless there are very many.

        Args:
            kind: A few words that scripts can compare.
            sentence: What is wrong, for a person.
            stacks: Calls that led there, innermost first, by what they did: "access", "allocation", "free".
                By default the calls of modules that led to what happens now.
            rows: Bytes around the place.
        """
        if len(self.reports) >= _MOST:
            return
        if stacks is None and kind != "unimplemented" and (here := self._here()):
            stacks = {"access": here}
        more = {"stacks": stacks, "bytes": rows}
        text = tame(sentence)
        self.reports.append({"kind": kind, "text": text} | {what: it for what, it in more.items() if it})

    def _here(self) -> list[str]:
        """What the task that runs does in modules, innermost first."""
        kernel = self._kernel
        start, end = kernel.modules_start, kernel.modules_start + MODULES_SIZE
        here = []
        if kernel.sched.in_guest and start <= (rip := kernel.cpu.rip) < end:
            line = self.line_of(rip)
            here.append(f"{kernel.describe(rip)}{f' ({line})' if line else ''}")
        calls = (address for _, address in callers(kernel, kernel.sched.current))
        return here + [self.call_place(address) for address in calls if start <= address < end]

    @property
    def lines(self) -> list[str]:
        """The lines of `reports` that ended nothing: warnings, what checkers found, with stacks and bytes."""
        lines = []
        for finding in self.reports:
            if finding["kind"] not in _ENDINGS:
                lines.append(finding["text"])
            if finding["kind"] in _SHORT:
                continue
            for what, stack in finding.get("stacks", {}).items():
                lines += [f"  {what}:", *(f"    {frame}" for frame in stack)]
            if rows := finding.get("bytes"):
                lines += ["  bytes:", *(f"    {row}" for row in rows)]
        return lines

    def place(self, task: Task, rip: int) -> str:
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

"""What the tools of modutils share: where their words go, and the process that they run in."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from kmod_emu.classic.program import Program, execute
from kmod_emu.fs.syslog import Syslog
from kmod_emu.kmod.errors import ToolError

if TYPE_CHECKING:
    from collections.abc import Callable

    from kmod_emu.kernel.kernel import KernelCore
    from kmod_emu.kmod.console import Console

MODUTILS_VERSION = "{} version 2.4.16\n"


class Report:
    """What a tool says, line by line.

    Args:
        write: Takes a line of standard output with its newline; None keeps them for nobody.
        complain: Takes a line of standard error without one; likewise.
    """

    def __init__(
        self, write: Callable[[str], None] | None = None, complain: Callable[[str], None] | None = None
    ) -> None:
        self._write, self._complain = write, complain
        self._afterwards: list[str] = []

    def out(self, line: str) -> None:
        """Print a line."""
        if self._write is not None:
            self._write(f"{line}\n")

    def err(self, line: str) -> None:
        """Print an error."""
        if self._complain is not None:
            self._complain(line)

    def later(self, line: str) -> None:
        """Print a line behind the error that is about to be reported."""
        self._afterwards.append(line)

    def failed(self, error: ToolError) -> None:
        """Report an error, and what was to be printed behind it."""
        if str(error):
            self.err(str(error))
        for line in self._afterwards:
            self.out(line)
        self._afterwards.clear()


def syslog_report(kernel: KernelCore, comm: str) -> Report:
    """What a tool says with -s: it goes to the machine's /var/log/syslog."""

    def log(text: str) -> None:
        kernel[Syslog].log(comm, text)

    return Report(log, log)


def run(
    console: Console,
    comm: str,
    work: Callable[[Program, Report], Any],
    *,
    uid: int = 0,
    change: bool = True,
    syslog: bool = False,
) -> int:
    """Run a tool as a process of the kept machine; its exit status.

    Args:
        console: Of the tool.
        comm: The process's name.
        work: Gets the program and makes its coroutine, whose result is the status, None for 0.
        uid: Who runs it.
        change: Whether it may change the machine.
        syslog: Whether what it says goes to the machine's system log.

    Raises:
        ToolError: Its errors, which have been printed.
    """
    report = Report(console.out, console.err)
    try:
        with console.machine(change=change) as kernel, kernel.process(uid=uid, comm=comm) as process:
            if syslog:
                report = syslog_report(kernel, comm)
            try:
                return int(execute(process, work(Program(process), report)) or 0)
            except ToolError as error:
                if syslog:
                    report.failed(error)
                raise
    except ToolError as error:
        if not syslog:
            report.failed(error)
        raise ToolError("", error.status) from error.__cause__

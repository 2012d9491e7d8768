"""Where a tool writes, and the machine it works on."""

from __future__ import annotations

import os
import sys
import time
from typing import TYPE_CHECKING, Any, NamedTuple

from kmod_emu.kmod.errors import ToolError
from kmod_emu.text import tame

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from contextlib import AbstractContextManager
    from pathlib import Path

    from kmod_emu.api import Kernel
    from kmod_emu.kernel.logbuffer import LogBuffer
    from kmod_emu.kmod.getopt import Getopt

_POLL_SECONDS = 0.2
_MAX_UID = (1 << 32) - 2  # -1 is no user id
UID, UID_HELP = "--uid=UID", "who calls; only root, 0, may do this (not in kmod)"


class Done(Exception):
    """The command line asked for help or the version, and has got it."""


class Log(NamedTuple):
    """The kernel log.

    Attributes:
        buffer: Its records.
        now_ns: The machine's time, since boot.
        restricted: Only who has CAP_SYSLOG may read it.
    """

    buffer: LogBuffer
    now_ns: int
    restricted: bool


class Console:
    """What a tool is given.

    Args:
        tool: Its name, which its messages begin with.
        machine: Opens the kept machine: `with console.machine(change=True) as kernel`.
        path: Where the kept machine lives.
    """

    def __init__(self, tool: str, machine: Callable[..., AbstractContextManager[Kernel]], path: Path) -> None:
        self.tool = tool
        self.machine = machine
        self._path = path

    def out(self, text: str) -> None:
        """Write to standard output; on a terminal, no control character gets through."""
        sys.stdout.write(tame(text) if sys.stdout.isatty() else text)

    def out_safe(self, text: str) -> None:
        """Write what may command the terminal, because the tool has taken care of that itself."""
        sys.stdout.write(text)
        sys.stdout.flush()

    def page(self, text: str) -> None:
        """Show a text by the user's pager, where standard output is a terminal."""
        import click

        os.environ.setdefault("LESS", "FRSX")
        click.echo_via_pager(text, color=True)

    def colours(self, mode: str) -> bool:
        """Whether to print in colours; `mode` is "auto", "always" or "never"."""
        if mode != "auto":
            return mode == "always"
        plain = os.environ.get("NO_COLOR") or os.environ.get("TERM", "dumb") == "dumb"
        return sys.stdout.isatty() and not plain

    def stamp(self) -> tuple[int, ...]:
        """Changes when the kept machine does."""
        try:
            status = os.stat(self._path)
        except OSError:
            return ()
        return status.st_ino, status.st_mtime_ns, status.st_size

    def notes(self) -> dict[str, Any] | None:
        """What can be known of the kept machine without booting it; None if there is none yet.

        Raises:
            KernelError: The file is not a machine, or damaged.
            OSError: It cannot be read.
        """
        from kmod_emu.kernel.statefile import StateFile

        try:
            return StateFile(self._path).notes
        except FileNotFoundError:
            return None

    def release(self) -> str:
        """What `uname -r` says on the kept machine, or would say on a new one."""
        notes = self.notes()
        if notes:
            return str(notes["release"])
        with self.machine(change=False) as kernel:
            return kernel.profile.release

    def log(self) -> Log:
        """The kept machine's log; a machine is booted only if there is none yet.

        Raises:
            KernelError: The file is not a machine, or damaged.
            OSError: It cannot be read.
        """
        from kmod_emu.kernel.logbuffer import LogBuffer
        from kmod_emu.kernel.statefile import StateFile

        buffer = LogBuffer()
        try:
            file = StateFile(self._path)
            tables = file.tables["subsystems"]
            buffer.load(tables["printk"])
            return Log(buffer, file.notes["now_ns"], bool(tables["sysctl"]["dmesg_restrict"]))
        except (FileNotFoundError, KeyError):  # none yet, or one of another version
            with self.machine(change=False) as kernel:
                return Log(kernel.printk, kernel.clock.now_ns, bool(kernel.sysctl["dmesg_restrict"]))

    def syslog(self) -> str:
        """The kept machine's /var/log/syslog; booted only if there is none yet.

        Raises:
            KernelError: The file is not a machine, or damaged.
            OSError: It cannot be read.
        """
        from kmod_emu.fs.syslog import Syslog, syslog
        from kmod_emu.kernel.logbuffer import LogBuffer
        from kmod_emu.kernel.statefile import StateFile

        buffer = LogBuffer()
        try:
            tables = StateFile(self._path).tables["subsystems"]
            buffer.load(tables["printk"])
            return syslog(buffer, tables["Syslog"], tables["sysctl"]["hostname"])
        except (FileNotFoundError, KeyError):  # none yet, or one of another version
            with self.machine(change=False) as kernel:
                return kernel[Syslog].text()

    def changes(self, stamp: tuple[int, ...]) -> Iterator[None]:
        """Yields whenever the kept machine has changed since `stamp`, until Ctrl-C."""
        while True:
            sys.stdout.flush()
            time.sleep(_POLL_SECONDS)
            if (now := self.stamp()) != stamp:
                stamp = now
                yield

    def err(self, text: str) -> None:
        """Write a line to standard error."""
        sys.stderr.write(f"{tame(text) if sys.stderr.isatty() else text}\n")

    def error(self, text: str) -> None:
        """Write "TOOL: ERROR: text"."""
        self.err(f"{self.tool}: ERROR: {text}")

    def warning(self, text: str) -> None:
        """Write "TOOL: WARNING: text"."""
        self.err(f"{self.tool}: WARNING: {text}")

    def options(self, line: Getopt) -> Iterator[tuple[str, str]]:
        """A command line's options, but for -h and -V, which are answered here.

        Raises:
            Done: It was -h or -V.
            ToolError: As `Getopt` does.
        """
        for key, value in line:
            if key == "h":
                self.out(line.command.usage())
                raise Done
            if key == "V":
                self.out(line.command.version)
                raise Done
            yield key, value


def user_id(text: str) -> int:
    """What --uid gives.

    Raises:
        ToolError: It is no user id.
    """
    if not text.isdecimal() or int(text) > _MAX_UID:
        raise ToolError(f"kmod-emu: invalid user id '{text}'", 2)
    return int(text)

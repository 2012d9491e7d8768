"""kmod-emu debug: step through a module's init, with gdb's commands."""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING

import click

from kmod_emu.cli.command import complete_sample
from kmod_emu.cli.fresh import Setup, boots_machine
from kmod_emu.cli.main import UID, USAGE_ERROR
from kmod_emu.debug.c.values import DebugError
from kmod_emu.debug.debugger import Debugger
from kmod_emu.debug.terminal.running import go_to_last_write
from kmod_emu.debug.terminal.session import Quit, Session

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from kmod_emu.api import Kernel

_BUSYBOX = "/bin/busybox"


@click.command()
@click.argument("module", shell_complete=complete_sample)
@click.argument("params", nargs=-1, metavar="[NAME=VALUE]...")
@click.option("--batch", is_flag=True, help="End after the commands of -x and -ex; ask nothing.")
@click.option(
    "-x",
    "--command",
    "files",
    type=click.Path(exists=True, dir_okay=False, allow_dash=True),
    multiple=True,
    metavar="FILE",
    help="Read commands from a file.",
)
@click.option("-ex", "--ex", "commands", multiple=True, metavar="COMMAND", help="Do one command.")
@click.option(
    "--last-write",
    metavar="ADDR|SYMBOL",
    help="Let init run, then go back to before the instruction that wrote there last.",
)
@click.option(
    "--sh",
    "shell_lines",
    multiple=True,
    metavar="SCRIPT",
    help="While the module is loaded, let the machine's shell do this (needs a static busybox).",
)
@click.option("--plain", is_flag=True, help="No panels, also on a terminal.")
@click.option("--uid", type=UID, default=0, show_default=True, help="Who calls insmod.")
@boots_machine
def debug(
    module: str,
    params: tuple[str, ...],
    batch: bool,
    files: tuple[str, ...],
    commands: tuple[str, ...],
    last_write: str | None,
    shell_lines: tuple[str, ...],
    plain: bool,
    uid: int,
    setup: Setup,
) -> None:
    """Load MODULE on a fresh machine and stop at the first instruction of its init.

    MODULE is a .ko file or the name of a sample. The commands are gdb's; `help` lists them. On a terminal,
    panels show registers, code, source, stack and variables after each stop; a pipe may give commands too.
    """
    kernel, path, _ = setup.boot(module)
    if shell_lines:
        _furnish(kernel)
    debugger = Debugger(kernel)
    remove = last_write is None
    session = Session(debugger, click.echo, path, " ".join(params), shell_lines, uid=uid, remove=remove)
    session.title = f"insmod {' '.join([module, *params])}"
    terminal = None
    if not batch and sys.stdin.isatty() and sys.stdout.isatty():
        from kmod_emu.cli.machine import state_path
        from kmod_emu.debug.terminal.screen import Screen

        terminal = Screen(session, state_path(None).with_name("debug-history"), panels=not plain)
    try:
        session.start()
        failed = last_write is not None and _last_write(session, last_write)
        failed |= _scripted(session, files, commands)
        if terminal is not None:
            terminal.converse()
        elif not batch:
            failed |= _lines(session, sys.stdin, from_terminal=True)
    except Quit:
        failed = False
    finally:
        session.flush()
        debugger.close()
    sys.exit(1 if failed else 0)


def _furnish(kernel: Kernel) -> None:
    """Give the machine a shell."""
    from kmod_emu.user.execute import install_busybox

    if not os.path.isfile(_BUSYBOX):
        click.echo(f"kmod-emu: --sh needs {_BUSYBOX}: install Debian's busybox-static", err=True)
        sys.exit(USAGE_ERROR)
    install_busybox(kernel, _BUSYBOX)


def _scripted(session: Session, files: Iterable[str], commands: Iterable[str]) -> bool:
    failed = False
    for name in files:
        with click.open_file(name) as lines:
            failed |= _lines(session, lines)
    return _lines(session, commands) or failed


def _lines(session: Session, lines: Iterable[str], *, from_terminal: bool = False) -> bool:
    """Do commands, one a line; whether one of them was refused."""
    left = iter(lines)

    def read() -> str:
        try:
            return next(left)
        except StopIteration:
            raise EOFError from None

    session.from_terminal, before = from_terminal, session.read_line
    session.read_line = read
    failed = False
    try:
        for line in left:
            failed |= not attempt(session, lambda line=line: session.execute(line))  # type: ignore[misc]
    finally:
        session.read_line = before
    return failed


def attempt(session: Session, action: Callable[[], None]) -> bool:
    """Do something; a refusal is printed. Whether it was done."""
    try:
        action()
        session.run_queue()
    except DebugError as error:
        session.flush()
        click.echo(str(error), err=True)
        return False
    session.flush()
    return True


def _last_write(session: Session, what: str) -> bool:
    """Run to the end of the load, then back; whether that was refused."""
    try:
        address, size = session.memory_of(what)
    except DebugError as error:
        click.echo(str(error), err=True)
        sys.exit(USAGE_ERROR)
    session.debugger.continue_()
    session.moved()
    return not attempt(session, lambda: go_to_last_write(session, address, size))

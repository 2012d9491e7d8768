"""Threads, help, and what is asked of the machine."""

from __future__ import annotations

from typing import TYPE_CHECKING

from kmod_emu.debug.c.values import DebugError
from kmod_emu.debug.terminal.info import infos, threads
from kmod_emu.debug.terminal.table import SECTIONS, commands

if TYPE_CHECKING:
    from kmod_emu.debug.terminal.session import Session


@commands.add("thread", "t", section="running")
def thread(session: Session, text: str) -> None:
    """Use this command to switch between tasks.

    Usage: thread [ID]
    """
    tasks = session.debugger.tasks
    if text:
        if not text.isdigit() or not 0 < int(text) <= len(tasks):
            raise DebugError(f"Unknown thread {text}.")
        session.look_at(tasks[int(text) - 1])
    task = session.task
    if task is None:
        raise DebugError("No thread selected")
    number = tasks.index(task) + 1
    verb = "Switching to" if text else "Current"
    session.write(f'[{verb} thread {number} (Thread {task.pid} "{task.comm}")]')
    if text and session.frames:
        commands.find("frame").run(session, "")


@commands.add("monitor", section="support")
def monitor(session: Session, text: str) -> None:
    """Ask the machine.

    Usage: monitor dmesg | lsmod | tasks
    """
    word, kernel = text.strip(), session.debugger.kernel
    if word == "dmesg":
        for entry in kernel.dmesg():
            session.write(entry)
    elif word == "lsmod":
        session.write(f"{'Module':<23} Size  Used by")
        for module in kernel.modules:
            session.write(f"{module.name:<19} {module.size:>8}  {module.refcnt}")
    elif word == "tasks":
        threads(session, "")
    else:
        raise DebugError("monitor knows: dmesg, lsmod, tasks." if word else "Argument required (a command).")


@commands.add("dmesg", "lx-dmesg", section="status")
def dmesg(session: Session, text: str) -> None:
    """Print the kernel log.

    Usage: dmesg
    """
    monitor(session, "dmesg")


@commands.add("lsmod", "lx-lsmod", section="status")
def lsmod(session: Session, text: str) -> None:
    """List the modules of the machine.

    Usage: lsmod
    """
    monitor(session, "lsmod")


@commands.add("lx-ps", section="status")
def lx_ps(session: Session, text: str) -> None:
    """List the tasks of the machine: address of the task_struct, number, name.

    Usage: lx-ps
    """
    session.write(f"{'TASK':>10}{'PID':>12}    COMM")
    for task in session.debugger.tasks:
        session.write(f"{task.address:#x} {task.pid:^5} {task.comm}")


@commands.add("directory", "dir", section="data")
def directory(session: Session, text: str) -> None:
    """Add directory DIR to beginning of search path for source files.

    Usage: directory DIR
    """
    from pathlib import Path

    if text:
        session.sources.add(Path(text).expanduser())
        session.told_missing.clear()
    session.write(f"Source directories searched: {':'.join(map(str, session.sources.folders))}")


@commands.add("help", "h", section="support")
def help_(session: Session, text: str) -> None:
    """Print list of commands.

    Usage: help [COMMAND | CLASS]
    """
    if not text:
        session.write("List of classes of commands:\n")
        for section, summary in SECTIONS.items():
            session.write(f"{section} -- {summary}")
        session.write('\nType "help" followed by a class name for a list of commands in that class.')
        session.write('Type "help" followed by command name for full documentation.')
        return
    if text in SECTIONS:
        session.write(f"{SECTIONS[text]}\n\nList of commands:\n")
        for command in commands:
            if command.section == text:
                session.write(f"{', '.join([command.name, *command.short])} -- {command.summary}")
        return
    words = text.split()
    table = infos if words[0] in ("info", "i") and len(words) > 1 else commands
    command = table.find(words[-1] if table is infos else words[0])
    session.write(", ".join([command.name, *command.short]))
    session.write(command.help)
    if command.name == "info":
        session.write("\nList of info subcommands:\n")
        for inner in infos:
            session.write(f"info {inner.name} -- {inner.summary}")


@commands.add("quit", "q", "exit", section="support")
def quit_(session: Session, text: str) -> None:
    """Exit the debugger.

    Usage: quit
    """
    from kmod_emu.debug.terminal.session import Quit

    raise Quit


@commands.add("source", section="support")
def source_file(session: Session, text: str) -> None:
    """Read commands from a file named FILE.

    Usage: source FILE
    """
    from pathlib import Path

    if not text:
        raise DebugError("source command requires file name of file to source.")
    try:
        lines = Path(text).expanduser().read_text().splitlines()
    except OSError as error:
        raise DebugError(f"{text}: {error.strerror}.") from None
    for entry in lines:
        session.queue(entry)

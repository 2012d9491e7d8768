"""What is told after a stop, in gdb's form."""

from __future__ import annotations

from typing import TYPE_CHECKING

from kmod_emu.debug.c.types import UNSIGNED_LONG
from kmod_emu.debug.c.values import Value
from kmod_emu.debug.points import Reason
from kmod_emu.debug.terminal.data import show_displays
from kmod_emu.debug.terminal.describe import print_frame, shown
from kmod_emu.debug.terminal.watching import left_block

if TYPE_CHECKING:
    from kmod_emu.debug.points import Stopped
    from kmod_emu.debug.terminal.points import UserPoint
    from kmod_emu.debug.terminal.session import Session

__all__ = ["report"]

_LABELS = {
    "hw watchpoint": "Hardware watchpoint",
    "read watchpoint": "Hardware read watchpoint",
    "acc watchpoint": "Hardware access (read/write) watchpoint",
}


def report(session: Session, stop: Stopped, *, same: bool = False, told: list[str] | None = None) -> None:
    """Tell why and where the machine stopped.

    Args:
        session: Whose.
        stop: The stop.
        same: The frame is still the one that was told before: the line is enough.
        told: Why it stopped, if that is not in the stop.
    """
    session.tell_log()
    session.points.settle()
    if stop.reason is Reason.ENDED:
        _ended(session, stop)
        session.redraw()
        return
    hit = _hit(session, stop)
    if session.told_pid not in (None, stop.task.pid):
        session.write(f'[Switching to Thread {stop.task.pid} "{stop.task.comm}"]')
    session.told_pid = stop.task.pid
    for line in _why(session, stop, hit) if told is None else told:
        session.write(line)
    if session.frames:
        print_frame(session, session.frames[0], line_only=same and stop.reason is Reason.STEPPED)
    show_displays(session)
    session.redraw()
    for point in hit:
        for line in point.commands:
            session.queue(line)


def _hit(session: Session, stop: Stopped) -> list[UserPoint]:
    found = [user for point in stop.points if (user := session.points.owner(point)) is not None]
    for user in found:
        if user.temporary:
            session.points.delete(user)
    if found:
        session.names.set_number("bpnum", found[0].number)
    return found


def _why(session: Session, stop: Stopped, hit: list[UserPoint]) -> list[str]:
    lines: list[str] = []
    if stop.reason is Reason.INTERRUPTED:
        return ["", "Program received signal SIGINT, Interrupt."]
    if stop.reason is Reason.BEGINNING:
        return ["", "No more reverse-execution history."]
    if stop.reason is Reason.STARTED:
        return lines
    for user in hit:
        word = "Temporary b" if user.temporary else "B"
        if user.kind == "breakpoint":
            session.prefix = f"{word}reakpoint {user.number}, "
            lines.append("")
        elif user.kind == "catchpoint":
            what = (
                f"{user.text}: {stop.detail}" if stop.detail and stop.detail not in user.text else user.text
            )
            label = "Temporary catchpoint" if user.temporary else "Catchpoint"
            lines.append("")
            session.prefix = f"{label} {user.number} ({what}), "
        elif stop.reason is Reason.BREAKPOINT:  # where the watched variable's function has returned to
            lines += left_block(session, user)
        else:
            lines += _watched(session, stop, user)
    return lines


def _watched(session: Session, stop: Stopped, user: UserPoint) -> list[str]:
    lines = ["", f"{_LABELS[user.kind]} {user.number}: {user.text}", ""]
    kind = user.type or UNSIGNED_LONG
    if session.backwards:  # what was seen before is what comes later
        stop = stop._replace(old=stop.new, new=stop.old)
    old, new = (
        shown(session, Value(kind, content, memory=session.names.memory), typed=True)
        for content in (stop.old, stop.new)
    )
    if stop.old == stop.new:
        return [*lines, f"Value = {new}"]
    return [*lines, f"Old value = {old}", f"New value = {new}"]


def _ended(session: Session, stop: Stopped) -> None:
    error = session.debugger.error
    if error is None:
        session.write(f"[Inferior 1 ({session.title}) exited normally]")
        return
    if stop.detail:
        session.write(f"{session.title}: {stop.detail}")
    session.write(f"[Inferior 1 ({session.title}) exited with code 01]")

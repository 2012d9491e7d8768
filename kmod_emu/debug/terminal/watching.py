"""Watching local variables: in registers by stepping, on the stack until their function returns."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from kmod_emu.debug.c.values import DebugError
from kmod_emu.debug.frames import frames_of
from kmod_emu.debug.points import Reason
from kmod_emu.debug.terminal.describe import shown

if TYPE_CHECKING:
    from kmod_emu.debug.c.parser import Node
    from kmod_emu.debug.c.values import Value
    from kmod_emu.debug.frames import Frame
    from kmod_emu.debug.points import Stopped
    from kmod_emu.debug.terminal.points import UserPoint
    from kmod_emu.debug.terminal.session import Session

__all__ = ["Block", "block_of", "continue_watching", "left_block", "software_watches"]

_NEAR = 4  # frames that an expression can look at: its own, and for entry values its callers


class Block(NamedTuple):
    """Where an expression with locals is valid: one call of a function.

    Attributes:
        pid: Of the task.
        cfa: Of the call's frame.
        return_address: Where the call returns to.
    """

    pid: int
    cfa: int
    return_address: int


def block_of(session: Session, node: Node) -> Block | None:
    """The block that an expression's names need; None if all of them are global."""
    if not session.frames or session.task is None or not _has_locals(session.frame, node):
        return None
    cfa = session.frame.physical.cfa
    if cfa is None:
        return None
    return Block(session.task.pid, cfa, session.program.kernel.memory.read_u64(cfa - 8))


def _has_locals(frame: Frame, node: Node) -> bool:
    if node.op == "name" and frame.find(node.text) is not None:
        return True
    return any(_has_locals(frame, part) for part in node.parts)


def left_block(session: Session, user: UserPoint) -> list[str]:
    """What is told when a watched expression is valid no more; the watchpoint is gone."""
    session.points.delete(user)
    text = f"Watchpoint {user.number} deleted because the program has left the block in"
    return ["", text, "which its expression is valid."]


def software_watches(session: Session) -> list[UserPoint]:
    """Watchpoints that need stepping."""
    return [
        point for point in session.points.by_number.values() if point.kind == "watchpoint" and point.enabled
    ]


def continue_watching(session: Session, watches: list[UserPoint]) -> tuple[Stopped, list[str] | None]:
    """Run until something stops it, a change of what is watched included.

    Returns:
        The stop; and what is told of it if one of these watchpoints is the reason.
    """
    debugger = session.debugger
    user = watches[0]
    block = user.block
    assert block is not None
    before = _value(session, user)
    stop = debugger.stop
    while True:
        stop = _move(session, block)
        if stop.reason is not Reason.STEPPED or debugger.ended:
            return stop, None
        if debugger.registers()["rsp"] >= block.cfa:
            return stop._replace(reason=Reason.WATCHPOINT), left_block(session, user)
        now = _value(session, user)
        if now is None:
            continue
        if before not in (None, now) and session.points.holds(user):
            lines = ["", f"Watchpoint {user.number}: {user.text}", ""]
            lines += [f"Old value = {before}", f"New value = {now}"]
            return stop._replace(reason=Reason.WATCHPOINT), lines
        before = now


def _move(session: Session, block: Block) -> Stopped:
    """One instruction of the block; calls as a whole."""
    debugger = session.debugger
    frames = frames_of(session.program, debugger.task, debugger.registers())
    levels = [frame.level for frame in frames if frame.physical.cfa == block.cfa]
    if not levels or debugger.task.pid != block.pid:
        return debugger.continue_()  # another task: the block's own goes on later
    if levels[0]:
        inner = frames[levels[0] - 1].physical.cfa
        return debugger.run_to(frames[levels[0]].pc, inner or 0)
    return debugger.nexti()


def _value(session: Session, user: UserPoint) -> str | None:
    """What is watched, as text; None while it is nowhere."""
    from kmod_emu.debug.names import Names

    debugger = session.debugger
    names = Names(session.program)
    names.convenience, names.history = session.names.convenience, session.names.history
    frames = frames_of(session.program, debugger.task, debugger.registers(), limit=_NEAR)
    names.frame = next(
        (frame for frame in frames if user.block and frame.physical.cfa == user.block.cfa), None
    )
    try:
        value: Value = names.evaluate(user.text)
        return None if value.lost else shown(session, value, typed=True)
    except DebugError:
        return None

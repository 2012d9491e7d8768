"""Commands that look at call frames."""

from __future__ import annotations

from typing import TYPE_CHECKING

from kmod_emu.debug.c.values import DebugError
from kmod_emu.debug.terminal.describe import frame_text, print_frame, shown
from kmod_emu.debug.terminal.table import commands

if TYPE_CHECKING:
    from kmod_emu.debug.terminal.session import Session


@commands.add("backtrace", "bt", "where", section="stack")
def backtrace(session: Session, text: str) -> None:
    """Print backtrace of all stack frames, or innermost COUNT frames.

    Usage: backtrace [full] [COUNT]
    "full" prints the local variables too; a negative COUNT the outermost frames.
    """
    frames = session.frames
    if not frames:
        raise DebugError("No stack.")
    words = text.split()
    full = "full" in words or "-full" in words
    counts = [word for word in words if word not in ("full", "-full")]
    chosen = frames
    if counts:
        count = session.names.evaluate(" ".join(counts)).integer()
        chosen = frames[:count] if count >= 0 else frames[count:]
    for frame in chosen:
        session.write(frame_text(session, frame))
        if full:
            lines = list(_variables(session, frame.level, parameters=False))
            for line in lines or ["No locals."]:
                session.write(f"        {line}")
    if counts and chosen and chosen[-1] is not frames[-1] and session.from_terminal:
        session.write("(More stack frames follow...)")


def _variables(session: Session, level: int, *, parameters: bool) -> list[str]:
    variables = session.frames[level].variables(parameters=parameters)
    return [f"{name} = {shown(session, value)}" for name, value in variables]


def locals_of(session: Session, *, parameters: bool) -> list[str]:
    """The lines of `info locals` or `info args` for the selected frame."""
    return _variables(session, session.selected, parameters=parameters)


@commands.add("frame", "f", section="stack")
def frame(session: Session, text: str) -> None:
    """Select and print a stack frame.

    Usage: frame [LEVEL | function NAME | level LEVEL]
    """
    if not session.frames:
        raise DebugError("No stack.")
    words = text.split()
    if words[:1] == ["function"]:
        found = [f for f in session.frames if f.name == words[-1]]
        if not found:
            raise DebugError(f'No frame for function "{words[-1]}".')
        session.select(found[0].level)
    elif words:
        level = session.names.evaluate(words[-1] if words[0] == "level" else text).integer()
        if not 0 <= level < len(session.frames):
            raise DebugError(f"No frame at level {text}.")
        session.select(level)
    _show(session)


@commands.add("up", section="stack", repeats=True)
def up(session: Session, text: str) -> None:
    """Select and print stack frame that called this one.

    Usage: up [COUNT]
    """
    _move(session, session.names.evaluate(text).integer() if text else 1)


@commands.add("down", "dow", section="stack", repeats=True)
def down(session: Session, text: str) -> None:
    """Select and print stack frame called by this one.

    Usage: down [COUNT]
    """
    _move(session, -(session.names.evaluate(text).integer() if text else 1))


def _move(session: Session, by: int) -> None:
    if not session.frames:
        raise DebugError("No stack.")
    last = len(session.frames) - 1
    if by > 0 and session.selected == last:
        raise DebugError("Initial frame selected; you can't go up.")
    if by < 0 and session.selected == 0:
        raise DebugError("Bottom (innermost) frame selected; you can't go down.")
    session.select(min(max(session.selected + by, 0), last))
    _show(session)


def _show(session: Session) -> None:
    print_frame(session, session.frame, numbered=True)
    session.redraw()

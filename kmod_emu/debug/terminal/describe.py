"""Frames, source lines and stops in gdb's form."""

from __future__ import annotations

from typing import TYPE_CHECKING

from kmod_emu.debug.c import types as c
from kmod_emu.debug.c.values import DebugError

if TYPE_CHECKING:
    from kmod_emu.debug.c.values import Value
    from kmod_emu.debug.frames import Frame
    from kmod_emu.debug.terminal.session import Session

__all__ = ["arguments", "frame_text", "line_text", "print_frame", "shown", "source_line"]


def arguments(session: Session, frame: Frame) -> str:
    """The parameters of a frame as a backtrace has them: structures as `...`; what was passed, if known."""
    if frame.scope is None:
        return ""
    parts = []
    for name, die in frame.scope.variables(parameters=True):
        now, passed = _short(session, frame.value_of(die)), frame.value_at_entry(die)
        before = _short(session, passed) if passed is not None else now
        if passed is None:
            parts.append(f"{name}={now}")
        elif before == now:
            parts.append(f"{name}={name}@entry={now}")
        else:
            parts += [f"{name}={now}", f"{name}@entry={before}"]
    return ", ".join(parts)


def _short(session: Session, value: Value) -> str:
    if isinstance(value.bare, (c.Aggregate, c.Array)) and not value.lost:
        return "..."
    return shown(session, value)


def shown(session: Session, value: Value, letter: str = "", *, typed: bool = False) -> str:
    """A value, or why it cannot be shown; `typed` as `print` has pointers."""
    printer = session.names.printer
    try:
        return printer.show(value, letter) if typed else printer.plain(value, letter)
    except DebugError as error:
        return f"<error: {error}>"


def frame_text(session: Session, frame: Frame, *, numbered: bool = True) -> str:
    """`#0  0x... in function (args) at file:line`."""
    number = f"#{frame.level:<3}" if numbered else ""
    where = f"{frame.pc:#018x} in " if frame.shows_address else ""
    text = f"{number}{where}{frame.name} ({arguments(session, frame)})"
    if frame.line is not None:
        text += f" at {frame.line.file}:{frame.line.line}"
    return text


def source_line(session: Session, frame: Frame) -> str | None:
    """`LINE<tab>text` of where a frame is; None without debug information."""
    if frame.line is None:
        return None
    lines = session.sources.lines(frame.line.file, *(frame.info.folders if frame.info else ()))
    return line_text(session, frame.line.file, frame.line.line, lines)


def line_text(session: Session, file: str, number: int, lines: list[str] | None) -> str:
    """A numbered source line, or that the file is not there."""
    if lines is not None and 0 < number <= len(lines):
        return f"{number}\t{lines[number - 1]}"
    if file in session.told_missing:
        return f"{number}\tin {file}"
    session.told_missing.add(file)
    return f"{number}\t{file}: No such file or directory."


def print_frame(session: Session, frame: Frame, *, numbered: bool = False, line_only: bool = False) -> None:
    """A frame and its source line, as after a stop; only the line if the function is still the same."""
    source = source_line(session, frame)
    if line_only and source is not None:
        session.write(f"{frame.pc:#018x}\t{source}" if frame.shows_address else source)
        return
    session.write(frame_text(session, frame, numbered=numbered))
    if source is not None:
        session.write(source)

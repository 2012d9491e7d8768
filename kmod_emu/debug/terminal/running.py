"""Commands that let the machine run, forwards and backwards."""

from __future__ import annotations

from typing import TYPE_CHECKING

from kmod_emu.debug.c.values import DebugError
from kmod_emu.debug.points import Reason
from kmod_emu.debug.stepping import Stepper
from kmod_emu.debug.terminal.describe import frame_text
from kmod_emu.debug.terminal.stops import report
from kmod_emu.debug.terminal.table import commands
from kmod_emu.debug.terminal.watching import continue_watching, software_watches

if TYPE_CHECKING:
    from collections.abc import Callable

    from kmod_emu.debug.points import Stopped
    from kmod_emu.debug.terminal.session import Session


def _count(session: Session, text: str) -> int:
    return session.names.evaluate(text).integer() if text else 1


def _repeat(session: Session, text: str, move: Callable[[Stepper], Stopped]) -> None:
    """Move some times, as long as nothing else stops it, and tell where it came to."""
    session.running()
    stop, same = None, False
    for _ in range(max(_count(session, text), 1)):
        if move is Stepper.step and session.enter_inlined():
            stop, same = session.debugger.stop._replace(reason=Reason.STEPPED, points=()), False
            continue
        stepper = Stepper(session.debugger, session.program, session.frames)
        stop = move(stepper)
        session.moved(stepper.reveal or None)
        if stop.reason is not Reason.STEPPED or not session.frames:
            break
        same = stepper.stays_in(session.frames[0])
    if stop is not None:
        report(session, stop, same=same)


def _repeat_back(session: Session, text: str, move: Callable[[Stepper], Stopped]) -> None:
    """As `_repeat`, backwards; also from the end, where nothing runs any more."""
    session.started()
    if session.frames:
        _repeat(session, text, move)
    else:
        _backwards(session, session.debugger.reverse_stepi)


@commands.add("stepi", "si", section="running", repeats=True)
def stepi(session: Session, text: str) -> None:
    """Step one instruction exactly.

    Usage: stepi [N]
    """
    _repeat(session, text, Stepper.stepi)


@commands.add("nexti", "ni", section="running", repeats=True)
def nexti(session: Session, text: str) -> None:
    """Step one instruction, but proceed through subroutine calls.

    Usage: nexti [N]
    """
    _repeat(session, text, Stepper.nexti)


def _say_unknown(session: Session) -> None:
    """In code without lines, a line is the whole function."""
    now = session.running()
    if now.line is None:
        session.write(
            f"Single stepping until exit from function {now.name},\nwhich has no line number information."
        )


@commands.add("step", "s", section="running", repeats=True)
def step(session: Session, text: str) -> None:
    """Step program until it reaches a different source line.

    Usage: step [N]
    """
    _say_unknown(session)
    _repeat(session, text, Stepper.step)


@commands.add("next", "n", section="running", repeats=True)
def next_(session: Session, text: str) -> None:
    """Step program, proceeding through subroutine calls.

    Usage: next [N]
    """
    _say_unknown(session)
    _repeat(session, text, Stepper.next)


@commands.add("until", "u", section="running", repeats=True)
def until(session: Session, text: str) -> None:
    """Execute until past the current line or past a LOCATION.

    Usage: until [LOCATION]
    Without LOCATION as "next", but does not go back in a loop.
    """
    if text:
        advance(session, text)
    else:
        _repeat(session, "", Stepper.until)


@commands.add("advance", section="running")
def advance(session: Session, text: str) -> None:
    """Continue the program up to the given location, or until the current function has returned.

    Usage: advance LOCATION
    """
    session.running()
    if not text:
        raise DebugError("Argument required (a location).")
    addresses = [place.address for place in session.locator.find(text) if place.address is not None]
    stop = Stepper(session.debugger, session.program, session.frames).advance(addresses)
    session.moved()
    report(session, stop)


@commands.add("finish", "fin", section="running")
def finish(session: Session, text: str) -> None:
    """Execute until selected stack frame returns.

    Usage: finish
    Upon return, the value returned is printed and put in the value history.
    """
    session.running()
    start = session.frame
    stepper = Stepper(session.debugger, session.program, session.frames)
    kind = stepper.returns(start)
    if session.from_terminal:
        session.write(f"Run till exit from {frame_text(session, start)}")
    stop = stepper.finish(start)
    session.moved()
    report(session, stop)
    if stop.reason.name == "STEPPED" and kind is not None and session.frames:
        session.returned(kind)


@commands.add("continue", "c", "cont", "fg", section="running", repeats=True)
def continue_(session: Session, text: str) -> None:
    """Continue program being debugged, after breakpoint.

    Usage: continue [N]
    N is a number of crossings of this breakpoint that are ignored.
    """
    session.running()
    if text:
        count = _count(session, text)
        for point in session.debugger.stop.points:
            user = session.points.owner(point)
            if user is not None:
                user.ignore = max(count - 1, 0)
                session.write(
                    f"Will ignore next {user.ignore} crossings of breakpoint {user.number}.  Continuing."
                )
                break
    elif session.from_terminal:
        session.write("Continuing.")
    watches = software_watches(session)
    told = None
    if watches:
        stop, told = continue_watching(session, watches)
    else:
        stop = session.debugger.continue_()
    session.moved()
    report(session, stop, told=told)


@commands.add("reverse-stepi", "rsi", section="running", repeats=True)
def reverse_stepi(session: Session, text: str) -> None:
    """Step backward exactly one instruction.

    Usage: reverse-stepi [N]
    """
    _repeat_back(session, text, Stepper.reverse_stepi)


@commands.add("reverse-nexti", "rni", section="running", repeats=True)
def reverse_nexti(session: Session, text: str) -> None:
    """Step backward one instruction, but proceed through called subroutines.

    Usage: reverse-nexti [N]
    """
    _repeat_back(session, text, Stepper.reverse_nexti)


@commands.add("reverse-step", "rs", section="running", repeats=True)
def reverse_step(session: Session, text: str) -> None:
    """Step program backward until it reaches the beginning of another source line.

    Usage: reverse-step [N]
    """
    _repeat_back(session, text, Stepper.reverse_step)


@commands.add("reverse-next", "rn", section="running", repeats=True)
def reverse_next(session: Session, text: str) -> None:
    """Step program backward, proceeding through subroutine calls.

    Usage: reverse-next [N]
    """
    _repeat_back(session, text, Stepper.reverse_next)


@commands.add("reverse-continue", "rc", section="running", repeats=True)
def reverse_continue(session: Session, text: str) -> None:
    """Continue program being debugged but run it in reverse.

    Usage: reverse-continue
    """
    session.started()
    if session.from_terminal:
        session.write("Continuing.")
    _backwards(session, session.debugger.reverse_continue)


@commands.add("reverse-finish", section="running")
def reverse_finish(session: Session, text: str) -> None:
    """Execute backward until just before selected stack frame is called.

    Usage: reverse-finish
    """
    session.running()
    if session.from_terminal:
        session.write(f"Run back to call of {frame_text(session, session.frame)}")
    try:
        _backwards(session, session.debugger.reverse_finish)
    except LookupError:
        raise DebugError('"finish" not meaningful in the outermost frame.') from None


@commands.add("last-write", section="running")
def last_write(session: Session, text: str) -> None:
    """Go back to before the instruction that wrote to some memory last.

    Usage: last-write EXPRESSION
    """
    session.started()
    if not text:
        raise DebugError("Argument required (expression to compute).")
    go_to_last_write(session, *session.memory_of(text))


def go_to_last_write(session: Session, address: int, size: int) -> None:
    """What `last-write` does; it tells who wrote."""
    where = session.names.printer.address(address)
    stop = session.debugger.last_write(address, size)
    session.moved()
    if stop.reason.name == "BEGINNING":
        raise DebugError(f"Nothing has written to {where} since the first instruction of init.")
    session.write(f"\n{size} bytes at {where} were written last by the next instruction:")
    report(session, stop._replace(reason=Reason.STEPPED))


def _backwards(session: Session, move: Callable[[], Stopped]) -> None:
    session.backwards = True
    try:
        stop = move()
        session.moved()
        report(session, stop)
    finally:
        session.backwards = False


@commands.add("run", "r", section="running")
def run(session: Session, text: str) -> None:
    """Load the module again, from a machine as it was before; stops at the first instruction of its init.

    Usage: run [NAME=VALUE]...
    """
    session.restart(text)


@commands.add("start", section="running")
def start(session: Session, text: str) -> None:
    """Load the module again, up to the first instruction of its init, which is where "run" stops too.

    Usage: start [NAME=VALUE]...
    """
    session.restart(text)


@commands.add("kill", "k", section="running")
def kill(session: Session, text: str) -> None:
    """Give up what runs; the machine is what it was before.

    Usage: kill
    """
    session.running()
    session.debugger.close()
    session.moved()
    session.write("[Inferior 1 killed]")

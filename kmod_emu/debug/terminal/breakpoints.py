"""Commands that say where to stop."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from kmod_emu.debug.c.parser import parse
from kmod_emu.debug.c.values import DebugError
from kmod_emu.debug.locations import Location, NotFound, split_condition
from kmod_emu.debug.terminal.table import commands
from kmod_emu.debug.terminal.watching import block_of

if TYPE_CHECKING:
    from kmod_emu.debug.terminal.points import UserPoint
    from kmod_emu.debug.terminal.session import Session

_CAUGHT = {
    "oops": "an oops, before its report",
    "warn": "a WARN()",
    "load": "the load of a module, before its init runs",
    "unimplemented": "the use of a kernel function that is not there",
    "syscall": "a system call",
    "export": "a call of a function of the base kernel",
}


@commands.add("break", "b", "br", "bre", "brea", section="breakpoints")
def break_(session: Session, text: str) -> None:
    """Set breakpoint at specified location.

    Usage: break [LOCATION] [if CONDITION]
    LOCATION is FUNCTION, FILE:LINE, LINE, +OFFSET, *ADDRESS, or a function of the base kernel; without one,
    the place where execution is. The machine stops there before the instruction.
    """
    set_breakpoint(session, text, temporary=False)


@commands.add("tbreak", "tb", "hbreak", "thbreak", section="breakpoints")
def tbreak(session: Session, text: str) -> None:
    """Set a temporary breakpoint: it is deleted when it is hit.

    Usage: tbreak [LOCATION] [if CONDITION]
    """
    set_breakpoint(session, text, temporary=True)


def set_breakpoint(session: Session, text: str, *, temporary: bool) -> None:
    """What `break` and `tbreak` do."""
    spec, condition = split_condition(text)
    pending = False
    try:
        places = session.locator.find(spec) if spec else [_here(session)]
    except NotFound as error:
        pending = bool(session.settings.get("pending")) or session.ask(
            f"{error}\nMake breakpoint pending on future module load? (y or [n]) ", default=False
        )
        if not pending:
            return
        places = []
    if condition and not pending:
        _check(session, condition, places)
    point = session.points.new("breakpoint", temporary=temporary)
    point.spec, point.condition = spec, condition
    absent = [session.program.kernel.symbols.absent(place.address or 0) for place in places]
    if any(absent):  # nothing is there to stop at: it is met as a function that is missing
        session.points.catch(point, "unimplemented", next(name for name in absent if name))
        point.places = places
    else:
        session.points.place(point, places)
    session.write(_told(point))
    session.names.set_number("bpnum", point.number)


def _here(session: Session) -> Location:
    frame = session.frame
    line = frame.line
    return Location(frame.pc, line.file if line else "", line.line if line else 0, frame.name)


def _check(session: Session, condition: str, places: list[Location]) -> None:
    """A condition that is no C is refused at once, with the names that are known at the place."""
    from kmod_emu.debug.frames import Frame

    names, before = session.names, session.names.frame
    program, address = session.program, places[0].address
    if address is not None:
        scopes = program.scopes(address)
        scope = scopes[0] if scopes else None
        registers = {**(session.frames[0].registers if session.frames else {}), "rip": address}
        line = program.line_at(address)
        names.frame = Frame(program, 0, registers, program.info_at(address), scope, line, called=False)
    try:
        names.check(parse(condition, names.evaluator.type_named))
    finally:
        names.frame = before


def _told(point: UserPoint) -> str:
    word = "Temporary breakpoint" if point.temporary else "Breakpoint"
    if not point.places:
        return f"{word} {point.number} ({point.spec}) pending."
    first = point.places[0]
    text = f"{word} {point.number} at {first.address:#x}"
    if len(point.places) > 1:
        return f"{text}: {point.spec}. ({len(point.places)} locations)"
    return f"{text}: file {first.file}, line {first.line}." if first.file else text


@commands.add("watch", "wa", "wat", section="breakpoints")
def watch(session: Session, text: str) -> None:
    """Set a watchpoint for an expression.

    Usage: watch [-l|-location] EXPRESSION [if CONDITION]
    The machine stops when the value of the expression changes, whoever writes it.
    """
    _watch(session, text, "hw watchpoint", "Hardware watchpoint")


@commands.add("rwatch", "rw", section="breakpoints")
def rwatch(session: Session, text: str) -> None:
    """Set a read watchpoint for an expression.

    Usage: rwatch [-l|-location] EXPRESSION [if CONDITION]
    """
    _watch(session, text, "read watchpoint", "Hardware read watchpoint")


@commands.add("awatch", "aw", section="breakpoints")
def awatch(session: Session, text: str) -> None:
    """Set a watchpoint for reads and writes of an expression.

    Usage: awatch [-l|-location] EXPRESSION [if CONDITION]
    """
    _watch(session, text, "acc watchpoint", "Hardware access (read/write) watchpoint")


def _watch(session: Session, text: str, kind: str, word: str) -> None:
    text, condition = split_condition(text)
    location = re.match(r"-l(?:ocation)?\s+", text)
    expression = text[location.end() :] if location else text
    if not expression:
        raise DebugError("Argument required (expression to compute).")
    value = session.names.evaluate(expression)
    block = None if location else block_of(session, parse(expression, session.names.evaluator.type_named))
    shown = f"-location {expression}" if location else expression
    if value.address is None or not value.type.size:
        if block is None:
            raise DebugError(f"Cannot watch constant value `{expression}'.")
        if kind != "hw watchpoint":
            raise DebugError("Expression cannot be implemented with read/access watchpoint.")
        kind, word = "watchpoint", "Watchpoint"
    point = session.points.new(kind, shown)
    point.condition, point.block = condition, block
    if kind != "watchpoint":
        session.points.watch(point, value)
    session.write(f"{word} {point.number}: {shown}")


@commands.add("catch", section="breakpoints")
def catch(session: Session, text: str) -> None:
    """Set a catchpoint: stop when something happens.

    Usage: catch oops | warn | load [MODULE] | unimplemented | syscall [NAME] | export NAME
    """
    set_catchpoint(session, text)


@commands.add("tcatch", section="breakpoints")
def tcatch(session: Session, text: str) -> None:
    """Set a temporary catchpoint.

    Usage: tcatch oops | warn | load [MODULE] | unimplemented | syscall [NAME] | export NAME
    """
    set_catchpoint(session, text, temporary=True)


def set_catchpoint(session: Session, text: str, *, temporary: bool = False) -> None:
    """What `catch` and `tcatch` do."""
    kind, _, name = text.partition(" ")
    name = name.strip()
    if not kind:
        raise DebugError(
            "List of catch subcommands:\n\n"
            + "\n".join(f"catch {word} -- Catch {what}." for word, what in _CAUGHT.items())
        )
    if kind not in _CAUGHT:
        raise DebugError(f'Undefined catch command: "{kind}".  Try "help catch".')
    if kind == "export":
        symbol = session.program.kernel.symbols.find(name)
        if symbol is None:
            raise DebugError(
                f'The base kernel exports no "{name}".' if name else "Argument required (a name)."
            )
        point = session.points.new("catchpoint", f"export {name}", temporary=temporary)
        session.points.place(point, [Location(symbol.address, function=name)])
        session.write(f"Catchpoint {point.number} (export {name})")
        return
    if kind == "syscall" and name and not _is_syscall(session, name):
        raise DebugError(f"Unknown syscall name '{name}'.")
    words = {"syscall": f"syscall {name}" if name else "any syscall"}
    point = session.points.new("catchpoint", words.get(kind, f"{kind} {name}".strip()), temporary=temporary)
    session.points.catch(point, kind, name)
    session.write(f"Catchpoint {point.number} ({point.text})")


def _is_syscall(session: Session, name: str) -> bool:
    from kmod_emu.kernel.syscalls import number_of

    try:
        number_of(name, session.program.kernel)
    except LookupError:
        return False
    return True


@commands.add("delete", "d", "del", section="breakpoints")
def delete(session: Session, text: str) -> None:
    """Delete all or some breakpoints.

    Usage: delete [breakpoints | display] [NUMBER]...
    """
    words = text.split(None, 1)
    if words and words[0] == "display":
        from kmod_emu.debug.terminal.data import undisplay

        undisplay(session, words[1] if len(words) > 1 else "")
        return
    if words and "breakpoints".startswith(words[0]):
        text = words[1] if len(words) > 1 else ""
    if not text:
        if session.points.by_number and session.ask("Delete all breakpoints? (y or n) ", default=True):
            for point in list(session.points.by_number.values()):
                session.points.delete(point)
        return
    for point in session.points.numbers(text):
        session.points.delete(point)


@commands.add("clear", "cl", section="breakpoints")
def clear(session: Session, text: str) -> None:
    """Clear breakpoint at specified location.

    Usage: clear [LOCATION]
    """
    places = session.locator.find(text) if text else [_here(session)]
    addresses = {place.address for place in places}
    found = [p for p in session.points.by_number.values() if addresses & {q.address for q in p.places}]
    if not found:
        raise DebugError(f"No breakpoint at {text}." if text else "No breakpoint at this line.")
    numbers = " ".join(str(point.number) for point in found)
    session.write(f"Deleted breakpoint{'s' if len(found) > 1 else ''} {numbers}")
    for point in found:
        session.points.delete(point)


@commands.add("enable", "en", section="breakpoints")
def enable(session: Session, text: str) -> None:
    """Enable all or some breakpoints.

    Usage: enable [NUMBER]...
    """
    _enable(session, text, on=True)


@commands.add("disable", "dis", section="breakpoints")
def disable(session: Session, text: str) -> None:
    """Disable all or some breakpoints.

    Usage: disable [NUMBER]...
    """
    _enable(session, text, on=False)


def _enable(session: Session, text: str, *, on: bool) -> None:
    points = session.points.numbers(text) if text else list(session.points.by_number.values())
    for point in points:
        session.points.enable(point, on)


@commands.add("condition", "cond", section="breakpoints")
def condition(session: Session, text: str) -> None:
    """Specify breakpoint number N to break only if COND is true.

    Usage: condition N [COND]
    Without COND, the breakpoint stops always.
    """
    number, _, expression = text.strip().partition(" ")
    if not number:
        raise DebugError("Argument required (breakpoint number).")
    point = session.points.find(number)
    expression = expression.strip()
    if expression:
        _check(session, expression, point.places or [Location(None)])
    else:
        session.write(f"Breakpoint {point.number} now unconditional.")
    session.points.set_condition(point, expression)


@commands.add("ignore", section="breakpoints")
def ignore(session: Session, text: str) -> None:
    """Set ignore-count of breakpoint number N to COUNT.

    Usage: ignore N COUNT
    """
    number, _, count = text.strip().partition(" ")
    if not number:
        raise DebugError("Argument required (a breakpoint number).")
    point = session.points.find(number)
    if not count.strip():
        raise DebugError("Second argument (specified ignore-count) is missing.")
    point.ignore = max(session.names.evaluate(count).integer(), 0)
    if not point.ignore:
        session.write(f"Will stop next time breakpoint {number} is reached.")
    else:
        crossings = "crossing" if point.ignore == 1 else f"{point.ignore} crossings"
        session.write(f"Will ignore next {crossings} of breakpoint {number}.")


@commands.add("commands", section="breakpoints")
def commands_(session: Session, text: str) -> None:
    """Set commands to be executed when the given breakpoints are hit.

    Usage: commands [NUMBER]...
    The commands follow, a line each, up to a line with "end". With none, the latest breakpoint is meant.
    """
    points = session.points.numbers(text) if text else list(session.points.by_number.values())[-1:]
    if not points:
        raise DebugError("No breakpoints specified.")
    lines = session.block()
    for point in points:
        point.commands = lines

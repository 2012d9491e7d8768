"""`info` and its subcommands."""

from __future__ import annotations

from typing import TYPE_CHECKING

from kmod_emu.debug.c import types as c
from kmod_emu.debug.c.values import DebugError
from kmod_emu.debug.dwarf.dies import number_of
from kmod_emu.debug.registers import GENERAL, find_register, register_line
from kmod_emu.debug.terminal.describe import arguments, frame_text
from kmod_emu.debug.terminal.stack import locals_of
from kmod_emu.debug.terminal.table import Table, commands

if TYPE_CHECKING:
    from kmod_emu.debug.terminal.points import UserPoint
    from kmod_emu.debug.terminal.session import Session

infos = Table("info ")
_CONTROL = ("cs", "ss", "ds", "es", "fs", "gs")
_SELECTORS = {"cs": 0x10, "ss": 0x18}  # __KERNEL_CS, __KERNEL_DS


@commands.add("info", "i", "inf", section="status")
def info(session: Session, text: str) -> None:
    """Generic command for showing things about the program being debugged.

    Usage: info SUBCOMMAND
    """
    word, _, rest = text.strip().partition(" ")
    if not word:
        session.write("List of info subcommands:\n")
        for command in infos:
            session.write(f"info {command.name} -- {command.summary}")
        return
    infos.find(word).run(session, rest.strip())


@infos.add("address", "addr")
def address(session: Session, text: str) -> None:
    """Describe where symbol SYM is stored."""
    if not text:
        raise DebugError("Argument required.")
    value = session.names.variable(text)
    if value is None:
        raise DebugError(f'No symbol "{text}" in current context.')
    if isinstance(value.bare, c.Function):
        session.write(f'Symbol "{text}" is a function at address {value.integer():#x}.')
    elif value.address is not None:
        local = bool(session.frames) and session.frame.find(text) is not None
        what = "a variable in memory" if local else "static storage"
        session.write(f'Symbol "{text}" is {what} at address {value.address:#x}.')
    elif value.lost:
        session.write(f'Symbol "{text}" is optimized out.')
    elif value.is_lvalue:
        session.write(f'Symbol "{text}" is a variable in a register.')
    else:
        session.write(f'Symbol "{text}" is constant.')


@infos.add("args")
def args(session: Session, text: str) -> None:
    """All argument variables of current stack frame."""
    _show_variables(session, parameters=True, none="No arguments.")


def _show_variables(session: Session, *, parameters: bool, none: str) -> None:
    if session.frame.scope is None:
        raise DebugError("No symbol table info available.")
    session.write("\n".join(locals_of(session, parameters=parameters)) or none)


@infos.add("breakpoints", "b", "br")
def breakpoints(session: Session, text: str) -> None:
    """Status of specified breakpoints (all user-settable breakpoints if no argument)."""
    points = session.points.numbers(text) if text else list(session.points.by_number.values())
    _table(session, points, "No breakpoints or watchpoints.")


@infos.add("watchpoints")
def watchpoints(session: Session, text: str) -> None:
    """Status of specified watchpoints (all watchpoints if no argument)."""
    points = [point for point in session.points.by_number.values() if "watchpoint" in point.kind]
    _table(session, points, "No watchpoints.")


def _table(session: Session, points: list[UserPoint], none: str) -> None:
    if not points:
        session.write(none)
        return
    width = max(14, *(len(point.kind) for point in points))
    session.write(f"Num     {'Type':<{width}} Disp Enb Address            What")
    for point in points:
        disposition = "del" if point.temporary else "keep"
        enabled = "y" if point.enabled else "n"
        start = f"{point.number:<7} {point.kind:<{width}} {disposition:<4} {enabled:<3} "
        if point.kind != "breakpoint":
            session.write(f"{start}{'':<18} {point.text}")
        elif len(point.places) == 1:
            session.write(f"{start}{point.places[0].address:#018x} {_what(session, point, 0)}")
        else:
            session.write(
                f"{start}{'<MULTIPLE>' if point.places else '<PENDING>':<18} "
                f"{'' if point.places else point.spec}".rstrip()
            )
        if point.condition:
            session.write(f"\tstop only if {point.condition}")
        if point.hits:
            session.write(f"\tbreakpoint already hit {point.hits} time{'s' if point.hits > 1 else ''}")
        if point.ignore:
            session.write(f"\tignore next {point.ignore} hits")
        for line in point.commands:
            session.write(f"        {line}")
        if len(point.places) > 1:
            for index, place in enumerate(point.places):
                number = f"{point.number}.{index + 1}"
                what = _what(session, point, index)
                session.write(f"{number:<{7 + width + 6}} {enabled:<3} {place.address:#018x} {what}")


def _what(session: Session, point: UserPoint, index: int) -> str:
    place = point.places[index]
    if place.file:
        return f"in {place.function or '??'} at {place.file}:{place.line}"
    return session.program.symbol(place.address or 0)


@infos.add("display")
def display(session: Session, text: str) -> None:
    """Expressions to display when program stops, with code numbers."""
    if not session.displays:
        session.write("There are no auto-display expressions now.")
        return
    session.write("Auto-display expressions now in effect:\nNum Enb Expression")
    for number, (form, expression) in session.displays.items():
        session.write(f"{number}:   y  {f'/{form} ' if form else ''}{expression}")


@infos.add("frame", "f")
def frame(session: Session, text: str) -> None:
    """All about the selected stack frame."""
    now = session.frame
    cfa = now.physical.cfa
    session.write(f"Stack level {now.level}, frame at {cfa or 0:#x}:")
    where = f" ({now.line.file}:{now.line.line})" if now.line else ""
    caller = now.physical.caller
    returns_to = (
        f"{caller.pc:#x}"
        if caller is not None
        else (f"{session.program.kernel.memory.read_u64(cfa - 8):#x}" if cfa else "<unavailable>")
    )
    session.write(f" rip = {now.pc:#x} in {now.name}{where}; saved rip = {returns_to}")
    if now.is_inlined and now.caller is not None:
        session.write(f" inlined into frame {now.caller.level}")
    elif caller is not None:
        session.write(f" called by frame at {caller.physical.cfa or 0:#x}")
    if now.level:
        session.write(f" caller of frame at {session.frames[now.level - 1].physical.cfa or 0:#x}")
    if now.line:
        session.write(" source language c.")
    base = now.registers["rsp"] - 8
    session.write(f" Arglist at {base:#x}, args: {arguments(session, now)}")
    if cfa:
        session.write(f" Locals at {base:#x}, Previous frame's sp is {cfa:#x}\n Saved registers:")
        saved = now.physical.saved or {"rip": cfa - 8}
        order = [name for name in GENERAL if name in saved]
        session.write(f"  {', '.join(f'{name} at {saved[name]:#x}' for name in order)}")


@infos.add("functions", "fu")
def functions(session: Session, text: str) -> None:
    """All function names of modules with debug information, or those that contain a text."""
    session.write(
        "All defined functions:" if not text else f'All functions matching regular expression "{text}":'
    )
    for known in session.program.infos:
        for name, dies in known.functions.items():
            if text in name:
                line = number_of(dies[0], "DW_AT_decl_line")
                session.write(f"{line}:\t{known.types.read(dies[0]).declare(name)};")


@infos.add("variables", "var")
def variables(session: Session, text: str) -> None:
    """All global and static variable names of modules, or those that contain a text."""
    session.write(
        "All defined variables:" if not text else f'All variables matching regular expression "{text}":'
    )
    for known in session.program.infos:
        for name in known.variable_names():
            die = known.variable(name)
            if text in name and die is not None:
                line = number_of(die, "DW_AT_decl_line")
                session.write(f"{line}:\t{known.types.type_of(die).declare(name)};")


@infos.add("line")
def line(session: Session, text: str) -> None:
    """Core addresses of the code for a source line."""
    if text:
        places = session.locator.find(text)
    else:
        now = session.frame
        places = session.locator.find(f"*{now.pc:#x}")
    for place in places:
        found = session.program.line_at(place.address or 0)
        symbol = session.program.symbol
        if found is None:
            session.write(
                f"No line number information available for address {place.address or 0:#x} "
                f"{symbol(place.address or 0)}".rstrip()
            )
            continue
        start, end = (f"{number:#x} {symbol(number)}".rstrip() for number in (found.start, found.end))
        session.write(f'Line {found.line} of "{found.file}" starts at address {start} and ends at {end}.')


@infos.add("locals", "lo")
def locals_(session: Session, text: str) -> None:
    """All local variables of current stack frame."""
    _show_variables(session, parameters=False, none="No locals.")


@infos.add("modules", "mod")
def modules(session: Session, text: str) -> None:
    """Modules of the machine, as lsmod lists them, with where they lie and whether they have symbols."""
    found = session.program.modules
    if not found:
        session.write("No modules loaded.")
        return
    session.write(f"{'From':<18}  {'To':<18}  {'Syms Read':<10}  Module")
    for module in found:
        region = next(iter(module.regions.values()))
        read = "Yes" if session.program.debug_info(module) else "Yes (*)"
        state = module.state.name.capitalize()
        session.write(
            f"{region.base:#018x}  {region.base + region.size:#018x}  {read:<10}  {module.name} ({state})"
        )
    if any(not session.program.debug_info(module) for module in found):
        session.write("(*): Module is missing debugging information.")


@infos.add("sharedlibrary", "dll", "sh")
def sharedlibrary(session: Session, text: str) -> None:
    """Modules of the machine; what gdb's command of this name shows of a process."""
    modules(session, text)


@infos.add("program", "prog")
def program(session: Session, text: str) -> None:
    """Execution status of the program."""
    if not session.frames:
        session.write("The program being debugged is not being run.")
        return
    session.write(
        f"\tUsing the running image of {session.title}.\nProgram stopped at {session.frames[0].pc:#x}."
    )
    session.write(f"It stopped: {session.debugger.stop.reason.value}.")


@infos.add("registers", "r", "reg")
def registers(session: Session, text: str) -> None:
    """List of integer registers and their contents, for selected stack frame."""
    if not session.frames:
        raise DebugError("The program has no registers now.")
    now = session.frame
    if text:
        for word in text.split():
            name = word.lstrip("$")
            value = find_register(now, name)
            if name in now.registers or name in ("pc", "sp", "fp"):
                session.write(register_line(now, {"pc": "rip", "sp": "rsp", "fp": "rbp"}.get(name, name)))
            elif value is None:
                raise DebugError(f"Invalid register `{name}'")
            else:
                number = value.integer()
                session.write(f"{name:<15}{number & (1 << 8 * value.type.size) - 1:<#20x}{number}")
        return
    for name in GENERAL:
        session.write(register_line(now, name))
    for name in _CONTROL:
        number = _SELECTORS.get(name, 0)
        session.write(f"{name:<15}{number:<#20x}{number}")
    for name in ("fs_base", "gs_base"):
        if name in now.registers:
            session.write(register_line(now, name))


@infos.add("all-registers")
def all_registers(session: Session, text: str) -> None:
    """As "info registers"."""
    registers(session, text)


@infos.add("scope")
def scope(session: Session, text: str) -> None:
    """List the variables local to a scope."""
    if not text:
        raise DebugError("requires an argument (an expression or variable): a linespec")
    place = session.locator.find(text)[0]
    scopes = session.program.scopes(place.address or 0)
    known = session.program.info_at(place.address or 0)
    names = [
        (name, die)
        for parameters in (True, False)
        for found in scopes[:1]
        for name, die in found.variables(parameters=parameters)
    ]
    if not names or known is None:
        session.write(f"Symbol table has no locals for {text}.")
        return
    session.write(f"Scope for {text}:")
    for name, die in names:
        kind = known.types.type_of(die)
        session.write(f"Symbol {name} is {kind.declare(name)}, length {kind.size}.")


@infos.add("source", "so")
def source(session: Session, text: str) -> None:
    """Information about the current source file."""
    if session.locator.default is None:
        session.write("No current source file.")
        return
    file, _ = session.locator.default
    session.write(f"Current source file is {file}")
    folders = [folder for known in session.program.infos for folder in known.folders]
    path = session.sources.find(file, *folders)
    if path is not None:
        session.write(f"Located in {path}")
    session.write("Source language is c.")


@infos.add("sources")
def sources(session: Session, text: str) -> None:
    """All source files that modules' code is of."""
    for known in session.program.infos:
        for file in known.lines.files:
            session.write(file)


@infos.add("stack", "s")
def stack(session: Session, text: str) -> None:
    """Backtrace of the stack, or innermost COUNT frames."""
    commands.find("backtrace").run(session, text)


@infos.add("symbol", "sym")
def symbol(session: Session, text: str) -> None:
    """Describe what symbol is at location ADDR."""
    if not text:
        raise DebugError("Argument required (address).")
    where = session.names.evaluate(text).integer() & (1 << 64) - 1
    found = session.program.locate(where)
    if found is None:
        session.write(f"No symbol matches {text}.")
        return
    name, offset = found
    section = session.program.section_of(where)
    module = session.program.kernel.locate(where)
    text = f"{name} + {offset}" if offset else name
    if section:
        text += f" in section {section}"
    if module is not None and module.module:
        text += f" of {module.module}"
    session.write(text)


@infos.add("threads", "th")
def threads(session: Session, text: str) -> None:
    """Tasks of the machine: the current one has a star."""
    rows = []
    for number, task in enumerate(session.debugger.tasks, 1):
        mark = "*" if task is session.task else " "
        where = session.frames_of(task)
        shown_frame = frame_text(session, where[0], numbered=False) if where else "(running Python)"
        rows.append((mark, number, f'Thread {task.pid} "{task.comm}"', shown_frame))
    if not rows:
        session.write("No threads.")
        return
    width = max(len("Target Id"), *(len(row[2]) for row in rows))
    session.write(f"  {'Id':<4} {'Target Id':<{width}} Frame ")
    for mark, number, title, text in rows:
        session.write(f"{mark} {number:<4} {title:<{width}} {text}")

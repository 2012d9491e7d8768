"""What is drawn after each stop: registers, code, source, stack, call frames, variables."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rich.rule import Rule
from rich.text import Text

from kmod_emu.debug.c.types import POINTER_SIZE
from kmod_emu.debug.c.values import DebugError, Value
from kmod_emu.debug.disassembly import decode, indirect_target
from kmod_emu.debug.registers import flag_text
from kmod_emu.debug.terminal.describe import frame_text, shown
from kmod_emu.machine.memory import EXEC, PageFault

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from rich.console import RenderableType

    from kmod_emu.debug.disassembly import Decoded
    from kmod_emu.debug.terminal.session import Session

__all__ = ["Panels"]

_REGISTERS = ("rax", "rbx", "rcx", "rdx", "rsi", "rdi", "rbp", "rsp", "r8", "r9", "r10", "r11", "r12", "r13",
              "r14", "r15", "rip")  # fmt: skip
_PASSED = ("rdi", "rsi", "rdx", "rcx", "r8", "r9")
_CODE_BEFORE, _CODE = 4, 11
_SOURCE_BEFORE, _SOURCE = 4, 10
_STACK, _FRAMES, _VARIABLES = 6, 6, 10
_HOPS = 3  # how far pointers are followed
_CHANGED, _NAME, _ADDRESS, _HERE, _DIM = "bold red", "cyan", "blue", "bold green", "bright_black"
_WIDE = 100  # from as many columns on registers stand in two columns


class Panels:
    """Draws one session; remembers registers to show which changed."""

    def __init__(self, session: Session) -> None:
        self._session = session
        self._before: dict[str, int] = {}

    def draw(self, width: int) -> Iterator[RenderableType]:
        """All panels, top to bottom."""
        session = self._session
        if not session.frames:
            return
        yield _rule("registers", width)
        yield from self._registers(width)
        yield _rule(f"code: {session.frame.name}", width)
        yield from self._code()
        source = list(self._source())
        if source:
            line = session.frame.line
            yield _rule(f"source: {line.file}:{line.line}" if line else "source", width)
            yield from source
        variables = list(self._variables(width))
        if variables:
            yield _rule("variables", width)
            yield from variables
        yield _rule("stack", width)
        yield from self._stack()
        yield _rule("trace", width)
        yield from self._trace(width)
        yield _rule("", width)
        self._before = dict(session.frames[0].registers)

    # --- registers and memory -------------------------------------------------------------------------

    def _registers(self, width: int) -> Iterator[RenderableType]:
        registers = self._session.frame.registers
        cells = []
        for name in _REGISTERS:
            if name not in registers:
                continue
            value = registers[name]
            changed = bool(self._before) and self._before.get(name) != value
            cell = Text(f"{name:<4}", style=_CHANGED if changed else _NAME)
            cell.append(f" {value:#018x}", style=_CHANGED if changed else "")
            cell.append(self._chain(value))
            cells.append(cell)
        columns = 2 if width >= _WIDE else 1
        for index in range(0, len(cells), columns):
            row = Text(no_wrap=True, overflow="ellipsis")
            for column, cell in enumerate(cells[index : index + columns], 1):
                cell.truncate(width // columns - 1, overflow="ellipsis", pad=column < columns)
                row.append(cell).append(" " if column < columns else "")
            yield row
        yield Text.assemble(("flags", _NAME), f" {flag_text(registers['eflags'])}")

    def _chain(self, value: int) -> Text:
        """Where a value points, and what is there."""
        session, text = self._session, Text()
        symbol = session.program.symbol(value)
        if symbol:
            text.append(f" {symbol}", style=_ADDRESS)
        for _ in range(_HOPS):
            kernel = session.program.kernel
            if value < 0x1000 or kernel.memory.mapped(value, EXEC):
                return text
            try:
                data = kernel.memory.read(value, 8)
            except PageFault:
                return text
            if (string := _readable(kernel.memory.read, value)) is not None:
                return text.append(f' → "{string}"', style="green")
            value = int.from_bytes(data, "little")
            text.append(f" → {value:#x}", style=_DIM)
            if symbol := session.program.symbol(value):
                text.append(f" {symbol}", style=_ADDRESS)
        return text

    def _stack(self) -> Iterator[RenderableType]:
        session = self._session
        rsp = session.frame.registers["rsp"]
        for index in range(_STACK):
            address = rsp + 8 * index
            try:
                value = session.program.kernel.memory.read_u64(address)
            except PageFault:
                return
            line = Text.assemble((f"{address:#x}", _ADDRESS), f" +{8 * index:#04x}: {value:#018x}")
            line.append(self._chain(value))
            line.no_wrap, line.overflow = True, "ellipsis"
            yield line

    # --- code and source --------------------------------------------------------------------------------

    def _code(self) -> Iterator[RenderableType]:
        session = self._session
        pc = session.frame.pc
        bounds = session.program.function_bounds(pc)
        start = bounds[1] if bounds is not None and pc - bounds[1] < 1 << 16 else pc
        try:
            code = session.examiner.code(start, pc - start + 16 * _CODE)
        except DebugError:
            yield Text(f"   {pc:#x}: nothing is mapped there", style=_CHANGED)
            return
        instructions = list(decode(code, start, intel=session.examiner.intel))
        here = next((i for i, one in enumerate(instructions) if one.address == pc), 0)
        first = max(here - _CODE_BEFORE, 0)
        shown_ones = instructions[first : first + _CODE]
        labels = [session.program.locate(one.address) or ("??", 0) for one in shown_ones]
        texts = [f"<{name}+{offset}>" for name, offset in labels]
        wide = max(map(len, texts), default=0)
        for one, label in zip(shown_ones, texts, strict=True):
            current = one.address == pc
            line = Text(
                " → " if current else "   ", style=_HERE if current else "", no_wrap=True, overflow="ellipsis"
            )
            line.append(f"{one.address:#x} ", style="" if current else _DIM)
            line.append(f"{label:<{wide}}  ", style=_ADDRESS)
            line.append(one.text(session.program.symbol))
            yield line
            if current:
                yield from self._target(one, code[one.address - start :])

    def _target(self, one: Decoded, code: bytes) -> Iterator[RenderableType]:
        """Where an indirect call leads, and what a call passes to a function whose prototype is known."""
        session = self._session
        registers = session.frame.registers
        where = one.target
        try:
            if where is None:
                read = session.program.kernel.memory.read_u64
                where = indirect_target(code, one.address, registers, read)
                if where is not None:
                    yield Text(f"      ↳ {session.names.printer.address(where)}", style=_HERE)
        except PageFault:
            return
        if where is None or not one.mnemonic.startswith("call"):
            return
        for name, value in passed(session, where, registers):
            line = Text(f"      {name} = ", style=_NAME, no_wrap=True, overflow="ellipsis")
            yield line.append(shown(session, value, typed=True), style="default")

    def _source(self) -> Iterator[RenderableType]:
        session = self._session
        frame = session.frame
        if frame.line is None:
            return
        lines = session.sources.lines(frame.line.file, *(frame.info.folders if frame.info else ()))
        if lines is None:
            yield Text(f"   {frame.line.file}: No such file or directory.", style=_DIM)
            return
        from rich.syntax import Syntax

        first = max(frame.line.line - _SOURCE_BEFORE, 1)
        shown_lines = lines[first - 1 : first - 1 + _SOURCE]
        coloured = Syntax("", "c", background_color="default").highlight("\n".join(shown_lines)).split()
        for number, text in enumerate(coloured, first):
            current = number == frame.line.line
            mark = Text(" → " if current else "   ", style=_HERE, no_wrap=True, overflow="ellipsis")
            mark.append(f"{number:>5}  ", style=_HERE if current else _DIM)
            text.expand_tabs(8)
            yield mark.append(text)

    # --- variables and frames -----------------------------------------------------------------------------

    def _variables(self, width: int) -> Iterator[RenderableType]:
        session, seen = self._session, set[str]()
        for parameters in (True, False):
            for name, value in session.frame.variables(parameters=parameters):
                if name in seen or len(seen) == _VARIABLES:
                    continue
                seen.add(name)
                line = Text(no_wrap=True, overflow="ellipsis")
                line.append(f"{value.type.declare(name)}", style=_NAME)
                line.append(f" = {shown(session, value)}")
                yield line

    def _trace(self, width: int) -> Iterator[RenderableType]:
        session = self._session
        for frame in session.frames[:_FRAMES]:
            style = _HERE if frame.level == session.selected else ""
            yield Text(frame_text(session, frame), style=style, no_wrap=True, overflow="ellipsis")
        if len(session.frames) > _FRAMES:
            yield Text(f"... {len(session.frames) - _FRAMES} more", style=_DIM)


def passed(session: Session, address: int, registers: Mapping[str, int]) -> Iterator[tuple[str, Value]]:
    """The arguments that a call of a function at an address passes in registers, by its prototype."""
    found = session.program.locate(address)
    if found is None or found[1]:
        return
    name, memory = found[0], session.names.memory
    scopes = session.program.scopes(address)
    info = session.program.info_at(address)
    if scopes and info is not None:
        parameters = [(n, info.types.type_of(die)) for n, die in scopes[-1].variables(parameters=True)]
    else:
        known = session.program.prototype(name)
        if known is None or known[0].parameters is None:
            return
        kinds = known[0].parameters
        parameters = list(
            zip(known[1] if len(known[1]) == len(kinds) else [""] * len(kinds), kinds, strict=True)
        )
    for (label, kind), register in zip(parameters, _PASSED, strict=False):
        if kind.size <= POINTER_SIZE and register in registers:
            content = registers[register].to_bytes(8, "little")[: kind.size]
            yield label or f"${register}", Value(kind, content, memory=memory)


def _rule(title: str, width: int) -> Rule:
    return Rule(Text(title, style="bold yellow"), align="right", style=_DIM, characters="─")


def _readable(read: object, address: int) -> str | None:
    """The text at an address, if it is some."""
    try:
        data = bytes(read(address, 32))  # type: ignore[operator]
    except PageFault:
        return None
    text, end, _ = data.partition(b"\0")
    if text[:1] == b"\1" and len(text) > 2:  # printk's level
        text = text[2:]
    if len(text) < 3 or not all(32 <= byte < 127 or byte in (9, 10) for byte in text):
        return None
    return text.decode("ascii").replace("\n", "\\n") + ("" if end else "...")

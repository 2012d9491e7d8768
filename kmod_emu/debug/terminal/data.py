"""Commands that look at values and memory."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from kmod_emu.debug.c import types as c
from kmod_emu.debug.c.parser import parse, parse_type
from kmod_emu.debug.c.values import DebugError, Value
from kmod_emu.debug.examine import Format, parse_format
from kmod_emu.debug.registers import flag_text, is_flags
from kmod_emu.debug.terminal.table import commands, split_format

if TYPE_CHECKING:
    from kmod_emu.debug.terminal.session import Session

_CONVERSION = re.compile(r"%(?:%|([-+ #0]*\d*(?:\.\d+)?)(?:hh|h|ll|l|z|t|j)?([diouxXcsfgep]))")


def _print_format(form: str) -> Format:
    parsed = parse_format(form)
    if parsed.times != 1:
        raise DebugError('Item count other than 1 is meaningless in "print" command.')
    if parsed.size:
        raise DebugError('Size letters are meaningless in "print" command.')
    if parsed.letter == "i":
        raise DebugError('Format letter "i" is meaningless in "print" command.')
    return parsed


def value_text(session: Session, value: Value, letter: str = "") -> str:
    """A value as `print` and `display` show it."""
    if is_flags(value) and not letter:
        return flag_text(value.integer())
    if isinstance(value.type, c.Typedef) and value.type.name.startswith("<text"):
        address = value.integer()
        return f"{{{value.type.name}}} {session.names.printer.address(address)}"
    if isinstance(value.type, c.Unknown):
        name = session.program.symbol(value.address or 0).strip("<>")
        raise DebugError(f"'{name}' has unknown type; cast it to its declared type")
    return session.names.printer.show(value, letter)


@commands.add("print", "p", "inspect", section="data")
def print_(session: Session, text: str) -> None:
    """Print value of expression EXP.

    Usage: print [/FMT] [EXP]
    EXP is C, with $REGISTER, $VARIABLE, $NUMBER of the value history, ARRAY@LENGTH and {TYPE} ADDRESS.
    FMT is o, x, d, u, t, f, a, c, s or z.
    """
    form, text = split_format(text)
    letter = _print_format(form).letter
    value = session.names.evaluate(text) if text else session.names.dollar("")
    assert value is not None
    if isinstance(value.bare, c.Void):
        session.write(f"${len(session.names.history) + 1} = void")  # which is not kept
        return
    shown_text = value_text(session, value, letter)
    session.write(f"${session.names.record(value)} = {shown_text}")


@commands.add("call", section="data")
def call(session: Session, text: str) -> None:
    """Call a function of the machine and print what it returns, if it returns something.

    Usage: call [/FMT] EXP
    """
    form, text = split_format(text)
    value = session.names.evaluate(text)
    if not isinstance(value.bare, c.Void):
        letter = _print_format(form).letter
        shown_text = value_text(session, value, letter)
        session.write(f"${session.names.record(value)} = {shown_text}")


@commands.add("output", section="data")
def output(session: Session, text: str) -> None:
    """Like "print" but don't put in value history.

    Usage: output [/FMT] EXP
    """
    form, text = split_format(text)
    session.write(value_text(session, session.names.evaluate(text), _print_format(form).letter))


@commands.add("x", section="data", repeats=True)
def x(session: Session, text: str) -> None:
    """Examine memory: x/FMT ADDRESS.

    ADDRESS is an expression for the memory address to examine.
    FMT is a repeat count followed by a format letter and a size letter.
    Format letters are o(octal), x(hex), d(decimal), u(unsigned decimal), t(binary), f(float), a(address),
    i(instruction), c(char), s(string) and z(hex, zero padded on the left).
    Size letters are b(byte), h(halfword), w(word), g(giant, 8 bytes).
    """
    form, text = split_format(text)
    examiner = session.examiner
    chosen = examiner.choose(parse_format(form))
    address = examiner.next
    if text:
        address = address_of(session.names.evaluate(text))
    elif address is None:
        raise DebugError("Argument required (starting display address).")
    assert address is not None
    for line in examiner.show(address, chosen, session.pc):
        session.write(line)
    kind = {1: "signed char", 2: "short", 4: "int", 8: "long"}[chosen.size]
    memory = session.names.memory
    element = c.Integer(kind, chosen.size, signed=True)
    session.names.convenience["_"] = Value.of(c.UNSIGNED_LONG, examiner.last)
    session.names.convenience["__"] = Value(element, address=examiner.last, memory=memory)


def address_of(value: Value) -> int:
    """The address that a value means to `x`: its own for an lvalue that is an array or function."""
    if isinstance(value.bare, (c.Aggregate,)) and value.address is not None:
        return value.address
    return value.integer() & (1 << 64) - 1


@commands.add("display", section="data")
def display(session: Session, text: str) -> None:
    """Print value of expression EXP each time the program stops.

    Usage: display [/FMT] [EXP]
    /FMT as in "print", or as in "x" for i and s. Without EXP, display all now.
    """
    if not text:
        show_displays(session)
        return
    form, expression = split_format(text)
    parse(expression, session.names.evaluator.type_named)
    if form:
        parse_format(form)
    number = max(session.displays, default=0) + 1
    session.displays[number] = form, expression
    if session.frames:
        session.write(_display_text(session, number))


def show_displays(session: Session) -> None:
    """After a stop: all expressions that are displayed."""
    for number in session.displays:
        try:
            session.write(_display_text(session, number))
        except DebugError:
            continue  # out of scope here


def _display_text(session: Session, number: int) -> str:
    form, expression = session.displays[number]
    parsed = parse_format(form)
    if (parsed.letter in "is" and parsed.letter) or parsed.size or parsed.times != 1:
        address = address_of(session.names.evaluate(expression))
        chosen = session.examiner.choose(parsed)
        lines = session.examiner.show(address, chosen, session.pc)
        return "\n".join([f"{number}: x/{form} {expression}", *lines])
    value = session.names.evaluate(expression)
    shown_form = f"/{form} " if form else ""
    return f"{number}: {shown_form}{expression} = {value_text(session, value, parsed.letter)}"


@commands.add("undisplay", section="data")
def undisplay(session: Session, text: str) -> None:
    """Cancel some expressions to be displayed when program stops.

    Usage: undisplay [NUM]...
    """
    if not text:
        session.displays.clear()
    for word in text.split():
        if not word.isdigit():
            raise DebugError("Arguments must be display numbers.")
        if session.displays.pop(int(word), None) is None:
            raise DebugError(f"No display number {word}.")


@commands.add("whatis", section="data")
def whatis(session: Session, text: str) -> None:
    """Print data type of expression EXP.

    Usage: whatis EXP
    """
    session.write(f"type = {_type_of(session, text, once=True)}")


@commands.add("ptype", "pt", section="data")
def ptype(session: Session, text: str) -> None:
    """Print definition of type TYPE.

    Usage: ptype TYPE | EXPRESSION
    """
    if not text:
        raise DebugError("The history is empty.")
    kind = _type_of(session, text)
    if isinstance(kind.bare, c.Aggregate) and not kind.bare.complete:
        kind = session.names.evaluator.complete(kind)
    session.write(f"type = {c.definition(kind)}")


def _type_of(session: Session, text: str, *, once: bool = False) -> c.CType:
    names = session.names
    kind = parse_type(text, names.evaluator.type_named)
    if kind is None:
        return names.evaluate(text).type
    return kind.target if once and isinstance(kind, c.Typedef) else kind


@commands.add("set", section="data")
def set_(session: Session, text: str) -> None:
    """Evaluate expression EXP and assign result to variable VAR, or change a setting.

    Usage: set [var] VAR = EXP
    Settings: set print pretty on|off, set print elements N, set listsize N, set disassembly-flavor att|intel,
    set confirm on|off, set pagination on|off, set width N.
    """
    from kmod_emu.debug.terminal.settings import change

    words = text.split(None, 1)
    if not words:
        raise DebugError("Argument required (expression to compute).")
    if words[0] in ("var", "variable"):
        text = words[1] if len(words) > 1 else ""
    elif change(session, text):
        return
    session.names.evaluate(text)
    level = session.selected
    session.moved()
    if level < len(session.frames):
        session.select(level)


@commands.add("printf", section="data")
def printf(session: Session, text: str) -> None:
    r"""Formatted printing, like the C "printf" function.

    Usage: printf "format string", ARG1, ARG2, ARG3, ..., ARGN
    """
    if not text.startswith('"'):
        raise DebugError("Bad format string")
    node = parse(text, session.names.evaluator.type_named)
    parts: list[Value] = []
    while node.op == ",":
        node, part = node.parts
        parts.insert(0, session.names.evaluator.value(part))
    if node.op != "string":
        raise DebugError("Bad format string")
    session.put(_formatted(session, node.data.decode("latin-1"), parts))


def _formatted(session: Session, template: str, values: list[Value]) -> str:
    wanted = [match for match in _CONVERSION.finditer(template) if match.group() != "%%"]
    if len(wanted) != len(values):
        raise DebugError("Wrong number of arguments for specified format-string")
    left = iter(values)

    def convert(match: re.Match[str]) -> str:
        flags, letter = match.groups()
        if match.group() == "%%":
            return "%"
        value = next(left)
        if letter == "s":
            data = value.content if isinstance(value.bare, c.Array) else _c_string(session, value.integer())
            return f"%{flags}s" % data.partition(b"\0")[0].decode("utf-8", "backslashreplace")
        if letter in "feg":
            return f"%{flags}{letter}" % float(value.number())
        number = value.integer()
        if letter == "c":
            return chr(number & 0xFF)
        if letter == "p":
            return f"{number & (1 << 64) - 1:#x}"
        if letter in "ouxX":
            number &= (1 << 8 * value.type.size) - 1
        return f"%{flags}{'d' if letter in 'iu' else letter}" % number

    return _CONVERSION.sub(convert, template)


def _c_string(session: Session, address: int) -> bytes:
    data = b""
    while b"\0" not in data and len(data) < 4096:
        data += Value(c.CHAR, address=address + len(data), memory=session.names.memory).content
    return data


@commands.add("echo", section="support")
def echo(session: Session, text: str) -> None:
    r"""Print a constant string.  Give string as argument.

    C escape sequences may be used in the argument.
    """
    from kmod_emu.debug.c.lexer import unescape

    session.put(unescape(text).decode("utf-8", "backslashreplace"))


@commands.add("disassemble", "disas", section="data")
def disassemble(session: Session, text: str) -> None:
    """Disassemble a specified section of memory.

    Usage: disassemble [/r] [/s] [ADDRESS | START,END | START,+LENGTH]
    Default is the function surrounding the pc of the selected frame.
    /r shows the bytes, /s the source lines.
    """
    from kmod_emu.debug.terminal.listing import disassembly

    modifiers = set()
    while text.startswith("/"):
        word, _, text = text[1:].partition(" ")
        if not set(word) <= set("rsm"):
            raise DebugError("Invalid disassembly modifier.")
        modifiers |= set(word)
        text = text.strip()
    for line in disassembly(session, text, modifiers):
        session.write(line)

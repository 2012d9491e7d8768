"""What `set` and `show` know."""

from __future__ import annotations

from typing import TYPE_CHECKING

from kmod_emu.debug.c.values import DebugError
from kmod_emu.debug.terminal.table import commands

if TYPE_CHECKING:
    from kmod_emu.debug.terminal.session import Session

_SWITCHES = ("confirm", "pagination")
_NUMBERS = ("listsize", "width", "height")


def change(session: Session, text: str) -> bool:
    """Change a setting; False if the text names none."""
    words = text.replace("=", " = ").split()
    if len(words) > 1 and words[1] == "=":
        return False
    name, values = words[0], words[1:]
    if name in ("print", "p", "pr") and values:
        _print(session, values)
    elif name == "disassembly-flavor":
        if values not in (["att"], ["intel"]):
            raise DebugError(f'Undefined item: "{" ".join(values)}".')
        session.examiner.intel = values == ["intel"]
    elif name in _SWITCHES:
        session.settings[name] = _switch(values)
    elif name in _NUMBERS:
        session.settings[name] = _number(values)
    elif name == "breakpoint" and values[:1] == ["pending"]:
        session.settings["pending"] = _switch(values[1:])
    elif name not in ("style", "logging", "history", "disassemble-next-line", "startup-with-shell"):
        return False
    return True


def _print(session: Session, words: list[str]) -> None:
    printer = session.names.printer
    if words[0] in ("pretty", "pre"):
        printer.pretty = _switch(words[1:])
    elif words[0] in ("elements", "el"):
        printer.elements = _number(words[1:]) or 1 << 30
    elif words[0] in ("repeats", "rep"):
        printer.repeats = _number(words[1:]) or 1 << 30
    elif words[0] == "max-depth":
        printer.depth = _number(words[1:])
    elif words[0] not in (
        "symbol",
        "address",
        "union",
        "array",
        "frame-arguments",
        "object",
        "static-members",
    ):
        raise DebugError(f'Undefined set print command: "{" ".join(words)}".  Try "help set".')


def _switch(words: list[str]) -> bool:
    word = words[0] if words else "on"
    if word in ("on", "1", "yes", "enable"):
        return True
    if word in ("off", "0", "no", "disable"):
        return False
    raise DebugError('"on" or "off" expected.')


def _number(words: list[str]) -> int:
    if words in (["unlimited"], ["0"]):
        return 0
    if len(words) != 1 or not words[0].isdigit():
        raise DebugError('Argument required (integer to set it to, or "unlimited".).')
    return int(words[0])


@commands.add("show", section="status")
def show(session: Session, text: str) -> None:
    """Show a setting, or the value history.

    Usage: show listsize | confirm | pagination | disassembly-flavor | print | values | convenience | version
    """
    name = text.strip()
    if name == "values":
        from kmod_emu.debug.terminal.data import value_text

        for number, value in enumerate(session.names.history[-10:], max(len(session.names.history) - 9, 1)):
            session.write(f"${number} = {value_text(session, value)}")
    elif name == "version":
        from kmod_emu import __version__

        session.write(f"kmod-emu {__version__}")
    elif name == "disassembly-flavor":
        flavour = "intel" if session.examiner.intel else "att"
        session.write(f'The disassembly flavor is "{flavour}".')
    elif name in session.settings:
        session.write(f"{name} is {session.settings[name]}.")
    elif name == "print":
        printer = session.names.printer
        session.write(f"elements: {printer.elements}, pretty: {'on' if printer.pretty else 'off'}")
    else:
        raise DebugError(f'Undefined show command: "{name}".  Try "help show".')

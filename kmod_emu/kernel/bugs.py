"""Bug tables: which instruction is a BUG or WARN, and what the source said (lib/bug.c, asm/bug.h)."""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING, NamedTuple

from kmod_emu.kernel.vsprintf import RegisterArguments, vsnprintf
from kmod_emu.machine.memory import PageFault

if TYPE_CHECKING:
    from collections.abc import Iterable

    from kmod_emu.kernel.kernel import KernelCore

BUGFLAG_WARNING, BUGFLAG_ONCE, BUGFLAG_DONE, BUGFLAG_NO_CUT_HERE = 1, 2, 4, 8
_MASK64 = (1 << 64) - 1
_UD2 = b"\x0f\x0b"
_DISTANCE = struct.Struct("<i")
# What calls of the static call WARN_trap become: ud1 (%edx),%rdi, where RDI points to the bug entry.
WARN_TRAP_CODE = b"\x67\x48\x0f\xb9\x3a"


class WildText(Exception):
    """A record's file name or format lies where nothing can be read.

    Args:
        fault: Of reading it.
    """

    def __init__(self, fault: PageFault) -> None:
        super().__init__(str(fault))
        self.fault = fault


class BugEntry(NamedTuple):
    """One record of a __bug_table: where, and what the source said.

    Attributes:
        next: Where code goes on after a warning.
        text: What the warning says, where the record or its user has that.
    """

    address: int
    file: str
    line: int
    flags: int
    flags_address: int
    next: int
    text: str = ""


def find(kernel: KernelCore, rip: int, tables: Iterable[tuple[int, int]]) -> BugEntry | None:
    """The record of the instruction at `rip`, or None.

    Args:
        kernel: The machine.
        rip: Where an invalid instruction was met.
        tables: (address, size) of the modules' tables.

    Raises:
        PageFault: A table cannot be read.
        WildText: A record is there, but its text cannot be read.
    """
    if _code(kernel, rip, len(WARN_TRAP_CODE)) == WARN_TRAP_CODE:
        bug = _entry(kernel, kernel.cpu.read("rdi"), rip)._replace(next=rip + len(WARN_TRAP_CODE))
        return bug._replace(text=_warn_text(kernel, bug.text))
    if _code(kernel, rip, len(_UD2)) != _UD2:
        return None
    layout = kernel.profile.struct("bug_entry")
    for start, length in tables:
        table = kernel.memory.read(start, -(-length // layout.size) * layout.size)
        for place in range(0, len(table), layout.size):
            (distance,) = _DISTANCE.unpack_from(table, place + layout.offset("bug_addr_disp"))
            if start + place + distance == rip:
                return _entry(kernel, start + place, rip)
    return None


def _entry(kernel: KernelCore, entry: int, rip: int) -> BugEntry:
    view = kernel.view("bug_entry", entry)

    def text(pointer: str) -> str:
        # In the days of handlers by address, both pointers counted from the start of the record.
        old = kernel.profile.has("exception_table_entry.handler")
        place = (entry if old else view.addressof(pointer)) + view.signed(pointer) & _MASK64
        try:
            return kernel.memory.read_cstring(place).decode("utf-8", "replace")
        except PageFault as fault:
            raise WildText(fault) from None

    form = text("format_disp") if view.has("format_disp") and view.format_disp else ""
    behind = rip + len(_UD2)
    return BugEntry(rip, text("file_disp"), view.line, view.flags, view.addressof("flags"), behind, form)


def _warn_text(kernel: KernelCore, form: str) -> str:
    """A warning's text from its format and the registers, whose first holds the record."""
    registers = [kernel.cpu.read(name) for name in ("rsi", "rdx", "rcx", "r8", "r9")]
    arguments = RegisterArguments(registers, kernel.memory, kernel.cpu.read("rsp"))
    return vsnprintf(form.encode(), arguments, kernel.format_context).decode("utf-8", "replace")


def _code(kernel: KernelCore, address: int, size: int) -> bytes:
    try:
        return kernel.memory.read(address, size)
    except PageFault:
        return b""

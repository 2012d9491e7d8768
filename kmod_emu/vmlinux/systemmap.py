"""System.map, the list of symbols that a kernel's build leaves, for a kernel that has none itself.

Distributions ship files of that name that only say where the real one is: those hold no symbols.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from kmod_emu.vmlinux.kallsyms import Kallsyms

if TYPE_CHECKING:
    from pathlib import Path

_LINE = re.compile(rb"([0-9a-f]{8,16}) ([A-Za-z]) (\S+)")
_FEWEST = 1 << 8
_PREFIX = "vmlinuz"


def parse(contents: bytes) -> Kallsyms | None:
    """The symbols in a file's contents; None if they are none of a kernel."""
    lines = [match.groups() for line in contents.splitlines() if (match := _LINE.fullmatch(line))]
    if len(lines) < _FEWEST:
        return None
    found = sorted((int(address, 16), kind + name) for address, kind, name in lines)
    return Kallsyms("System.map", [address for address, _ in found], [name for _, name in found])


def beside(image: Path) -> Kallsyms | None:
    """The symbols of a kernel by the file that lies beside it: `System.map-RELEASE`, or `System.map`."""
    for name in (f"System.map{image.name.removeprefix(_PREFIX)}", "System.map"):
        try:
            if found := parse((image.parent / name).read_bytes()):
                return found
        except OSError:
            continue
    return None

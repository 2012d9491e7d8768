"""The kernel's table of exports: names, addresses, licences, namespaces and CRCs.

Up to 6.x there are two tables, __ksymtab and __ksymtab_gpl, with CRCs in __kcrctab and __kcrctab_gpl; in 7.x
one, and __kflagstab says of each symbol who may use it. An entry holds three 32-bit distances, each from its
own place (include/linux/export.h); the third, the namespace, is absent before 5.4.
"""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING

from kmod_emu.abi.profile import Export

if TYPE_CHECKING:
    from collections.abc import Iterator

    from kmod_emu.vmlinux.vmlinux import Vmlinux

__all__ = ["exports", "move"]

_TABLES = (("", False), ("_gpl", True))
_FLAG_GPL = 1
_MASK64 = (1 << 64) - 1


def exports(kernel: Vmlinux, entry_size: int = 12) -> list[Export]:
    """All exports, sorted by name; none where the kernel has no table.

    Args:
        kernel: The vmlinux.
        entry_size: sizeof(struct kernel_symbol) in this kernel.
    """
    found: dict[str, Export] = {}
    for suffix, gpl in _TABLES:
        for _, export in _table(kernel, suffix, gpl, entry_size):
            found.setdefault(export.name, export)
    return [found[name] for name in sorted(found)]


def move(kernel: Vmlinux, name: str, address: int, entry_size: int = 12) -> tuple[int, bytes]:
    """Where what has to be written for modules to find an export elsewhere; LookupError if there is none."""
    for suffix, gpl in _TABLES:
        for place, export in _table(kernel, suffix, gpl, entry_size):
            if export.name == name:
                return place, struct.pack("<i", address - place)
    raise LookupError(f"the kernel does not export {name}")


def _table(kernel: Vmlinux, suffix: str, gpl: bool, entry_size: int) -> Iterator[tuple[int, Export]]:
    """Each entry with its address."""
    section = kernel.section(f"__ksymtab{suffix}")
    if section is None or entry_size not in (8, 12):
        return
    table = kernel.contents(section.name)
    crcs = kernel.contents(f"__kcrctab{suffix}")
    flags = kernel.contents(f"__kflagstab{suffix}")
    strings = kernel.contents("__ksymtab_strings")
    strings_section = kernel.section("__ksymtab_strings")
    base = strings_section.address if strings_section else 0
    for index in range(len(table) // entry_size):
        at = index * entry_size
        address = section.address + at
        value, name = struct.unpack_from("<ii", table, at)
        namespace = struct.unpack_from("<i", table, at + 8)[0] if entry_size == 12 else 0
        yield (
            address,
            Export(
                _text(strings, address + 4 + name - base),
                struct.unpack_from("<I", crcs, 4 * index)[0] if 4 * index + 4 <= len(crcs) else None,
                bool(flags[index] & _FLAG_GPL) if index < len(flags) else gpl,
                _text(strings, address + 8 + namespace - base) if namespace else "",
                (address + value) & _MASK64,
            ),
        )


def _text(strings: bytes, offset: int) -> str:
    if not 0 <= offset < len(strings):
        return ""
    return strings[offset : strings.find(b"\0", offset)].decode("latin-1")

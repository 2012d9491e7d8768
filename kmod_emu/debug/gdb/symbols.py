"""What gdb is given to read symbols from: the modules' files with where each section is, and the exports.

A module's file goes to gdb as it is. `qXfer:libraries` says the address of each of its sections, and gdb
relocates symbols and debug information itself, as it does for any relocatable object. The base kernel's
exports are an ELF file made here, with symbols only.
"""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING, NamedTuple
from xml.sax.saxutils import quoteattr

from kmod_emu.kernel import layout
from kmod_emu.machine.traps import SLOT_SIZE
from kmod_emu.module.modules import Modules, ModuleState

if TYPE_CHECKING:
    from kmod_emu.api import Kernel
    from kmod_emu.module.modules import Module

_FOLDER = "/kmod-emu"
KERNEL_FILE = f"{_FOLDER}/vmlinux"
_EHDR = struct.Struct("<16sHHIQQQIHHHHHH")
_SHDR = struct.Struct("<IIQQQQIIQQ")
_SYM = struct.Struct("<IBBHQQ")
_SHF_ALLOC, _SHF_EXECINSTR = 2, 4
_NOBITS, _PROGBITS, _SYMTAB, _STRTAB = 8, 1, 2, 3
_NOWHERE = 0xFFFF_FFFE_0000_0000  # where no memory ever is: for sections that are not kept, as .modinfo
_FUNCTION, _OBJECT, _ET_EXEC, _X86_64 = 1 << 4 | 2, 1 << 4 | 1, 2, 62


class AllocatedSection(NamedTuple):
    """A section that takes memory, in the file's order."""

    name: str
    size: int


def module_path(module: Module) -> str:
    """What gdb calls a module's file."""
    return f"{_FOLDER}/{module.name}.ko"


def listed(kernel: Kernel) -> list[Module]:
    """Modules whose symbols gdb can have, oldest first."""
    modules = kernel[Modules]
    return [m for m in reversed(list(modules)) if m.file and m.state is not ModuleState.UNFORMED]


def libraries_xml(kernel: Kernel) -> bytes:
    """The list of modules, for `qXfer:libraries:read`."""
    entries = []
    for module in listed(kernel):
        places, nowhere = {name: address for name, address, _ in module.sections}, _NOWHERE
        sections = ""
        for section in allocated_sections(module.file):
            address = places.get(section.name, module.base if not section.size else nowhere)
            nowhere += section.size if address == nowhere else 0
            sections += f'<section address="{address:#x}"/>'
        entries.append(f"<library name={quoteattr(module_path(module))}>{sections}</library>\n")
    return f'<library-list version="1.0">\n{"".join(entries)}</library-list>\n'.encode()


def allocated_sections(image: bytes) -> list[AllocatedSection]:
    """Sections of an ELF file with SHF_ALLOC; gdb wants an address for each."""
    header = _EHDR.unpack_from(image)
    offset, size, count, strings = header[6], header[11], header[12], header[13]
    rows = [_SHDR.unpack_from(image, offset + size * index) for index in range(count)]
    names = rows[strings][4]
    found = []
    for name, kind, flags, _, _, length, *_ in rows:
        if kind and flags & _SHF_ALLOC:
            start = names + name
            found.append(AllocatedSection(image[start : image.index(b"\0", start)].decode(), length))
    return found


def files(kernel: Kernel) -> dict[str, bytes]:
    """Files that gdb may open, by path."""
    found = {module_path(module): module.file for module in listed(kernel)}
    return found | {KERNEL_FILE: kernel_file(kernel)}


def kernel_file(kernel: Kernel) -> bytes:
    """An ELF file with the base kernel's symbols, at their addresses.

    Functions that gdb calls return to its entry.
    """
    names, table = bytearray(b"\0"), bytearray(_SYM.size)
    start, end = layout.START_KERNEL_MAP, layout.START_KERNEL_MAP + layout.KERNEL_SIZE
    symbols = [item for item in kernel.symbols.listing() if start <= item[0] < end]
    ours = (layout.TRAP_BASE, "kmod_emu_trap"), (kernel.traps.return_address, "kmod_emu_return")
    for address, letter, name in [*symbols, *((address, "t", name) for address, name in ours)]:
        table += _SYM.pack(len(names), _FUNCTION if letter in "tTwW" else _OBJECT, 0, 1, address, 0)
        names += name.encode() + b"\0"
    section_names = b"\0.text\0.symtab\0.strtab\0.shstrtab\0.debug_frame\0"
    flags = _SHF_ALLOC | _SHF_EXECINSTR
    sections = [bytes(_SHDR.size), _SHDR.pack(1, _NOBITS, flags, start, 0, end - start, 0, 0, 4096, 0)]
    frames, place = _debug_frame(kernel.traps.return_address), _EHDR.size
    for name_at, kind, data, link, entry in (
        (7, _SYMTAB, table, 3, _SYM.size),
        (15, _STRTAB, names, 0, 0),
        (23, _STRTAB, section_names, 0, 0),
        (33, _PROGBITS, frames, 0, 0),
    ):
        sections.append(_SHDR.pack(name_at, kind, 0, 0, place, len(data), link, bool(entry), 1, entry))
        place += len(data)
    ident = b"\x7fELF\2\1\1".ljust(16, b"\0")
    head = _EHDR.pack(
        ident,
        _ET_EXEC,
        _X86_64,
        1,
        kernel.traps.spare_code,
        0,
        place,
        0,
        _EHDR.size,
        0,
        0,
        _SHDR.size,
        len(sections),
        4,
    )
    return head + bytes(table) + bytes(names) + section_names + frames + b"".join(sections)


def _debug_frame(outermost: int) -> bytes:
    """Call frames of the traps: the return address is on top of the stack; nobody called the outermost."""
    cie = _cfi(
        0xFFFF_FFFF, b"\4\0\x08\0\1\x78\x10" + b"\x0c\7\x08" + b"\x90\1"
    )  # CFA: rsp + 8; rip at CFA - 8
    first, behind = (
        outermost - 1,
        outermost + SLOT_SIZE,
    )  # a caller is looked up by the byte before its address
    ranges = (
        (layout.TRAP_BASE, first, b""),
        (first, behind, b"\7\x10"),  # rip is undefined
        (behind, layout.TRAP_BASE + layout.TRAP_SPACE, b""),
    )
    return cie + b"".join(
        _cfi(0, struct.pack("<QQ", start, end - start) + instructions) for start, end, instructions in ranges
    )


def _cfi(identity: int, contents: bytes) -> bytes:
    """An entry of .debug_frame: a CIE, or an FDE of the CIE at the given offset."""
    contents += b"\0" * (-(len(contents) + 8) % 8)  # DW_CFA_nop
    return struct.pack("<II", len(contents) + 4, identity) + contents

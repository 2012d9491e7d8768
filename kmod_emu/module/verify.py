"""Verification of the ELF image (kernel/module/main.c: elf_validity_check, setup_load_info).

The image is untrusted. Every check is the kernel's, in its order, with its message; what the kernel does not
check here it does not check, and later steps must expect anything.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from kmod_emu.module import elf
from kmod_emu.module.errors import LoadError, OutsideImage
from kmod_emu.module.version import read_extended
from kmod_emu.uapi import errno

if TYPE_CHECKING:
    from kmod_emu.abi.profile import Profile
    from kmod_emu.module.elf import Image, Section
    from kmod_emu.module.traits import Traits

_KERN_ERR, _KERN_WARNING = 3, 4
_NO_NAME = "(missing .modinfo section or name field)"
_THIS_MODULE = ".gnu.linkonce.this_module"


def _refuse(message: str, level: int = _KERN_ERR) -> LoadError:
    return LoadError(errno.ENOEXEC, "", (level, message))


def elf_validity_check(blob: bytes, traits: Traits) -> Image:
    """All checks of the ELF header and the section headers, in the kernel's order.

    Raises:
        LoadError: ENOEXEC with the kernel's message.
    """
    if not traits.silent:
        return _check(blob, traits)
    try:
        return _check(blob, traits)
    except LoadError as error:
        # The checks of one section always had their message, the others only share one.
        told = [line for line in error.dmesg if " in module (section " in line[1]]
        raise LoadError(
            errno.ENOEXEC, error.explanation, *told, (_KERN_ERR, "Module has invalid ELF structures")
        ) from None


def _check(blob: bytes, traits: Traits) -> Image:
    header, sections = _check_headers(blob)
    index, count = header.shstrndx, header.shnum
    if traits.indexed:
        _check_first(sections[0])
        for section in sections[1:]:
            if section.type not in (elf.SHT_NULL, elf.SHT_NOBITS):
                _check_inside(blob, section)
    if not 0 < index < count:
        raise _refuse(f"Invalid ELF section name index: {index} || e_shstrndx ({index}) >= e_shnum ({count})")
    _check_section_names(blob, sections[index], traits)
    if traits.indexed:
        for section in sections:
            if section.type != elf.SHT_NULL:
                _check_name(section, sections[index].size)
    else:
        _check_first(sections[0])
        for section in sections[1:]:
            _check_section(blob, section, count, sections[index].size)
    return elf.Image(blob, header.type, header.machine, sections, index)


def _check_headers(blob: bytes) -> tuple[elf.Header, list[Section]]:
    if len(blob) < elf.EHDR_SIZE:
        raise _refuse(f"Invalid ELF header len {len(blob)}")
    header = elf.Header.read(blob)
    if header.ident[:4] != b"\x7fELF":
        raise _refuse("Invalid ELF header magic: != \x7fELF")
    if header.type != elf.ET_REL:
        raise _refuse(f"Invalid ELF header type: {header.type} != {elf.ET_REL}")
    if header.machine != elf.EM_X86_64:
        raise _refuse(f"Invalid architecture in ELF header: {header.machine}")
    if header.shentsize != elf.SHDR_SIZE:
        raise _refuse("Invalid ELF section header size")
    if header.shoff >= len(blob) or header.shnum * elf.SHDR_SIZE > len(blob) - header.shoff:
        raise _refuse("Invalid ELF section header overflow")
    return header, elf.read_sections(blob, header)


def _outside(blob: bytes, section: Section) -> bool:
    """validate_section_offset()."""
    return section.offset + section.size >= 1 << 64 or section.offset + section.size > len(blob)


def _check_section_names(blob: bytes, names: Section, traits: Traits) -> None:
    if traits.flagged and names.type != elf.SHT_STRTAB:
        raise _refuse(f"Invalid ELF section name table type: {names.type}")
    if not traits.indexed and _outside(blob, names):
        raise _refuse(f"Invalid ELF section hdr(type {names.type})")
    if not names.size and not traits.silent:
        raise _refuse("empty section name table")
    last = names.offset + names.size - 1
    if not 0 <= last < len(blob):  # a table that is not checked itself: of no bytes, or of a type without any
        raise OutsideImage(last, "the section name table is not in the file")
    if blob[last]:
        raise _refuse("ELF Spec violation: section name table isn't null terminated")


def _check_first(first: Section) -> None:
    if first.type != elf.SHT_NULL or first.size or first.address:
        type_ = _signed(first.type)
        raise _refuse(f"ELF Spec violation: section 0 type({type_})!=SH_NULL or non-zero len or addr")


def _check_section(blob: bytes, section: Section, count: int, names_size: int) -> None:
    if section.type in (elf.SHT_NULL, elf.SHT_NOBITS):
        return
    if section.type == elf.SHT_SYMTAB:
        _check_link(section, count)
    _check_inside(blob, section)
    if section.flags & elf.SHF_ALLOC:
        _check_name(section, names_size)


def _check_link(section: Section, count: int) -> None:
    if not 0 < section.link < count:
        link = _signed(section.link)
        raise _refuse(f"Invalid ELF sh_link!=SHN_UNDEF({link}) or (sh_link({link}) >= hdr->e_shnum({count})")


def _check_inside(blob: bytes, section: Section) -> None:
    if _outside(blob, section):
        raise _refuse(f"Invalid ELF section in module (section {section.index} type {section.type})")


def _check_name(section: Section, names_size: int) -> None:
    if section.name_offset >= names_size:
        raise _refuse(f"Invalid ELF section name in module (section {section.index} type {section.type})")


def _signed(value: int) -> int:
    return value - (1 << 32) if value >> 31 else value


# --- the sections that every module has --------------------------------------------------------------


def setup_load_info(image: Image, profile: Profile, traits: Traits) -> None:
    """Find the sections that every module must have.

    Args:
        image: A verified image; its indices and its name are filled in.
        profile: Says what `struct module` looks like.
        traits: Of the release.

    Raises:
        LoadError: ENOEXEC.
        KernelWouldCrash: `struct module` has no contents to read a name from.
    """
    if traits.indexed:
        name = _find_modinfo(image, image.find_all(".modinfo"))
        image.this_module = _this_module(image, name, profile, "Exactly", image.find_all(_THIS_MODULE))
        image.symtab = _only_symtab(image, name)
        image.strtab = _string_table(image, traits)
    elif traits.early:
        name = _find_modinfo(image, _with_contents(image, ".modinfo"))
        image.symtab = _only_symtab(image, name)
        image.strtab = image.sections[image.symtab].link
        image.this_module = _this_module(image, name, profile, "Only", _with_contents(image, _THIS_MODULE))
    else:
        name = _find_modinfo(image, [image.find(".modinfo")])
        image.symtab = next((s.index for s in image.sections[1:] if s.type == elf.SHT_SYMTAB), 0)
        if not image.symtab:
            raise _refuse(f"{name or _NO_NAME}: module has no symbols (stripped?)", _KERN_WARNING)
        image.strtab = image.sections[image.symtab].link
        image.this_module = image.find(_THIS_MODULE)
        if not image.this_module:
            raise _refuse(f"{name or _NO_NAME}: No module found in object", _KERN_WARNING)
    image.load_symbols()
    if traits.indexed:
        image.version_ext_crcs, image.version_ext_names = _extended_versions(image)
        _check_strings(image)
    image.name = _name_in_struct(image, profile.offset("module", "name")) if name is None else name
    image.versions = image.find("__versions")
    image.percpu = image.find(".data..percpu")


def _find_modinfo(image: Image, found: list[int]) -> str | None:
    """Note the section; the name it gives."""
    if len(found) > 1:
        raise _refuse("Only one .modinfo section must exist.")
    image.modinfo = found[0] if found else 0
    return next((value for tag, value in image.modinfo_tags() if tag == "name"), None)


def _with_contents(image: Image, name: str) -> list[int]:
    """Sections of a name that have contents in the file."""
    return [i for i in image.find_all(name) if image.sections[i].type not in (elf.SHT_NULL, elf.SHT_NOBITS)]


def _only_symtab(image: Image, name: str | None) -> int:
    tables = [section.index for section in image.sections[1:] if section.type == elf.SHT_SYMTAB]
    if len(tables) != 1:
        raise _refuse(f"{name or _NO_NAME}: module has no symbols (stripped?)", _KERN_WARNING)
    return tables[0]


def _this_module(image: Image, name: str | None, profile: Profile, how_many: str, found: list[int]) -> int:
    """The one section of `struct module`, which must be as large as this kernel's."""
    label = f"module {name or _NO_NAME}:"
    if len(found) != 1:
        raise _refuse(f"{label} {how_many} one {_THIS_MODULE} section must exist.")
    section = image.sections[found[0]]
    if section.type == elf.SHT_NOBITS:
        raise _refuse(f"{label} {_THIS_MODULE} section must have a size set")
    if not section.allocated:
        raise _refuse(f"{label} {_THIS_MODULE} must occupy memory during process execution")
    if section.size != profile.struct("module").size:
        match = "section size must match the kernel's built struct module size at run time"
        raise _refuse(f"{label} {_THIS_MODULE} {match}")
    return section.index


def _string_table(image: Image, traits: Traits) -> int:
    table = image.sections[image.symtab]
    _check_link(table, len(image.sections))
    strings = image.sections[table.link]
    if traits.flagged and strings.type != elf.SHT_STRTAB:
        raise _refuse(f"Invalid ELF symbol string table type: {strings.type}")
    return strings.index


def _extended_versions(image: Image) -> tuple[int, int]:
    """Indices of the tables of CRCs and of names, which must have as many."""
    crcs, names = image.find("__version_ext_crcs"), image.find("__version_ext_names")
    if bool(crcs) != bool(names):
        raise _refuse("extended version crc+name presence does not match")
    if crcs:
        pairs = read_extended(image.raw(image.sections[crcs]), image.raw(image.sections[names]))
        if len(pairs) < image.sections[crcs].size // 4:
            raise _refuse("more extended version crcs than names")
    return crcs, names


def _check_strings(image: Image) -> None:
    """elf_validity_cache_strtab()."""
    strings = image.sections[image.strtab]
    raw = image.raw(strings)
    if not strings.size:
        raise _refuse("empty symbol string table")
    if not raw:
        raise OutsideImage(strings.offset, "the string table is not in the file")
    if raw[0]:
        raise _refuse("symbol string table missing leading NUL")
    if raw[-1]:
        raise _refuse("symbol string table isn't NUL terminated")
    if any(symbol.name_offset >= strings.size for symbol in image.symbols):
        raise _refuse("symbol name out of bounds in string table")


def _name_in_struct(image: Image, offset: int) -> str:
    start = image.sections[image.this_module].offset + offset
    if start >= len(image.blob):
        raise OutsideImage(start)
    return elf.cstring(image.blob, start)

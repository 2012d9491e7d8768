"""Modules from scratch, with real code, for any release that has a profile: no compiler needed.

module = Builder("7.2", "tiny")
module.printk(".init.text", "hello\\n")
module.returns(".init.text", 0)
module.entry("init", ".init.text")
blob = module.build()
"""

from __future__ import annotations

import struct
from dataclasses import dataclass, field

from kmod_emu.abi import profile

PROGBITS, SYMTAB, STRTAB, RELA, NOBITS = 1, 2, 3, 4, 8
WRITE, ALLOC, EXEC = 1, 2, 4
R_64, R_PC32, R_PLT32, R_32, R_32S, R_PC64 = 1, 2, 4, 10, 11, 24
GLOBAL, WEAK = 1, 2
COMMON, ABSOLUTE, LIVEPATCH = 0xFFF2, 0xFFF1, 0xFF20
_SHDR = struct.Struct("<IIQQQQIIQQ")


@dataclass
class Section:
    """A section; `relas` are (offset, type, symbol, addend)."""

    name: str
    data: bytearray = field(default_factory=bytearray)
    type: int = PROGBITS
    flags: int = ALLOC
    align: int = 8
    relas: list[tuple[int, int, str, int]] = field(default_factory=list)
    size: int | None = None  # of NOBITS
    link: int = 0
    info: int = 0
    name_offset: int | None = None


class Builder:
    """One module.

    Args:
        release: Which kernel it is for.
        name: Its name.
        modinfo: More `tag=value`, or other values for the usual tags; None leaves a tag out.
    """

    def __init__(self, release: str = "6.1", name: str = "tiny", **modinfo: str | None) -> None:
        self.profile = profile.load(release)
        self.name = name
        self.modinfo: dict[str, str | None] = {
            "license": "GPL", "name": name, "retpoline": "Y", "vermagic": self.profile.vermagic,
        } | modinfo  # fmt: skip
        self.imports_ns: list[str] = []
        self.versions: dict[str, int] | None = {} if self.profile.modversions else None
        self.sections: list[Section] = []
        self.symbols: dict[str, tuple[str | int, int, int]] = {}  # name -> (section or index, value, binding)
        layout = self.profile.struct("module")
        this = self.section(".gnu.linkonce.this_module", bytes(layout.size), flags=ALLOC | WRITE, align=64)
        offset = layout.offset("name")
        this.data[offset : offset + len(name)] = name.encode()
        self.define("__this_module", this.name)

    def section(
        self, name: str, data: bytes = b"", *, type: int = PROGBITS, flags: int = ALLOC, align: int = 8
    ) -> Section:
        """The section of that name, made if there is none."""
        for section in self.sections:
            if section.name == name:
                return section
        section = Section(name, bytearray(data), type, flags, align)
        self.sections.append(section)
        return section

    def define(self, name: str, section: str | int, value: int = 0, binding: int = GLOBAL) -> None:
        """A symbol in a section, or with a section index that stands for none."""
        self.symbols[name] = (section, value, binding)

    def undefined(self, name: str, binding: int = GLOBAL) -> None:
        """A symbol that the kernel is to resolve; its version is the profile's."""
        self.symbols.setdefault(name, (0, 0, binding))
        known = self.profile.exports.get(name)
        if self.versions is not None and known is not None and known.crc is not None:
            self.versions.setdefault(name, known.crc)

    # --- code ---------------------------------------------------------------------------------------

    def code(self, section: str, code: bytes) -> int:
        """Append machine code; where it begins."""
        text = self.section(section, flags=ALLOC | EXEC, align=16)
        start = len(text.data)
        text.data += code
        return start

    def call(self, section: str, function: str) -> None:
        """Call a function."""
        self.undefined(function)
        start = self.code(section, b"\xe8\0\0\0\0")
        self.section(section).relas.append((start + 1, R_PLT32, function, -4))

    def string(self, text: str) -> str:
        """A text in read-only data; the symbol that is its address."""
        strings = self.section(".rodata.str", align=1)
        name = f".LC{len(strings.data)}"
        self.define(name, strings.name, len(strings.data))
        strings.data += text.encode() + b"\0"
        return name

    def printk(self, section: str, text: str) -> None:
        """Print a line."""
        symbol = self.string(text)
        start = self.code(section, b"\x48\xc7\xc7\0\0\0\0\x31\xc0")  # mov $text,%rdi; xor %eax,%eax
        self.section(section).relas.append((start + 3, R_32S, symbol, 0))
        self.call(section, "_printk" if "_printk" in self.profile.exports else "printk")

    def returns(self, section: str, value: int) -> None:
        """Return a number."""
        self.code(section, b"\xb8" + struct.pack("<i", value) + b"\xc3")

    def entry(self, which: str, section: str) -> None:
        """Make the start of a section the module's `init` or `exit`."""
        symbol = {"init": "init_module", "exit": "cleanup_module"}[which]
        self.define(symbol, section)
        this = self.section(".gnu.linkonce.this_module")
        this.relas.append((self.profile.offset("module", which), R_64, symbol, 0))

    def prints(self, init: str, exit: str | None = None, result: int = 0) -> Builder:
        """The usual module: init prints and returns, exit prints."""
        self.printk(".init.text", init)
        self.returns(".init.text", result)
        self.entry("init", ".init.text")
        if exit is not None:
            self.printk(".exit.text", exit)
            self.returns(".exit.text", 0)
            self.entry("exit", ".exit.text")
        return self

    # --- exports ------------------------------------------------------------------------------------

    def export(self, name: str, *, gpl: bool = False, namespace: str = "", crc: int = 0x1234) -> None:
        """Export a symbol, in the tables that this release has; those must end up in order of names."""
        flags = self.profile.has("module.flagstab")
        suffix = "_gpl" if gpl and not flags else ""
        table = self.section(f"__ksymtab{suffix}", align=4)
        entry = len(table.data)
        strings = self.section("__ksymtab_strings", align=1)
        table.data += bytes(12)
        table.relas.append((entry, R_PC32, name, 0))
        for offset, text in ((4, name), (8, namespace)):
            if text:
                symbol = f"__kstrtab{offset}_{name}"
                self.define(symbol, strings.name, len(strings.data))
                strings.data += text.encode() + b"\0"
                table.relas.append((entry + offset, R_PC32, symbol, 0))
        if self.profile.modversions:
            self.section(f"__kcrctab{suffix}", align=4).data += struct.pack("<I", crc)
        if flags:
            self.section("__kflagstab", align=1).data.append(int(gpl))

    def exports_function(self, name: str, **how: bool | str | int) -> Builder:
        """Export a function that returns 0."""
        self.define(name, ".text", self.code(".text", b"\x31\xc0\xc3"))
        self.export(name, **how)  # type: ignore[arg-type]
        return self

    # --- the file -----------------------------------------------------------------------------------

    def build(self) -> bytes:
        """The bytes of the .ko."""
        self._add_tables()
        order = self._symbol_order()
        names, strings = {"": 0}, bytearray(b"\0")
        for name in order:
            names[name] = len(strings)
            strings += name.encode() + b"\0"
        sections = [section for section in self.sections if section.type != RELA]
        index = {section.name: number for number, section in enumerate(sections, 1)}
        symtab_index = 1 + len(sections) + sum(bool(section.relas) for section in sections)
        places = {name: number for number, name in enumerate(order, 1)}
        relas = []
        for section in sections:
            if section.relas:
                data = b"".join(
                    struct.pack("<QIIq", offset, kind, places[symbol], addend)
                    for offset, kind, symbol, addend in section.relas
                )
                rela = Section(f".rela{section.name}", bytearray(data), RELA, 0)
                rela.link, rela.info = symtab_index, index[section.name]
                relas.append(rela)
        table = bytearray(24)
        for name in order:
            where, value, binding = self.symbols[name]
            shndx = index[where] if isinstance(where, str) else where
            table += struct.pack("<IBBHQQ", names[name], binding << 4, 0, shndx, value, 0)
        symtab = Section(".symtab", table, SYMTAB, 0, link=symtab_index + 1)
        symtab.info = 1 + sum(self.symbols[name][2] == 0 for name in order)
        strtab = Section(".strtab", strings, STRTAB, 0, 1)
        return _file([*sections, *relas, symtab, strtab])

    def _add_tables(self) -> None:
        pairs = [f"{tag}={value}" for tag, value in self.modinfo.items() if value is not None]
        pairs += [f"import_ns={space}" for space in self.imports_ns]
        self.section(".modinfo", "".join(f"{pair}\0" for pair in pairs).encode(), align=1)
        if self.versions is not None:
            layout = self.profile.exports.get("module_layout")
            crcs = ({"module_layout": layout.crc or 0} if layout else {}) | self.versions
            entries = (struct.pack("<Q56s", crc, name.encode()) for name, crc in crcs.items())
            self.section("__versions", b"".join(entries), align=32)

    def _symbol_order(self) -> list[str]:
        """Local symbols come first."""
        return sorted(self.symbols, key=lambda name: self.symbols[name][2] != 0)


def _file(sections: list[Section]) -> bytes:
    names = bytearray(b"\0")
    shstrtab = Section(".shstrtab", names, STRTAB, 0, 1)
    offsets = []
    for section in [*sections, shstrtab]:
        offsets.append(len(names))
        names += section.name.encode() + b"\0"
    blob, headers = bytearray(64), bytearray(64)
    for section, name in zip([*sections, shstrtab], offsets, strict=True):
        blob += bytes(-len(blob) % max(section.align, 1))
        size = len(section.data) if section.size is None else section.size
        entry = {SYMTAB: 24, RELA: 24}.get(section.type, 0)
        place = name if section.name_offset is None else section.name_offset
        headers += _SHDR.pack(
            place, section.type, section.flags, 0, len(blob), size, section.link, section.info,
            section.align, entry,
        )  # fmt: skip
        if section.type != NOBITS:
            blob += section.data
    blob += bytes(-len(blob) % 8)
    count = len(sections) + 2
    ident = b"\x7fELF\x02\x01\x01" + bytes(9)
    header = struct.pack(
        "<16sHHIQQQIHHHHHH", ident, 1, 62, 1, 0, 0, len(blob), 0, 64, 0, 0, 64, count, count - 1
    )
    return header + bytes(blob[64:]) + bytes(headers)


def calling(*functions: str, name: str = "calls") -> bytes:
    """A module whose init calls functions of the base kernel."""
    module = Builder(name=name)
    for function in functions:
        module.call(".init.text", function)
    module.returns(".init.text", 0)
    module.entry("init", ".init.text")
    return module.build()

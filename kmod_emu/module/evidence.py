"""What a module file tells of the kernel that it was built for, before it is loaded anywhere."""

from __future__ import annotations

import io
from functools import cached_property
from typing import TYPE_CHECKING, Any

from kmod_emu.abi.btf import Btf
from kmod_emu.module.version import Versions

if TYPE_CHECKING:
    from kmod_emu.abi.dwarf import DwarfLayouts

__all__ = ["Evidence"]

_THIS_MODULE = ".gnu.linkonce.this_module"


class Evidence:
    """The traces that a kernel leaves in a module.

    Args:
        blob: The module file.

    Attributes:
        module_size: sizeof(struct module), 0 if the file does not say.
        module_offsets: Member of struct module -> offset, of those that the file fills by relocation.
        versions: CRCs of what it imports, empty without symbol versions.
        imports: The symbols that it imports.
        sizes: Sizes of the kernel's structures that its BTF stands on, by tag; none without .BTF.base.

    Raises:
        ValueError: It is no ELF file that could be a module.
    """

    def __init__(self, blob: bytes) -> None:
        from elftools.elf.elffile import ELFFile

        try:
            self._elf = ELFFile(io.BytesIO(blob))
            self._symbols: Any = self._elf.get_section_by_name(".symtab")
            self.module_size, self.module_offsets = self._struct_module()
            table = self._elf.get_section_by_name("__versions")
            self.versions: dict[str, int] = Versions(table.data()).known() if table is not None else {}
            self.imports = self._imports()
            self.sizes = self._sizes()
        except Exception as error:  # whatever pyelftools meets in a damaged file
            raise ValueError(f"not a module: {error}") from None

    def _struct_module(self) -> tuple[int, dict[str, int]]:
        section = self._elf.get_section_by_name(_THIS_MODULE)
        if section is None:
            return 0, {}
        offsets = {}
        relocations: Any = self._elf.get_section_by_name(f".rela{_THIS_MODULE}")
        for relocation in relocations.iter_relocations() if relocations is not None else ():
            symbol = self._symbols.get_symbol(relocation["r_info_sym"]).name
            member = {"init_module": "init", "cleanup_module": "exit"}.get(symbol)
            if member:
                offsets[member] = relocation["r_offset"]
        return section["sh_size"], offsets

    def _imports(self) -> frozenset[str]:
        symbols = self._symbols.iter_symbols() if self._symbols is not None else ()
        return frozenset(symbol.name for symbol in symbols if symbol["st_shndx"] == "SHN_UNDEF") - {""}

    def _sizes(self) -> dict[str, int]:
        section = self._elf.get_section_by_name(".BTF.base")
        if section is None:
            return {}
        base = Btf(section.data())
        return {name: base.size(number) for name, number in base.structs.items()}

    @cached_property
    def layouts(self) -> DwarfLayouts:
        """The structures that its debug information describes; none if it has no such information."""
        from kmod_emu.abi.dwarf import DwarfLayouts

        return DwarfLayouts(self._elf)

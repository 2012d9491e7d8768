"""Names of addresses in modules, which the kernel looks for one by one."""

from __future__ import annotations

from bisect import bisect_right
from typing import TYPE_CHECKING, NamedTuple

from kmod_emu.module.elf import SHN_UNDEF, SYM
from kmod_emu.module.memory import TWO_REGIONS, description, is_init, region_names
from kmod_emu.vmlinux.frontier.table import Frontier

if TYPE_CHECKING:
    from kmod_emu.vmlinux.kernel import VmlinuxKernel

frontier = Frontier(__name__)

_MAPPING = b".L"  # labels of the compiler's are no names


class Names(NamedTuple):
    """A module's symbols by value.

    Attributes:
        key: Which table that is, and when it was read.
        values: In order.
        names: Where the name of the first symbol with each value is.
        first: The value of symbol 0, which is none.
    """

    key: tuple[int, int, int]
    values: list[int]
    names: list[int]
    first: int


@frontier.replace(
    "const char *find_kallsyms_symbol(struct module *mod, unsigned long addr, unsigned long *size,"
    " unsigned long *offset)",
    "it goes through all symbols, and is called for each function of a module: for large ones 10^9 steps",
)
def find_kallsyms_symbol(kernel: VmlinuxKernel, mod: int, addr: int, size: int, offset: int) -> int:
    """The symbol that an address of a module is named by (kernel/module/kallsyms.c)."""
    names = _names(kernel, mod)
    index = bisect_right(names.values, addr)
    if not index or names.values[index - 1] <= names.first:
        return 0
    best = names.values[index - 1]
    end = _text_end(kernel, mod, addr)
    if index < len(names.values):
        end = min(end, names.values[index])
    for place, value in ((size, end - best), (offset, addr - best)):
        if place:
            kernel.memory.write_u64(place, value)
    return names.names[index - 1]


def _names(kernel: VmlinuxKernel, mod: int) -> Names:
    """What there is of a module; nobody changes it while one task has the processor."""
    table = kernel.view("mod_kallsyms", kernel.view("module", mod).kallsyms)
    key = kernel.sched.turn, table.symtab, table.num_symtab
    if kernel.module_names is None or kernel.module_names.key != key:
        memory, strings = kernel.memory, table.strtab
        symbols = list(SYM.iter_unpack(memory.read(table.symtab, table.num_symtab * SYM.size)))
        found: dict[int, int] = {}
        for name, _, _, shndx, value, _ in symbols[1:]:
            if shndx != SHN_UNDEF and value not in found:
                text = memory.read(strings + name, 2)
                if text[0] and text != _MAPPING:
                    found[value] = strings + name
        values = sorted(found)
        kernel.module_names = Names(key, values, [found[value] for value in values], symbols[0][4])
    return kernel.module_names


def _text_end(kernel: VmlinuxKernel, mod: int, addr: int) -> int:
    """Where the code that an address is of ends, at worst."""
    memory, profile, view = kernel.memory, kernel.profile, kernel.view("module", mod)
    names = region_names(profile)
    init = False
    for name in filter(is_init, names):
        region = description(profile, view, name)
        start = memory.read_u64(region.base)
        init = init or start <= addr < start + memory.read_u32(region.size)
    if names != TWO_REGIONS:
        region = description(profile, view, "init_text" if init else "text")
        return memory.read_u64(region.base) + memory.read_u32(region.size)
    layout = kernel.view("module_layout", view.addressof("init_layout" if init else "core_layout"))
    return layout.base + layout.text_size

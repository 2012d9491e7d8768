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
        init: Memory that goes after init.
        ends: Where code ends at worst: that outside of `init`, and that in it.
    """

    key: tuple[int, int, int]
    values: list[int]
    names: list[int]
    first: int
    init: list[range]
    ends: tuple[int, int]


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
    end = names.ends[any(addr in part for part in names.init)]
    if index < len(names.values):
        end = min(end, names.values[index])
    for place, value in ((size, end - best), (offset, addr - best)):
        if place:
            kernel.memory.write_u64(place, value)
    return names.names[index - 1]


def _names(kernel: VmlinuxKernel, mod: int) -> Names:
    """What there is of a module; nobody changes it while one task has the processor."""
    memory, module = kernel.memory, kernel.profile.struct("module")
    place = memory.read_u64(mod + module.offset("kallsyms"))
    key = kernel.sched.turn, mod, place
    if kernel.module_names is None or kernel.module_names.key != key:
        kernel.module_names = _read(kernel, key)
    return kernel.module_names


def _read(kernel: VmlinuxKernel, key: tuple[int, int, int]) -> Names:
    memory, (_, mod, place) = kernel.memory, key
    table = kernel.view("mod_kallsyms", place)
    symbols = list(SYM.iter_unpack(memory.read(table.symtab, table.num_symtab * SYM.size)))
    placed = [(value, name) for name, _, _, shndx, value, _ in symbols[1:] if shndx != SHN_UNDEF]
    strings = table.strtab
    text = memory.read(strings, max((name for _, name in placed), default=0) + len(_MAPPING))
    found: dict[int, int] = {}
    for value, name in placed:
        if text[name] and value not in found and not text.startswith(_MAPPING, name):
            found[value] = strings + name
    values = sorted(found)
    names = [found[value] for value in values]
    return Names(key, values, names, symbols[0][4], *_ends(kernel, mod))


def _ends(kernel: VmlinuxKernel, mod: int) -> tuple[list[range], tuple[int, int]]:
    """The memory of a module that goes after init, and where code outside of that and in it ends."""
    memory, profile, view = kernel.memory, kernel.profile, kernel.view("module", mod)

    def region(name: str) -> range:
        found = description(profile, view, name)
        start = memory.read_u64(found.base)
        return range(start, start + memory.read_u32(found.size))

    names = region_names(profile)
    init = [region(name) for name in filter(is_init, names)]
    if names != TWO_REGIONS:
        return init, (region("text").stop, region("init_text").stop)
    layouts = (kernel.view("module_layout", view.addressof(f"{name}_layout")) for name in names)
    core, of_init = (layout.base + layout.text_size for layout in layouts)
    return init, (core, of_init)

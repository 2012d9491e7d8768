"""Names of addresses in modules, which the kernel looks for one by one."""

from __future__ import annotations

from bisect import bisect_right
from typing import TYPE_CHECKING, NamedTuple

from kmod_emu.abi import lists
from kmod_emu.module.elf import SHN_UNDEF, SYM
from kmod_emu.module.memory import TWO_REGIONS, description, is_init, region_names
from kmod_emu.vmlinux.frontier.table import Frontier

if TYPE_CHECKING:
    from kmod_emu.vmlinux.kernel import VmlinuxKernel

frontier = Frontier(__name__)

_ENDBR_LENGTH = 4  # the call for tracers may lie behind such an instruction
_MAPPING = b".L"  # labels of the compiler's are no names


class Names(NamedTuple):
    """A module's symbols by value.

    Attributes:
        key: Which table that is, and when it was read.
        values: In order.
        names: Where the name of the first symbol with each value is.
        first: The value of symbol 0, which is none.
        init: Memory that goes after init.
        code: What of the memory is code: of that which stays, and of that which goes.
    """

    key: tuple[int, int, int]
    values: list[int]
    names: list[int]
    first: int
    init: list[range]
    code: tuple[range, range]


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
    end = names.code[any(addr in part for part in names.init)].stop
    if index < len(names.values):
        end = min(end, names.values[index])
    for place, value in ((size, end - best), (offset, addr - best)):
        if place:
            kernel.memory.write_u64(place, value)
    return names.names[index - 1]


@frontier.replace(
    "int test_for_valid_rec(struct dyn_ftrace *rec)",
    "it has the name of each function of a module written out to see whether there is one",
)
def test_for_valid_rec(kernel: VmlinuxKernel, rec: int) -> int:
    """Whether a place of tracers is in a function that the linker has not dropped (kernel/trace/ftrace.c)."""
    if not kernel.has_types:  # who does not know what a record looks like lets them be
        return 1
    memory, named = kernel.memory, kernel.module_names
    ip = memory.read_u64(rec + kernel.profile.offset("dyn_ftrace", "ip"))
    most = _ENDBR_LENGTH if kernel.symbols.internal("ibt_save") else 0  # it is built to begin with such ones
    if named is None or named.key[0] != kernel.sched.turn or not any(ip in part for part in named.code):
        mod = _module_of(kernel, ip)
        if not mod:
            return int(not {ip, ip - most}.isdisjoint(kernel.symbols.begins()))
        named = _names(kernel, mod)
    index = bisect_right(named.values, ip)
    begin = named.values[index - 1] if index else 0
    return int(begin > named.first and ip - begin <= most)


def _module_of(kernel: VmlinuxKernel, address: int) -> int:
    """The `struct module` whose code an address is of, 0 if there is none."""
    link = kernel.profile.offset("module", "list")
    for entry in lists.walk(kernel.memory, kernel.symbol("modules")):
        if any(address in part for part in _code(kernel, entry - link)):
            return entry - link
    return 0


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
    init = [_region(kernel, mod, name) for name in filter(is_init, region_names(kernel.profile))]
    return Names(key, values, names, symbols[0][4], init, _code(kernel, mod))


def _region(kernel: VmlinuxKernel, mod: int, name: str) -> range:
    """The addresses of a module's region."""
    place = description(kernel.profile, kernel.view("module", mod), name)
    start = kernel.memory.read_u64(place.base)
    return range(start, start + kernel.memory.read_u32(place.size))


def _code(kernel: VmlinuxKernel, mod: int) -> tuple[range, range]:
    """The code of a module that stays, and that which goes after init."""
    if region_names(kernel.profile) != TWO_REGIONS:
        return _region(kernel, mod, "text"), _region(kernel, mod, "init_text")
    view = kernel.view("module", mod)
    core, init = (kernel.view("module_layout", view.addressof(f"{name}_layout")) for name in TWO_REGIONS)
    return range(core.base, core.base + core.text_size), range(init.base, init.base + init.text_size)

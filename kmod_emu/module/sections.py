"""Sections that the kernel looks for by name (kernel/module/main.c: find_module_sections)."""

from __future__ import annotations

from itertools import pairwise
from typing import TYPE_CHECKING

from kmod_emu.kernel.faults import Tables
from kmod_emu.module.elf import SHT_NOTE
from kmod_emu.module.errors import LoadError
from kmod_emu.module.modules import Exported, Modules
from kmod_emu.uapi import errno

if TYPE_CHECKING:
    from kmod_emu.kernel.kernel import KernelCore
    from kmod_emu.module.load import LoadInfo
    from kmod_emu.module.modules import Module

# Section, member of struct module for its address, member for the count, bytes of an element; those of a
# kernel_symbol are the release's.
_SECTIONS = (
    ("__param", "kp", "num_kp", 40),
    ("__ksymtab", "syms", "num_syms", 0),
    ("__kcrctab", "crcs", "", 1),
    ("__ksymtab_gpl", "gpl_syms", "num_gpl_syms", 0),
    ("__kcrctab_gpl", "gpl_crcs", "", 1),
    ("__ksymtab_gpl_future", "gpl_future_syms", "num_gpl_future_syms", 0),
    ("__kcrctab_gpl_future", "gpl_future_crcs", "", 1),
    ("__kflagstab", "flagstab", "", 1),
    (".noinstr.text", "noinstr_text_start", "noinstr_text_size", 1),
    ("__tracepoints_ptrs", "tracepoints_ptrs", "num_tracepoints", 8),
    ("___srcu_struct_ptrs", "srcu_struct_ptrs", "num_srcu_structs", 8),
    ("__bpf_raw_tp_map", "bpf_raw_events", "num_bpf_raw_events", 32),
    ("__jump_table", "jump_entries", "num_jump_entries", 16),
    ("_ftrace_events", "trace_events", "num_trace_events", 8),
    ("_ftrace_eval_map", "trace_evals", "num_trace_evals", 8),
    ("__trace_printk_fmt", "trace_bprintk_fmt_start", "num_trace_bprintk_fmt", 8),
    ("__mcount_loc", "ftrace_callsites", "num_ftrace_callsites", 8),
    ("_error_injection_whitelist", "ei_funcs", "num_ei_funcs", 16),
    (".kprobes.text", "kprobes_text_start", "kprobes_text_size", 1),
    ("_kprobe_blacklist", "kprobe_blacklist", "num_kprobe_blacklist", 8),
    (".static_call_sites", "static_call_sites", "num_static_call_sites", 8),
    ("__ex_table", "extable", "num_exentries", 12),
)


def find_module_sections(info: LoadInfo, module: Module) -> None:
    """Enter the tables' addresses and counts into `struct module`."""
    view, image = module.view, info.image
    symbol = info.kernel.profile.struct("kernel_symbol")
    symbol_size, relative = symbol.size, "value_offset" in symbol.members
    for name, pointer, count, size in _SECTIONS:
        if not view.has(pointer):
            continue
        if pointer.endswith("syms"):
            size = symbol_size
        elif pointer == "tracepoints_ptrs" and relative:
            size = 4
        section = image.sections[image.find(name)]
        view.set(pointer, section.address if section.index else 0)
        if count:
            view.set(count, section.size // size if section.index else 0)
    if info.traits.flagged:
        _note_flags(info)
    if image.find("__obsparm"):
        info.printk(4, f"{info.name}: Ignoring obsolete parameters")
    module.notes = [
        (section.name, section.address, section.size)
        for section in image.sections[1:]
        if section.allocated and section.type == SHT_NOTE and section.size
    ]
    module.sections = [
        (section.name, section.address, section.size) for section in image.sections[1:] if section.allocated
    ]


def _note_flags(info: LoadInfo) -> None:
    """Where licences are flags, tables of their own are of no use any more."""
    for name in ("__ksymtab_gpl", "__kcrctab_gpl"):
        if info.image.find(name):
            info.printk(4, f"{info.name}: ignoring obsolete section {name}")


def note_tables(kernel: KernelCore, module: Module, info: LoadInfo | None) -> None:
    """Tell the fault handler of the module's bug and exception tables; None takes them back."""
    key = f"{module.address:#x}"
    if info is None:
        kernel.faults.tables.pop(key, None)
        return
    view, bugs = module.view, info.image.sections[info.image.find("__bug_table")]
    size = kernel.profile.struct("bug_entry").size
    view.bug_table, view.num_bugs = (bugs.address, bugs.size // size) if bugs.index else (0, 0)
    kernel.faults.tables[key] = Tables(
        bugs=(bugs.address, bugs.size if bugs.index else 0),
        extable=(view.extable, view.num_exentries * 12),
        module=module.address,
    )


# Tables of exports: the section, its member of struct module, CRCs, whether only GPL modules may use them.
_EXPORTS = (
    ("__ksymtab", "syms", "__kcrctab", False),
    ("__ksymtab_gpl", "gpl_syms", "__kcrctab_gpl", True),
    ("__ksymtab_gpl_future", "gpl_future_syms", "__kcrctab_gpl_future", False),
)
_KSYM_FLAG_GPL_ONLY = 1


def read_exports(info: LoadInfo, module: Module) -> None:
    """Learn what the module exports; nobody may export it already (verify_exported_symbols).

    Raises:
        LoadError: ENOEXEC.
    """
    kernel, view, size = info.kernel, module.view, info.kernel.profile.struct("kernel_symbol").size
    for table, symbols, crcs, gpl in _EXPORTS:
        section = info.image.sections[info.image.find(table)]
        if not section.index or not view.has(symbols):
            continue
        crc_section = info.image.sections[info.image.find(crcs)]
        entries: dict[str, Exported] = {}
        order = []
        for position in range(section.size // size):
            name, address, namespace = _kernel_symbol(kernel, section.address + size * position)
            owner = _owner(kernel, name)
            if owner:
                text = f"{module.name}: exports duplicate symbol {name} (owned by {owner})"
                raise LoadError(errno.ENOEXEC, "", (3, text))
            crc = None
            if crc_section.index:
                crc = kernel.memory.read_u32(crc_section.address + 4 * position)
            if info.traits.flagged:
                gpl = bool(kernel.memory.read_u8(view.flagstab + position) & _KSYM_FLAG_GPL_ONLY)
            order.append(name)
            entries.setdefault(name, (address, crc, gpl, namespace))
        for name in findable(order):
            module.exports.setdefault(name, entries[name])


def findable(names: list[str]) -> list[str]:
    """Those names of a table that a binary search finds: all of a sorted one.

    >>> findable(["a", "b", "c"]), findable(["b", "c", "a"])
    (['a', 'b', 'c'], ['b', 'c'])
    """
    keys = [name.encode("utf-8", "surrogateescape") for name in names]
    if all(first <= second for first, second in pairwise(keys)):
        return names
    return [name for name, key in zip(names, keys, strict=True) if _bsearch(keys, key)]


def _bsearch(keys: list[bytes], key: bytes) -> bool:
    """lib/bsearch.c, which relies on the order without looking at it."""
    base, count = 0, len(keys)
    while count:
        middle = base + (count >> 1)
        if keys[middle] == key:
            return True
        if key > keys[middle]:
            base, count = middle + 1, count - 1
        count >>= 1
    return False


def _kernel_symbol(kernel: KernelCore, entry: int) -> tuple[str, int, str]:
    """Name, value and namespace of one struct kernel_symbol: self-relative pointers, or plain ones."""
    memory, view = kernel.memory, kernel.view("kernel_symbol", entry)
    if view.has("value_offset"):
        value, name, namespace = (
            view.addressof(member) + view.signed(member)
            for member in ("value_offset", "name_offset", "namespace_offset")
        )
        namespace = namespace if view.namespace_offset else 0
    else:
        value, name, namespace = view.value, view.name, view.namespace
    space = memory.read_cstring(namespace) if namespace else b""
    return (
        memory.read_text(name),
        value & (1 << 64) - 1,
        space.decode("utf-8", "replace"),
    )


def _owner(kernel: KernelCore, name: str) -> str:
    """Who exports a name: "kernel", a module, or ""."""
    if kernel.symbols.exports(name):
        return "kernel"
    module = kernel[Modules].exporter(name)
    return module.name if module is not None else ""

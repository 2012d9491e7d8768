"""A `drgn.Program` on a machine's memory, so that drgn's helpers walk what a kernel has there.

Types and variables come from the debug information of the machine's modules, and what these lack from the
profile. Whoever calls this has drgn: it is an extra.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

import drgn

from kmod_emu.debug.c import types as c
from kmod_emu.debug.profile_types import ProfileTypes
from kmod_emu.machine.memory import PAGE_SIZE, PageFault
from kmod_emu.module.modules import Modules

if TYPE_CHECKING:
    from collections.abc import Mapping

    from kmod_emu.kernel.kernel import KernelCore
    from kmod_emu.module.modules import Module

__all__ = ["open_program"]

_EVERYTHING = (1 << 64) - 1
_SLOT_BITS, _SLOTS = 6, 64
_NODE_TAG = 2  # an entry of an xarray that leads to a node has these low bits
_VARIABLES = {
    "modules": "struct list_head",
    "init_task": "struct task_struct",
    "init_pid_ns": "struct pid_namespace",
}
_CONSTANTS = {"PIDTYPE_PID": 0, "PIDTYPE_TGID": 1, "PIDTYPE_PGID": 2, "PIDTYPE_SID": 3}


def open_program(kernel: KernelCore, files: Mapping[str, bytes] | None = None) -> Any:
    """A program on the machine's memory.

    Args:
        kernel: The machine.
        files: Module files by module name, for modules whose file the machine does not have.
    """
    program = drgn.Program(drgn.Platform(drgn.Architecture.X86_64))
    program.add_memory_segment(0, kernel.memory.ram_end, _physical(kernel), True)
    program.set_linux_kernel_custom(_vmcoreinfo(kernel), False)
    # From here on virtual addresses are ours: there are no page tables in the machine's memory.
    program.add_memory_segment(0, _EVERYTHING, _virtual(kernel))
    for module in kernel[Modules].formed():
        file = module.file or (files or {}).get(module.name, b"")
        if file:
            _add_module(program, module, file)
    _add_finders(program, kernel)
    _show_pids(program, kernel)
    return program


def _vmcoreinfo(kernel: KernelCore) -> str:
    page_table = kernel.symbols.address("__start_rodata") & -PAGE_SIZE  # any page: it is not looked at
    return (
        f"OSRELEASE={kernel.profile.release}\nPAGESIZE={PAGE_SIZE}\nSYMBOL(swapper_pg_dir)={page_table:x}\n"
        "KERNELOFFSET=0\nNUMBER(phys_base)=0\nNUMBER(pgtable_l5_enabled)=0\n"
    )


def _virtual(kernel: KernelCore) -> Any:
    def read(address: int, count: int, offset: int, physical: bool) -> bytes:
        try:
            return kernel.memory.read(address, count)
        except PageFault as fault:
            raise drgn.FaultError("nothing is mapped there", fault.address) from None

    return read


def _physical(kernel: KernelCore) -> Any:
    def read(address: int, count: int, offset: int, physical: bool) -> bytes:
        return kernel.memory.read(kernel.direct_address(address), count)

    return read


def _add_module(program: Any, module: Module, file: bytes) -> None:
    found = program.relocatable_module(module.name, module.base, create=True)
    for name, address, _ in module.sections:
        found.section_addresses[name] = address
    found.address_ranges = [(region.base, region.base + region.size) for region in module.regions.values()]
    descriptor = os.memfd_create(module.name)
    os.write(descriptor, file)
    found.try_file(f"{module.name}.ko", fd=descriptor, force=True)


# --- what modules' debug information lacks ----------------------------------------------------------------


def _add_finders(program: Any, kernel: KernelCore) -> None:
    types = _Types(program, ProfileTypes(kernel.profile))

    def find_type(prog: Any, kinds: Any, name: str, filename: str | None) -> Any:
        if drgn.TypeKind.STRUCT not in kinds or filename is not None:
            return None
        return types.named(f"struct {name}")

    def find_object(prog: Any, name: str, flags: Any, filename: str | None) -> Any:
        if name in _CONSTANTS and flags & drgn.FindObjectFlags.CONSTANT:
            return drgn.Object(prog, "unsigned int", _CONSTANTS[name])
        if name in _VARIABLES and flags & drgn.FindObjectFlags.VARIABLE:
            return drgn.Object(prog, _VARIABLES[name], address=kernel.symbols.address(name))
        return None

    def find_symbols(prog: Any, name: str | None, address: int | None, one: bool) -> list[Any]:
        if name is not None:
            value = kernel.lookup_name(name)
            return [_symbol(name, value, 0)] if value else []
        location = kernel.locate(address) if address is not None else None
        return (
            [_symbol(location.name, address - location.offset, location.size)] if location and address else []
        )

    program.register_type_finder("kmod-emu", find_type, enable_index=-1)
    program.register_object_finder("kmod-emu", find_object, enable_index=-1)
    program.register_symbol_finder("kmod-emu", find_symbols, enable_index=-1)


def _symbol(name: str, address: int, size: int) -> Any:
    return drgn.Symbol(name, address, size, drgn.SymbolBinding.GLOBAL, drgn.SymbolKind.FUNC)


class _Types:
    """Profile types as drgn's."""

    def __init__(self, program: Any, types: ProfileTypes) -> None:
        self._program, self._types = program, types
        self._known: dict[str, Any] = {}

    def named(self, key: str) -> Any:
        """A structure by "struct file"; None for one that is not known."""
        if key not in self._known:
            kind = self._types.named(key)
            self._known[key] = self._structure(kind) if isinstance(kind, c.Aggregate) else None
        return self._known[key]

    def _structure(self, kind: c.Aggregate) -> Any:
        members = [
            drgn.TypeMember(self._member(field), field.name, bit_offset=8 * field.offset + field.bit)
            for field in kind.fields
            if field.type.size
        ]
        return self._program.struct_type(kind.tag, kind.size, members)

    def _member(self, field: c.Field) -> Any:
        if field.bits:
            return lambda: drgn.Object(self._program, self._convert(field.type), bit_field_size=field.bits)
        return lambda: self._convert(field.type)

    def _convert(self, kind: c.CType) -> Any:
        """One of the types that a profile's structures are made of."""
        program = self._program
        if isinstance(kind, c.Integer):
            return program.int_type(kind.name, kind.size, kind.signed)
        if isinstance(kind, c.Pointer):
            return program.pointer_type(self._convert(kind.target))
        if isinstance(kind, c.Array):
            return program.array_type(self._convert(kind.element), kind.count)
        if isinstance(kind, c.Aggregate):
            return program.type(f"{kind.keyword} {kind.tag}")  # a module's debug information knows more
        return program.void_type()


# --- processes by number ------------------------------------------------------------------------------------


def _show_pids(program: Any, kernel: KernelCore) -> None:
    """Let `init_pid_ns.idr` lead to the machine's processes: Python keeps them, and no radix tree does.

    The tree is built for drgn alone, behind all memory of the machine.
    """
    profile = kernel.profile
    if not (
        profile.has("pid_namespace.idr") and profile.has("xa_node.slots") and profile.has("xarray.xa_head")
    ):
        return
    place = kernel.symbols.address("init_pid_ns") + profile.offset("pid_namespace", "idr")
    place += profile.offset("idr", "idr_rt") + profile.offset("xarray", "xa_head")
    pids = {
        pid: kernel.view("task_struct", task.address).get("thread_pid")
        for pid, task in kernel.tasks.by_pid.items()
        if pid and not task.dead
    }
    base = max(arena.end for arena in kernel.memory.arenas) + PAGE_SIZE & -PAGE_SIZE
    tree = _Tree(base, profile.struct("xa_node").size, profile.offset("xa_node", "slots"))
    head = tree.build({pid: address for pid, address in pids.items() if address})
    content = tree.content()
    if content:
        program.add_memory_segment(base, len(content), lambda a, n, offset, p: content[offset : offset + n])
        raw = head.to_bytes(8, "little")
        program.add_memory_segment(place, 8, lambda a, n, offset, p: raw[offset : offset + n])


class _Tree:
    """The nodes of an xarray, one behind the other."""

    def __init__(self, base: int, node_size: int, slots: int) -> None:
        self._base, self._size, self._slots = base, node_size, slots
        self._nodes: list[bytes] = []

    def build(self, entries: Mapping[int, int]) -> int:
        """The head's entry for some entries by index."""
        if not entries:
            return 0
        shift = 0
        while max(entries) >> (shift + _SLOT_BITS):
            shift += _SLOT_BITS
        return self._node(entries, shift)

    def content(self) -> bytes:
        """All nodes."""
        return b"".join(self._nodes)

    def _node(self, entries: Mapping[int, int], shift: int) -> int:
        slots = [0] * _SLOTS
        groups: dict[int, dict[int, int]] = {}
        for index, entry in entries.items():
            groups.setdefault(index >> shift, {})[index & (1 << shift) - 1] = entry
        for slot, group in groups.items():
            slots[slot] = self._node(group, shift - _SLOT_BITS) if shift else group[0]
        node = bytearray(self._size)
        node[0] = shift  # the first member
        node[self._slots : self._slots + 8 * _SLOTS] = b"".join(
            entry.to_bytes(8, "little") for entry in slots
        )
        self._nodes.append(bytes(node))
        return self._base + self._size * (len(self._nodes) - 1) | _NODE_TAG

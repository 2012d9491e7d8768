"""ORC tables: what the compiler says about the stack at each instruction (arch/x86/kernel/unwind_orc.c).

A module brings two tables of equal length: addresses, and for each the way from there to the caller's stack
pointer. They are found through `struct module`, where the loader entered them. A distribution's kernel has
such tables for itself, sorted at boot.
"""

from __future__ import annotations

import struct
from array import array
from bisect import bisect_right
from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple, overload

if TYPE_CHECKING:
    from collections.abc import Iterable

    from kmod_emu.abi.structs import StructView
    from kmod_emu.kernel.kernel import KernelCore
    from kmod_emu.machine.memory import Memory

ENTRY_SIZE = 6
UNDEFINED, PREV_SP, BP, SP, BP_INDIRECT, SP_INDIRECT = 0, 1, 4, 5, 8, 9
# Newer releases number registers as the processor does; nothing but the tables tells.
_RENUMBERED = {0: UNDEFINED, 3: SP, 4: BP, 8: PREV_SP, 9: SP_INDIRECT, 10: BP_INDIRECT}
_NO_REGISTER = 15
_RETURN_ADDRESS = 8  # bytes
_ENOUGH = 2000  # entries, to see how registers are numbered


class OrcEntry(NamedTuple):
    """How to get from a place in the code to its caller.

    Attributes:
        sp_offset: Added to the base register for the stack pointer before the call.
        bp_offset: Where RBP was saved.
        sp_reg: The base register, one of the constants above; UNDEFINED where nobody was called from.
        bp_reg: Relative to what RBP was saved.
        call: Whether it is an ordinary frame, with a return address.
    """

    sp_offset: int
    bp_offset: int
    sp_reg: int
    bp_reg: int
    call: bool


def unwind_module_init(kernel: KernelCore, module: int, addresses: int, entries: int, count: int) -> None:
    """Sort a module's tables by address and enter them into its `struct module`.

    Args:
        kernel: The machine.
        module: Address of `struct module`.
        addresses: Address of `.orc_unwind_ip`: self-relative 32-bit distances.
        entries: Address of `.orc_unwind`.
        count: How many entries both have.
    """
    _sort(kernel, addresses, entries, count)
    arch = kernel.view("mod_arch_specific", kernel.view("module", module).addressof("arch"))
    arch.orc_unwind_ip, arch.orc_unwind, arch.num_orcs = addresses, entries, count


def _sort(kernel: KernelCore, addresses: int, entries: int, count: int) -> None:
    """Both tables alike; of two entries for one address that comes first which ends nothing for good."""
    memory = kernel.memory
    places = [
        4 * index + distance
        for index, distance in enumerate(struct.unpack(f"<{count}i", memory.read(addresses, 4 * count)))
    ]
    words = array("H", memory.read(entries, ENTRY_SIZE * count))
    columns = [words[column::3] for column in range(3)]
    mask = 0x40F if kernel.profile.has("orc_entry.end") else 0x700  # its register and `end`, or its type
    keys = [2 * place + bool(word & mask) for place, word in zip(places, columns[2], strict=True)]
    order = sorted(range(count), key=keys.__getitem__)
    for column, values in enumerate(columns):
        words[column::3] = array("H", [values[index] for index in order])
    sorted_places = (places[index] - 4 * position for position, index in enumerate(order))
    memory.write(addresses, struct.pack(f"<{count}i", *sorted_places))
    memory.write(entries, words.tobytes())


class _Table(NamedTuple):
    """One module's tables.

    Attributes:
        places: Addresses in order.
        entries: Where the entries begin.
        renumbered: Whether registers have their newer numbers.
    """

    places: Sequence[int]
    entries: int
    renumbered: bool


class _Places(Sequence[int]):
    """The addresses of a long table, read where somebody looks.

    Args:
        memory: Guest memory.
        start: Address of self-relative 32-bit distances.
        count: How many.
    """

    def __init__(self, memory: Memory, start: int, count: int) -> None:
        self._memory, self._start, self._count = memory, start, count

    def __len__(self) -> int:
        return self._count

    @overload
    def __getitem__(self, index: int) -> int: ...

    @overload
    def __getitem__(self, index: slice) -> Sequence[int]: ...

    def __getitem__(self, index: int | slice) -> int | Sequence[int]:
        if isinstance(index, slice):
            return [self[at] for at in range(*index.indices(self._count))]
        place = self._start + 4 * index
        return place + int.from_bytes(self._memory.read(place, 4), "little", signed=True)


class OrcTables:
    """The tables of several modules, for one walk along a stack; each is read when first needed."""

    def __init__(self, kernel: KernelCore, modules: Iterable[int]) -> None:
        self._kernel = kernel
        self._modules = list(modules)
        self._tables: list[_Table] | None = None
        # Until commit fb799447ae29 ("x86,objtool: Split UNWIND_HINT_EMPTY in two") calls were type 0.
        self._call_type = 0 if kernel.profile.has("orc_entry.end") else 2

    def covers(self, address: int) -> bool:
        """Whether there may be an entry: the stub kernel has none for itself."""
        symbols = self._kernel.symbols
        return bool(symbols.internal("__start_orc_unwind_ip")) or symbols.locate(address) is None

    def find(self, address: int) -> OrcEntry | None:
        """The entry that covers an address; None where no module has one."""
        place, position, nearest = -1, 0, None
        for table in self._read():
            index = bisect_right(table.places, address) - 1
            if index >= 0 and table.places[index] > place:
                place, position, nearest = table.places[index], index, table
        if nearest is None:
            return None
        raw = self._kernel.memory.read(nearest.entries + ENTRY_SIZE * position, ENTRY_SIZE)
        return self._decode(raw, renumbered=nearest.renumbered)

    def _decode(self, raw: bytes, *, renumbered: bool) -> OrcEntry:
        sp_offset, bp_offset, word = struct.unpack("<hhH", raw)
        kind = word >> 8 & (3 if self._call_type == 0 else 7)
        sp_reg, bp_reg = word & 15, word >> 4 & 15
        if renumbered:
            sp_reg, bp_reg = (_RENUMBERED.get(number, _NO_REGISTER) for number in (sp_reg, bp_reg))
        return OrcEntry(sp_offset, bp_offset, sp_reg, bp_reg, kind == self._call_type)

    def _read(self) -> list[_Table]:
        if self._tables is None:
            views = [self._kernel.view("module", module) for module in self._modules]
            arches = [self._kernel.view("mod_arch_specific", view.addressof("arch")) for view in views]
            self._tables = [_read_table(self._kernel.memory, arch) for arch in arches if arch.num_orcs]
            if own := _own_table(self._kernel):
                self._tables.append(own)
        return self._tables


def _read_table(memory: Memory, arch: StructView) -> _Table:
    count, start = arch.num_orcs, arch.orc_unwind_ip
    distances = struct.unpack(f"<{count}i", memory.read(start, 4 * count))
    places = [start + 4 * index + distance for index, distance in enumerate(distances)]
    return _Table(places, arch.orc_unwind, _renumbered(memory, arch.orc_unwind, count))


def _own_table(kernel: KernelCore) -> _Table | None:
    """That of the kernel itself, None for the stub kernel."""
    if not kernel.symbols.internal("__start_orc_unwind_ip"):
        return None
    start, stop, entries = (
        kernel.symbol(name)
        for name in ("__start_orc_unwind_ip", "__stop_orc_unwind_ip", "__start_orc_unwind")
    )
    count = (stop - start) // 4
    return _Table(
        _Places(kernel.memory, start, count),
        entries,
        _renumbered(kernel.memory, entries, min(count, _ENOUGH)),
    )


def _renumbered(memory: Memory, start: int, count: int) -> bool:
    """Whether registers of a table have their newer numbers."""
    entries = memory.read(start, ENTRY_SIZE * count)
    # At a function's first instruction the caller's stack pointer is 8 behind RSP, whatever RSP's number is.
    beginnings = {
        word & 15 for offset, _, word in struct.iter_unpack("<hhH", entries) if offset == _RETURN_ADDRESS
    }
    return 3 in beginnings and SP not in beginnings

"""The modules of a 2.4 kernel: a singly linked list in guest memory (kernel/module.c).

`module_list` points to the newest module, `next` in each to the one before it, and the last is
`kernel_module`, which stands for the kernel itself. All there is to know of a module is in its
`struct module`, at the start of its memory: nothing is kept beside it.
"""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING

from kmod_emu.abi.structs import StructView
from kmod_emu.classic.structs import (
    MOD_DELETED,
    MOD_INITIALIZING,
    MOD_JUST_FREED,
    MOD_RUNNING,
    MOD_USED_ONCE,
    MOD_VISITED,
    MODULE,
    MODULE_REF,
    REF,
    SYMBOL,
)
from kmod_emu.kernel.layout import DATA_BASE, DATA_SPACE
from kmod_emu.kernel.symbols import Location
from kmod_emu.machine.memory import PageFault

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from kmod_emu.kernel.kernel import KernelCore

_PLACE = DATA_BASE + DATA_SPACE // 2  # of module_list, kernel_module and its symbol table
_ROOM = 1 << 16
_KERNEL_MODULE = _PLACE + 64
_TABLE = _KERNEL_MODULE + 256
_LONGEST_LIST = 1 << 16  # where a module has made the list a ring, nobody follows it for ever


class ModuleList:
    """`module_list`.

    Args:
        kernel: The machine.
        exports: What the kernel exports: names and addresses, for `kernel_module`.
    """

    def __init__(self, kernel: KernelCore, exports: Mapping[str, int]) -> None:
        self._kernel = kernel
        self._memory = kernel.memory
        self.head = _PLACE  # the address of the pointer `module_list`
        self.kernel_module = self.view(_KERNEL_MODULE)
        self._boot(exports)
        kernel.try_module_get, kernel.module_put = self.try_inc_mod_count, self.dec_mod_count
        kernel.locators.append(self.locate)
        kernel.name_locators.append(self.lookup_name)
        kernel.modules_text = lambda: "".join(f" {self.name(module)}" for module in self)

    def _boot(self, exports: Mapping[str, int]) -> None:
        """What the kernel's build leaves in its data: the list with the kernel alone, and __ksymtab."""
        kernel = self.kernel_module
        kernel.size_of_struct, kernel.usecount, kernel.flags = MODULE.size, 1, MOD_RUNNING
        self._memory.write_u64(self.head, kernel.address)
        self._write_table(exports)

    def _write_table(self, exports: Mapping[str, int]) -> None:
        """The kernel's __ksymtab, and behind it the names."""
        table, names = bytearray(), bytearray(b"\0")
        strings = _TABLE + SYMBOL.size * len(exports)
        for name, value in exports.items():
            table += SYMBOL.pack(value, strings + len(names))
            names += name.encode() + b"\0"
        assert strings + len(names) <= _PLACE + _ROOM
        self._memory.write(_TABLE, bytes(table + names))
        kernel = self.kernel_module
        kernel.name, kernel.nsyms, kernel.syms = strings, len(exports), _TABLE

    def export(self, name: str, value: int) -> None:
        """Add a symbol to what the kernel exports, or replace one."""
        known = {symbol: address for address, symbol in self.symbols(self.kernel_module)}
        self._write_table({**known, name: value})

    # --- the list -----------------------------------------------------------------------------------

    def view(self, address: int) -> StructView:
        """A `struct module`."""
        return StructView(self._memory, MODULE, address)

    def __iter__(self) -> Iterator[StructView]:
        """All modules, newest first, without the kernel."""
        address = self._memory.read_u64(self.head)
        for _ in range(_LONGEST_LIST):
            module = self.view(address)
            if address == _KERNEL_MODULE or not self._readable(module):
                return
            address = module.next  # who is called meanwhile may free it
            yield module

    def _readable(self, view: StructView) -> bool:
        """Whether a struct is where a pointer says: a module may have led it astray."""
        return self._memory.mapped(view.address) and self._memory.mapped(view.address + view.layout.size - 1)

    def everything(self) -> Iterator[StructView]:
        """All modules, newest first, and the kernel."""
        yield from self
        yield self.kernel_module

    def name(self, module: StructView) -> str:
        """A module's name; the kernel's is empty, and so is one that cannot be read."""
        with suppress(PageFault):
            return self._memory.read_text(module.get("name"))
        return ""

    def find(self, name: str) -> StructView | None:
        """find_module(): the newest of that name that is not being deleted."""
        for module in self.everything():
            if not module.flags & MOD_DELETED and self.name(module) == name:
                return module
        return None

    def insert(self, module: StructView) -> None:
        """Put a module in front of all others."""
        module.next = self._memory.read_u64(self.head)
        self._memory.write_u64(self.head, module.address)

    def unlink(self, module: StructView) -> None:
        """Take a module off the list; one that is not on it stays where it is."""
        following = module.next
        for place in (self.head, *(other.address + MODULE.offset("next") for other in self)):
            if self._memory.read_u64(place) == module.address:
                self._memory.write_u64(place, following)
                return

    def rows(self) -> list[tuple[str, int, int, list[str]]]:
        """Name, size, use count and users of each module, newest first."""
        return [(self.name(m), m.size, m.signed("usecount"), self.users(m)) for m in self]

    # --- what a module has ----------------------------------------------------------------------------

    def symbols(self, module: StructView) -> Iterator[tuple[int, str]]:
        """Value and name of each symbol that it exports."""
        with suppress(PageFault):  # a table as long as this is believed by nobody but init_module(2)
            for index in range(module.nsyms):
                value, name = SYMBOL.unpack(self._memory.read(module.syms + SYMBOL.size * index, SYMBOL.size))
                yield value, self._memory.read_text(name)

    def deps(self, module: StructView) -> Iterator[StructView]:
        """Its `struct module_ref`s, one for each module that it uses."""
        for index in range(module.ndeps):
            ref = StructView(self._memory, MODULE_REF, module.deps + REF.size * index)
            if not self._readable(ref):
                return
            yield ref

    def refs(self, module: StructView) -> Iterator[StructView]:
        """The `struct module_ref`s of the modules that use it."""
        address = module.refs
        for _ in range(_LONGEST_LIST):
            ref = StructView(self._memory, MODULE_REF, address)
            if not self._readable(ref):
                return
            address = ref.next_ref
            yield ref

    def users(self, module: StructView) -> list[str]:
        """Names of the modules that use it, latest first."""
        return [self.name(self.view(ref.ref)) for ref in self.refs(module)]

    def uses(self, module: StructView) -> list[str]:
        """Names of the modules that it uses."""
        return [self.name(self.view(ref.dep)) for ref in self.deps(module)]

    @staticmethod
    def present(module: StructView, member: str) -> bool:
        """mod_member_present(): whether insmod knew of a member of `struct module`."""
        return MODULE.offset(member) + MODULE.members[member].size <= module.size_of_struct

    def has_can_unload(self, module: StructView) -> bool:
        """Whether the module itself says when it may go."""
        return self.present(module, "can_unload") and bool(module.can_unload)

    @staticmethod
    def can_query(module: StructView) -> bool:
        """MOD_CAN_QUERY()."""
        flags = module.flags
        return bool(flags & (MOD_RUNNING | MOD_INITIALIZING)) and not flags & MOD_DELETED

    # --- use counts -------------------------------------------------------------------------------------

    def try_inc_mod_count(self, owner: int) -> bool:
        """One more user, as the kernel takes it for a module's file_operations; NULL is the kernel."""
        if not owner:
            return True
        module = self.view(owner)
        if module.flags & MOD_DELETED:
            return False
        module.usecount += 1
        module.flags |= MOD_VISITED | MOD_USED_ONCE
        return True

    def dec_mod_count(self, owner: int) -> None:
        """One user less."""
        if owner:
            module = self.view(owner)
            module.usecount -= 1
            module.flags |= MOD_VISITED

    async def in_use(self, module: StructView) -> bool:
        """__MOD_IN_USE(): its own can_unload() decides if it has one, else its use count."""
        if self.has_can_unload(module):
            return bool(await self._kernel.call_guest_int(module.can_unload))
        return bool(module.usecount)

    # --- freeing ----------------------------------------------------------------------------------------

    async def free(self, module: StructView, *, tag_freed: bool) -> None:
        """free_module(): clean up, give back what it uses, unlink it, release its memory.

        Args:
            module: The module.
            tag_freed: Mark modules that nobody uses any more, for the sweep of autoclean modules.
        """
        events, name = self._kernel.events, self.name(module)
        module.flags |= MOD_DELETED
        if module.flags & MOD_RUNNING:
            if module.cleanup:
                events.emit("classic_cleanup", name=name, address=module.cleanup)
                await self._kernel.call_guest(module.cleanup)
            module.flags &= ~MOD_RUNNING
        for dep in self.deps(module):
            used = self.view(dep.dep)
            previous = used.addressof("refs")
            for ref in self.refs(used):
                if ref.address == dep.address:
                    self._memory.write_u64(previous, dep.next_ref)
                    break
                previous = ref.addressof("next_ref")
            if tag_freed and not used.refs:
                used.flags |= MOD_JUST_FREED
        self.unlink(module)
        self._kernel.module_area.free(module.address)
        events.emit("classic_free_module", name=name, list=[self.name(other) for other in self])

    # --- for oopses and calls by name --------------------------------------------------------------------

    def locate(self, address: int) -> Location | None:
        """The exported symbol before an address in a module's memory: all that a 2.4 kernel knows."""
        for module in self:
            if module.address <= address < module.address + module.size:
                known = [(v, n) for v, n in self.symbols(module) if v <= address]
                value, name = max(known, default=(module.address, "__this_module"))
                return Location(
                    name, address - value, module.address + module.size - value, self.name(module)
                )
        return None

    def lookup_name(self, name: str) -> int | None:
        """Address of what a module exports under that name."""
        for module in self:
            for value, symbol in self.symbols(module):
                if symbol == name:
                    return value
        return None

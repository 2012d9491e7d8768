"""Modules on the real kernel: what the loader brings about is told to the kernel's own subsystems."""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING

from kmod_emu.abi import lists
from kmod_emu.errors import KernelError
from kmod_emu.module.host import ModuleHost
from kmod_emu.module.memory import is_init
from kmod_emu.module.modules import Module, Modules, ModuleState
from kmod_emu.vmlinux.modtree import insert, remove, remove_init

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterator

    from kmod_emu.abi.structs import StructView
    from kmod_emu.module.load import LoadInfo
    from kmod_emu.module.unwind import Unwind
    from kmod_emu.vmlinux.kernel import VmlinuxKernel

_NOTIFY_STOP_MASK, _NOTIFY_OK = 0x8000, 1
_KOBJ_ADD = 0
_LOAD_INFO = struct.Struct("<QQQQQQQ")  # name, mod, hdr, len, sechdrs, secstrings, strtab
_LOAD_INFO_SIZE = 256
_MESSAGES = (("__dyndbg", "_ddebug", "descs"), ("__dyndbg_classes", "ddebug_class_map", "classes"))
_TYPES = {".BTF": "btf_data", ".BTF.base": "btf_base_data"}  # the second, since 6.11, where built elsewhere
_SHDR_SIZE, _SH_FLAGS, _E_SHOFF, _E_SHSTRNDX = 64, 8, 40, 62


class VmlinuxModules(Modules):
    """The list of modules, and beside it who uses whom, which sysfs shows as links."""

    def insert(self, module: Module) -> None:
        """Put a module at the head of the list."""
        for member in ("source_list", "target_list"):
            lists.init(self._kernel.memory, module.view.addressof(member))
        super().insert(module)

    def use(self, user: Module, owner: Module) -> None:
        """`user` imports from `owner`: a struct module_use on the lists of both."""
        if owner in user.uses:
            return
        super().use(user, owner)
        memory = self._kernel.memory
        layout = self._kernel.profile.struct("module_use")
        use = self._kernel.view("module_use", self._kernel.heap.kmalloc(layout.size))
        use.source, use.target = user.address, owner.address
        lists.add(memory, use.addressof("source_list"), owner.view.addressof("source_list"))
        lists.add(memory, use.addressof("target_list"), user.view.addressof("target_list"))

    def drop_uses(self, module: Module) -> None:
        """Give back the references on dependencies."""
        super().drop_uses(module)
        memory, head = self._kernel.memory, module.view.addressof("target_list")
        if not memory.read_u64(head):  # it never came on the list of modules
            return
        offset = self._kernel.profile.offset("module_use", "target_list")
        for entry in list(lists.walk(memory, head)):
            use = self._kernel.view("module_use", entry - offset)
            lists.delete(memory, use.addressof("source_list"))
            lists.delete(memory, use.addressof("target_list"))
            self._kernel.heap.kfree(use.address)


class VmlinuxHost(ModuleHost):
    """The rest of a distribution's kernel, as the loader sees it."""

    def __init__(self, kernel: VmlinuxKernel) -> None:
        super().__init__(kernel)
        self._one_structure = kernel.takes("ddebug_add_module", "di")

    def _chain(self) -> int:
        return self._kernel.symbol("module_notify_list")

    async def _call(self, name: str, *arguments: int) -> int:
        return await self._kernel.call_guest_int(self._kernel.symbol(name), *arguments)

    async def _tree(self, name: str, module: Module, own: Callable[..., Awaitable[None]]) -> None:
        """A function of the tree of modules by address, where the kernel has it apart."""
        if self._kernel.symbols.internal(name):
            await self._call(name, module.address)
        else:
            await own(self._kernel, module.address)

    async def formed(self, info: LoadInfo, module: Module) -> None:
        """Tracers learn of its functions, and the kernel finds modules by address in a tree."""
        await self._call("ftrace_module_init", module.address)
        await self._tree("mod_tree_insert", module, insert)
        await self._debug_messages(info, module)

    def _enters_messages(self, module: Module) -> bool:
        """Whether this kernel's loader enters what pr_debug() may say, by one structure."""
        return self._one_structure and not module.view.has("dyndbg_info")

    async def _debug_messages(self, info: LoadInfo, module: Module) -> None:
        kernel, image = self._kernel, info.image
        if not image.sections[image.find("__dyndbg")].size or not self._enters_messages(module):
            return
        size = kernel.profile.struct("_ddebug_info").size
        view = kernel.view("_ddebug_info", kernel.heap.kmalloc(size))
        self._find_messages(info, view)
        await self._call("ddebug_add_module", view.address, module.view.addressof("name"))
        kernel.heap.kfree(view.address)

    def _find_messages(self, info: LoadInfo, view: StructView) -> None:
        """What pr_debug() may say, and the classes of that, into a `struct _ddebug_info`."""
        for section, kind, member in _MESSAGES:
            found = info.image.sections[info.image.find(section)]
            if found.index:
                view.set(member, found.address)
                view.set(f"num_{member}", found.size // self._kernel.profile.struct(kind).size)

    async def coming(self, info: LoadInfo, module: Module, undo: Unwind) -> None:
        """The kernel's own notifiers patch static branches and calls, read its types, and enter trace events.

        Raises:
            KernelError: What live patching or a notifier returned.
        """
        await self._call("ftrace_module_enable", module.address)
        kernel, view = self._kernel, module.view
        lists.add(kernel.memory, view.addressof("bug_list"), kernel.symbol("module_bug_list"))
        for section, member in _TYPES.items():
            types = info.image.sections[info.image.find_last(section)]
            if view.has(member) and types.index:  # in the temporary copy: what counts is kept elsewhere
                view.set(member, types.address)
                view.set(f"{member}_size", types.size)
        if view.has("dyndbg_info"):  # before 6.6 the loader entered them itself
            self._find_messages(info, kernel.view("_ddebug_info", view.addressof("dyndbg_info")))
        if (result := await self._live_patching("klp_module_coming", module)) < 0:
            raise KernelError(-result, f"live patches refused {module.name}")
        result = await self._call(
            "blocking_notifier_call_chain_robust",
            self._chain(),
            ModuleState.COMING,
            ModuleState.GOING,
            module.address,
        )
        if (result := result & ~_NOTIFY_STOP_MASK) > _NOTIFY_OK:
            await self._live_patching("klp_module_going", module)
            raise KernelError(result - _NOTIFY_OK, f"a module notifier refused {module.name}")

    async def _notify(self, state: ModuleState, module: Module) -> None:
        await self._call("blocking_notifier_call_chain", self._chain(), state, module.address)

    async def _live_patching(self, function: str, module: Module) -> int:
        """Live patches may be for this module."""
        return await self._call(function, module.address) if self._kernel.symbols.internal(function) else 0

    async def unwound(self, module: Module) -> None:
        """A later step refused."""
        await self.going(module)

    async def live(self, module: Module) -> None:
        """Init has returned."""
        await self._notify(ModuleState.LIVE, module)
        await self._call("kobject_uevent", module.view.addressof("mkobj"), _KOBJ_ADD)
        await self._call("async_synchronize_full")  # what init left to others may be in memory that goes now

    async def going(self, module: Module) -> None:
        """Exit has run, or init has failed."""
        await self._notify(ModuleState.GOING, module)
        await self._live_patching("klp_module_going", module)

    async def show(self, info: LoadInfo, module: Module) -> None:
        """Make the module's directory in sysfs.

        Raises:
            KernelError: What mod_sysfs_setup() returned.
        """
        kernel, view = self._kernel, module.view
        for attribute in self._attributes("setup"):  # version and srcversion
            value = module.modinfo.get(kernel.memory.read_text(kernel.memory.read_u64(attribute.address)))
            if value is not None:
                text = kernel.heap.kmalloc(len(value) + 1)
                kernel.memory.write(text, value.encode("utf-8", "surrogateescape") + b"\0")
                await kernel.call_guest(attribute.setup, module.address, text)
                kernel.heap.kfree(text)
        place = kernel.heap.kmalloc(_LOAD_INFO_SIZE)
        kernel.memory.write(place, self._load_info(info, module))
        result = await self._call("mod_sysfs_setup", module.address, place, view.kp, view.num_kp)
        kernel.heap.kfree(place)
        if result < 0:
            raise KernelError(-result, f"{module.name} has no directory in /sys/module")
        module.in_sysfs = True
        kernel.events.emit("mod_sysfs_setup", path=f"/sys/module/{module.name}")

    def _attributes(self, method: str) -> Iterator[StructView]:
        """What of a module's .modinfo has a file in its directory, if it needs that done."""
        kernel, place = self._kernel, self._kernel.symbol("modinfo_attrs")
        while address := kernel.memory.read_u64(place):
            attribute = kernel.view("module_attribute", address)
            if attribute.get(method):
                yield attribute
            place += 8

    def _load_info(self, info: LoadInfo, module: Module) -> bytes:
        """Struct load_info over the temporary copy, whose section headers get what became of them."""
        memory, copy = self._kernel.memory, info.copy
        headers = copy.address + memory.read_u64(copy.address + _E_SHOFF)
        for index, section in enumerate(info.image.sections):
            if index:
                fields = struct.pack("<QQ", section.flags, section.address)
                memory.write(headers + index * _SHDR_SIZE + _SH_FLAGS, fields)
        names = copy.address + info.image.sections[memory.read_u16(copy.address + _E_SHSTRNDX)].offset
        name = module.view.addressof("name")
        return _LOAD_INFO.pack(name, module.address, copy.address, copy.size, headers, names, 0)

    async def hide(self, module: Module) -> None:
        """Remove it."""
        if self._kernel.memory.read_u64(module.view.addressof("mkobj")):  # the kobject's name
            await self._call("mod_sysfs_teardown", module.address)

    async def init_freed(self, module: Module) -> None:
        """Addresses in its init belong to nobody from here on."""
        for name, region in module.regions.items():
            if is_init(name):
                await self._call("ftrace_free_mem", module.address, region.base, region.base + region.size)
        await self._tree("mod_tree_remove_init", module, remove_init)
        for member in _TYPES.values():  # the temporary copy is gone
            if module.view.has(member):
                module.view.set(member, 0)

    async def freed(self, module: Module) -> None:
        """Its addresses belong to nobody from here on."""
        await self._call("ftrace_release_mod", module.address)
        for attribute in self._attributes("free"):
            await self._kernel.call_guest(attribute.get("free"), module.address)
        await self._tree("mod_tree_remove", module, remove)
        if self._enters_messages(module):
            await self._call("ddebug_remove_module", module.view.addressof("name"))
        place = module.view.addressof("bug_list")
        if self._kernel.memory.read_u64(place):
            lists.delete(self._kernel.memory, place)

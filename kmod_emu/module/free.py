"""delete_module and the end of a module (kernel/module/main.c: free_module)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from kmod_emu.errors import KernelError
from kmod_emu.kernel.taint import Taint
from kmod_emu.module import explain
from kmod_emu.module.host import ModuleHost
from kmod_emu.module.kernel_param import free_parameters
from kmod_emu.module.memory import description, is_init
from kmod_emu.module.modules import MODULE_REF_BASE, Module, Modules, ModuleState
from kmod_emu.module.traits import Traits
from kmod_emu.module.unloaded import Unloaded
from kmod_emu.uapi import errno
from kmod_emu.uapi.fcntl import O_TRUNC

if TYPE_CHECKING:
    from kmod_emu.kernel.kernel import KernelCore


async def delete_module(kernel: KernelCore, name: str, flags: int) -> None:
    """Unload a module, if nothing needs it.

    Raises:
        KernelError: ENOENT, EWOULDBLOCK (in use), EBUSY (not live, or it has no exit).
    """
    modules = kernel[Modules]
    module = modules.find(name)
    kernel.events.emit("sys_delete_module", name=name, flags=flags)
    if module is None:
        raise KernelError(errno.ENOENT, f"no module {name} is loaded")
    forced = bool(flags & O_TRUNC)  # the only flag that is looked at
    if module.users:
        raise KernelError(errno.EWOULDBLOCK, explain.in_use(module))
    if module.state is not ModuleState.LIVE:
        raise KernelError(errno.EBUSY, f"{name} is not live: its init or exit has not returned")
    view = module.view
    if view.get("init") and not view.get("exit"):
        if not forced:
            raise KernelError(errno.EBUSY, f"{name} has no exit function: it cannot be removed")
        kernel.taint.add(Taint.FORCED_RMMOD)
    if view.get("refcnt") != MODULE_REF_BASE:
        if not forced:
            raise KernelError(errno.EWOULDBLOCK, explain.in_use(module))
        kernel.taint.add(Taint.FORCED_RMMOD)
    else:
        view.set("refcnt", 0)
    module.state = ModuleState.GOING
    exit_function = view.get("exit")
    if exit_function:
        kernel.events.emit("module_exit", address=exit_function, symbol=kernel.describe(exit_function))
        await kernel.call_guest(exit_function)
    await kernel[ModuleHost].going(module)
    letters = module.letters
    with_letters = letters and not Traits.of(kernel.profile).silent
    modules.last_unloaded = f"{name}({letters})" if with_letters else name
    await free_module(kernel, module)


async def free_module(kernel: KernelCore, module: Module) -> None:
    """Take a module off the list and free all it has."""
    modules = kernel[Modules]
    name = module.name
    for watcher in modules.leaving:
        watcher(module)
    module.in_sysfs = False
    await kernel[ModuleHost].hide(module)
    module.state = ModuleState.UNFORMED
    modules.drop_uses(module)
    await free_parameters(kernel, module)
    await kernel[ModuleHost].freed(module)
    modules.remove(module)
    await kernel.rcu.synchronize()  # a thread that exit() woke ends in time, if it is quick
    forget(kernel, module)
    modules.wake_all()
    kernel.events.emit("free_module", name=name)


def forget(kernel: KernelCore, module: Module) -> None:
    """Give a module's memory back."""
    kernel.faults.tables.pop(f"{module.address:#x}", None)
    kernel.lockdep.forget_modules()
    for address in module.owned:
        kernel.heap.kfree(address)
    if module.percpu:
        kernel.percpu.free(module.percpu)
    free_regions(kernel, module)


def free_regions(kernel: KernelCore, module: Module) -> None:
    """Free all memory of a module."""
    for region in module.regions.values():  # while the name in it can be read
        kernel[Unloaded].note(module, region, "which was unloaded")
    for region in module.regions.values():
        kernel.probes.forget(region.base, region.size)
        kernel.module_area.free(region.base)
    module.regions = {}


def free_init(kernel: KernelCore, module: Module) -> int:
    """Free the memory that only init needed, also in the eyes of the guest; returns the bytes."""
    freed = 0
    for name in [name for name in module.regions if is_init(name)]:
        region = module.regions.pop(name)
        place = description(kernel.profile, module.view, name)
        kernel.memory.write_u64(place.base, 0)
        kernel.memory.write_u32(place.size, 0)
        if kernel.profile.has("module_layout.text_size"):
            kernel.memory.clear(place.size + 4, 12)  # the sizes of its parts
        kernel.probes.forget(region.base, region.size)
        kernel[Unloaded].note(module, region, "whose init memory is freed")
        kernel.module_area.free(region.base)
        freed += region.size
    return freed

"""What loading and removing a module means to the rest of the kernel: who is told, what appears in sysfs.

`load.py`, `init.py` and `free.py` are the same on every base kernel. What they bring about elsewhere goes
through `ModuleHost`, which serves the stub; a base kernel that has sysfs, notifiers and static keys of its
own installs a subclass (vmlinux/modules.py).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from kmod_emu.errors import KernelError
from kmod_emu.module.modules import ModuleState
from kmod_emu.module.patch import ftrace_module_init, patch_branches
from kmod_emu.module.sysfs import announce, mod_sysfs_setup, mod_sysfs_teardown
from kmod_emu.module.trace_events import TraceEvents

if TYPE_CHECKING:
    from kmod_emu.kernel.kernel import KernelCore
    from kmod_emu.module.load import LoadInfo
    from kmod_emu.module.modules import Module
    from kmod_emu.module.unwind import Unwind


class ModuleHost:
    """The rest of the stub base kernel, as the loader sees it."""

    def __init__(self, kernel: KernelCore) -> None:
        self._kernel = kernel

    async def formed(self, info: LoadInfo, module: Module) -> None:
        """The module's memory is complete: enter its debug messages, take out the calls of tracers."""
        from kmod_emu.module.dynamic_debug import dynamic_debug_setup

        dynamic_debug_setup(info, module)
        ftrace_module_init(info, module)

    async def coming(self, info: LoadInfo, module: Module, undo: Unwind) -> None:
        """Patch static branches and calls, then tell the notifiers.

        Raises:
            KernelError: What a notifier returned.
        """
        kernel = self._kernel
        patch_branches(info, module)
        undo.on_failure(kernel[TraceEvents].going, module)
        await kernel[TraceEvents].coming(module)
        result = await kernel.notifiers.call_robust(
            "module", ModuleState.COMING, ModuleState.GOING, module.address
        )
        if result:
            raise KernelError(-result, f"a module notifier refused {module.name}")

    async def unwound(self, module: Module) -> None:
        """A later step refused: tell the notifiers."""
        await self._kernel.notifiers.call("module", ModuleState.GOING, module.address)

    async def live(self, module: Module) -> None:
        """Init has returned: tell the notifiers and user space."""
        await self._kernel.notifiers.call("module", ModuleState.LIVE, module.address)
        announce(self._kernel, module)

    async def going(self, module: Module) -> None:
        """Exit has run, or init has failed: tell the notifiers."""
        await self._kernel[TraceEvents].going(module)
        await self.unwound(module)

    async def show(self, info: LoadInfo, module: Module) -> None:
        """Make the module's directory in sysfs.

        Raises:
            KernelError: EINVAL, EEXIST: it is there already, or one of its files twice.
        """
        mod_sysfs_setup(self._kernel, module)

    async def hide(self, module: Module) -> None:
        """Remove it."""
        mod_sysfs_teardown(self._kernel, module)

    async def init_freed(self, module: Module) -> None:
        """The memory of its init is about to be freed: what it left to others may be in it."""
        from kmod_emu.kernel.async_schedule import async_synchronize_full

        if not module.view.async_probe_requested:
            await async_synchronize_full(self._kernel)

    async def freed(self, module: Module) -> None:
        """All its memory is about to be freed."""

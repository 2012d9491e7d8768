"""/proc/modules, /proc/kallsyms and the sysctls of modules (kernel/module/procfs.c, kernel/kallsyms.c)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from kmod_emu.errors import KernelError
from kmod_emu.fs.sysctl import numbers
from kmod_emu.fs.tree import Node, directory
from kmod_emu.kernel.tasks import CAP_SYSLOG
from kmod_emu.module.dynamic_debug import control_node
from kmod_emu.module.modules import STATE_NAMES, Module, Modules, ModuleState
from kmod_emu.uapi import errno

if TYPE_CHECKING:
    from kmod_emu.fs.procfs import Procfs
    from kmod_emu.kernel.kernel import KernelCore
    from kmod_emu.kernel.tasks import Task


def shows_value(kernel: KernelCore, privileged: bool) -> bool:
    """Whether kernel addresses are shown, by the sysctls as they are now (kallsyms_show_value).

    Args:
        kernel: The machine.
        privileged: Whether who opened the file had CAP_SYSLOG then.
    """
    restricted = kernel.sysctl["kptr_restrict"]
    if restricted == 0 and kernel.sysctl["perf_event_paranoid"] <= 1:
        return True
    return restricted <= 1 and privileged


def is_privileged(task: Task) -> bool:
    """Whether the opener of a file may be shown addresses at all."""
    return task.capable(CAP_SYSLOG)


class ModuleProcfs:
    """Adds the module files to /proc."""

    def __init__(self, kernel: KernelCore, procfs: Procfs) -> None:
        self._kernel = kernel
        self._modules = kernel[Modules]
        procfs.files["dynamic_debug"] = directory({"control": control_node(kernel)})
        procfs.files["modules"] = Node(0o444, read=self.modules, opened=self._visible)
        procfs.files["kallsyms"] = Node(0o444, read=self.kallsyms, opened=self._visible)
        procfs.sysctl_kernel["modules_disabled"] = Node(
            0o644, read=lambda task: f"{int(self._modules.disabled)}\n", write=self._write_disabled
        )

    def _visible(self, task: Task) -> bool:
        """Decided when the file is opened, for as long as it is open (modules_open, kallsyms_open)."""
        return shows_value(self._kernel, is_privileged(task))

    def modules(self, visible: bool) -> str:
        """One line a module, newest first (m_show)."""
        return "".join(module_line(module, visible) for module in self._modules.formed())

    def system_map(self, task: Task) -> str:
        """The base kernel's symbols by address, as its build leaves them in System.map."""
        symbols = self._kernel.symbols.listing()
        return "".join(f"{address:016x} {letter} {name}\n" for address, letter, name in symbols)

    def kallsyms(self, visible: bool) -> str:
        """Symbols of the base kernel, then of the modules."""
        lines = [
            f"{address if visible else 0:016x} {letter} {name}\n"
            for address, letter, name in self._kernel.symbols.listing()
        ]
        for module in self._modules.formed():
            lines += [
                f"{address if visible else 0:016x} {letter} {name}\t[{module.name}]\n"
                for address, letter, name in module.symbols
                if name
            ]
        return "".join(lines)

    def _write_disabled(self, task: Task, data: bytes) -> None:
        """kernel.modules_disabled: 1 can be written, and never another value."""
        if numbers(data) != [1]:
            raise KernelError(errno.EINVAL, "kernel.modules_disabled can only be set to 1")
        self._modules.disabled = True


def module_line(module: Module, visible: bool) -> str:
    """A line of /proc/modules."""
    users = "".join(f"{user.name}," for user in module.users)
    view = module.view
    if view.get("init") and not view.get("exit"):
        users += "[permanent],"
    address = module.base if visible else 0
    state = STATE_NAMES.get(module.state, "Unformed")
    refcnt = -1 if module.state is ModuleState.GOING else module.refcnt
    return f"{module.name} {module.size} {refcnt} {users or '-'} {state} {address:#018x}{module.flags()}\n"

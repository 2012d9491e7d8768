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


def shows_value(task: Task) -> bool:
    """Whether a task may see kernel addresses (kallsyms_show_value)."""
    sysctl = task.kernel.sysctl
    restricted = sysctl["kptr_restrict"]
    if restricted == 0 and sysctl["perf_event_paranoid"] <= 1:
        return True
    return restricted <= 1 and task.capable(CAP_SYSLOG)


class ModuleProcfs:
    """Adds the module files to /proc."""

    def __init__(self, kernel: KernelCore, procfs: Procfs) -> None:
        self._kernel = kernel
        self._modules = kernel[Modules]
        procfs.files["dynamic_debug"] = directory({"control": control_node(kernel)})
        procfs.files["modules"] = Node(0o444, read=self.modules)
        procfs.files["kallsyms"] = Node(0o444, read=self.kallsyms)
        procfs.sysctl_kernel["modules_disabled"] = Node(
            0o644, read=lambda task: f"{int(self._modules.disabled)}\n", write=self._write_disabled
        )

    def modules(self, task: Task) -> str:
        """One line a module, newest first (m_show)."""
        return "".join(module_line(module, shows_value(task)) for module in self._modules.formed())

    def system_map(self, task: Task) -> str:
        """The base kernel's symbols by address, as its build leaves them in System.map."""
        symbols = self._kernel.symbols.listing()
        return "".join(f"{address:016x} {letter} {name}\n" for address, letter, name in symbols)

    def kallsyms(self, task: Task) -> str:
        """Symbols of the base kernel, then of the modules."""
        visible = shows_value(task)
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

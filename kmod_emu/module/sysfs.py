"""/sys/module/NAME (kernel/module/sysfs.c, kernel/params.c)."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from kmod_emu.errors import KernelError
from kmod_emu.fs.sysfs import Sysfs
from kmod_emu.fs.tree import Node, directory
from kmod_emu.fs.uevent import Uevents, synthesize
from kmod_emu.machine.memory import PAGE_SIZE
from kmod_emu.module.builtin import builtin_directories
from kmod_emu.module.errors import LoadError
from kmod_emu.module.kernel_param import get_parameter, parameters, store_parameter
from kmod_emu.module.modules import Module, Modules, ModuleState, Parameter
from kmod_emu.module.procfs import is_privileged, shows_value
from kmod_emu.uapi import errno

if TYPE_CHECKING:
    from collections.abc import Callable

    from kmod_emu.kernel.kernel import KernelCore
    from kmod_emu.kernel.tasks import Task

_INITSTATE = {ModuleState.LIVE: "live", ModuleState.COMING: "coming", ModuleState.GOING: "going"}


def mod_sysfs_setup(kernel: KernelCore, module: Module) -> None:
    """Create the module's directory; the files are computed when read, so only refusals happen here.

    Raises:
        LoadError: EINVAL, there is a directory of that name already.
        KernelError: EEXIST, two parameters have one name.
    """
    if module.name in kernel[ModuleSysfs].names():
        raise LoadError(errno.EINVAL, "", (3, f"{module.name}: module is already loaded"))
    shown: dict[str, Parameter] = {}
    for parameter in parameters(kernel, module, shown=True):
        if parameter.name in shown:
            path = f"/module/{module.name}/parameters/{parameter.name}"
            kernel[Sysfs].warn_dup(path)
            raise KernelError(errno.EEXIST, f"the module has two parameters named {parameter.name}")
        shown[parameter.name] = parameter
    module.parameters = list(shown.values())
    module.in_sysfs = True
    kernel[Sysfs].adopt(module_kobject(module), module.name, "module")
    kernel.events.emit("mod_sysfs_setup", path=f"/sys/module/{module.name}")


def announce(kernel: KernelCore, module: Module) -> None:
    """Tell user space that the module is there: add@/module/NAME (kobject_uevent)."""
    kernel.kobjects.view(module_kobject(module)).set_bit("state_add_uevent_sent", True)
    kernel[Uevents].send("add", f"/module/{module.name}", {"SUBSYSTEM": "module"})


def mod_sysfs_teardown(kernel: KernelCore, module: Module) -> None:
    """The directory goes, with what the module put there; user space is told if it was told of the module."""
    if kernel.kobjects.view(module_kobject(module)).bit("state_add_uevent_sent"):
        kernel[Uevents].send("remove", f"/module/{module.name}", {"SUBSYSTEM": "module"})
    kernel[Sysfs].disown(module_kobject(module))


def module_kobject(module: Module) -> int:
    """Address of the module's kobject, which drivers use as a parent: `&THIS_MODULE->mkobj.kobj`."""
    return module.view.addressof("mkobj")


class ModuleSysfs:
    """What is in /sys/module. A module that hides from the list of modules is still in here."""

    def __init__(self, kernel: KernelCore) -> None:
        self._kernel = kernel
        self._builtin = builtin_directories(kernel)

    def names(self) -> set[str]:
        """Who has a directory."""
        return set(self.list())

    def list(self) -> dict[str, Node]:
        """A directory for each of them."""
        modules = [module for module in self._kernel[Modules].known.values() if module.in_sysfs]
        found = {module.name: directory(partial(self._files, module)) for module in modules}
        return self._builtin | found

    def _files(self, module: Module) -> dict[str, Node]:
        facts: dict[str, Callable[[], str]] = {
            "coresize": lambda: f"{module.core_size}",
            "initsize": lambda: f"{module.size - module.core_size}",
            "initstate": lambda: _INITSTATE.get(module.state, "unformed"),
            "refcnt": lambda: f"{module.refcnt}",
            "taint": lambda: module.letters,
        }
        files = {name: _text(fact) for name, fact in facts.items()}
        for tag in ("version", "srcversion"):
            if tag in module.modinfo:
                files[tag] = _text(partial(module.modinfo.__getitem__, tag))
        namespaces = module.modinfo.get("import_ns")
        if namespaces and module.view.has("imported_namespaces"):
            files["import_ns"] = _text(lambda: namespaces)
        files["uevent"] = Node(0o200, write=partial(self._synthesize, module), size=PAGE_SIZE)
        files["holders"] = directory(
            lambda: {user.name: Node(0o777, target=f"../../{user.name}") for user in module.users}
        )
        files["sections"] = directory(
            {name: self._section(address) for name, address, size in module.sections if size}
        )
        if module.notes:
            files["notes"] = directory(
                {name: self._note(address, size) for name, address, size in module.notes}
            )
        if module.parameters:
            files["parameters"] = directory({p.name: self._parameter(module, p) for p in module.parameters})
        files.update(self._kernel[Sysfs].list(module_kobject(module)))
        return files

    def _synthesize(self, module: Module, task: Task, data: bytes) -> None:
        synthesize(self._kernel, f"/module/{module.name}", "module", data)

    def _section(self, address: int) -> Node:
        def read(privileged: bool) -> str:
            return f"{address if shows_value(self._kernel, privileged) else 0:#018x}\n"

        return Node(0o400, read=read, size=len("0x\n") + 16, opened=is_privileged, whole=True)

    def _note(self, address: int, size: int) -> Node:
        return Node(0o444, read=lambda task: self._kernel.memory.read(address, size), size=size)

    def _parameter(self, module: Module, parameter: Parameter) -> Node:
        kernel = self._kernel

        async def read(task: Task) -> bytes:
            return await get_parameter(kernel, module, parameter)

        async def write(task: Task, data: bytes) -> int:
            return await store_parameter(kernel, module, parameter, data)

        return Node(parameter.permissions, read=read, write=write, size=PAGE_SIZE)


def _text(fact: Callable[[], str]) -> Node:
    return Node(0o444, read=lambda task: fact() + "\n", size=PAGE_SIZE)

"""What is told of modules that the kernel's own code loads and removes: events, and why it refuses."""

from __future__ import annotations

from typing import TYPE_CHECKING

from kmod_emu.errors import KernelError, Killed
from kmod_emu.kernel.extable import ENTRY_SIZE
from kmod_emu.kernel.faults import Tables
from kmod_emu.module.init import do_one_initcall
from kmod_emu.module.modules import MODULE_NAME_LEN, Modules

if TYPE_CHECKING:
    from collections.abc import Coroutine
    from typing import Any

    from kmod_emu.kernel.kernel import KernelCore
    from kmod_emu.module.modules import Module


async def init(kernel: KernelCore, function: int) -> int:
    """Call the init of a module; it is what the current task loads."""
    modules = kernel[Modules]
    module = modules.holding(function)
    modules.note_load(module)
    if module is not None:
        _note_tables(kernel, module)
    result = await do_one_initcall(kernel, function)
    if module is not None:
        module.init_rc = result
    kernel.events.emit("initcall_result", rc=result)
    return result


async def load(kernel: KernelCore, call: Coroutine[Any, Any, int]) -> int:
    """Init_module(2) or finit_module(2).

    Raises:
        KernelError: It was refused.
        Killed: The task died on the way.
    """
    modules, since = kernel[Modules], kernel.printk.sequence
    modules.note_load(None)
    pid = kernel.sched.current.pid
    try:
        result = await call
    except Killed:
        raise
    except KernelError as error:
        result = -error.errno
    if result < 0:  # also what init may return below all errnos
        made = _gone(kernel, pid)
        refused = KernelError(-result, _reason(kernel, made, since))
        kernel.events.emit("load_failed", errno=refused.errno, explanation=refused.explanation)
        raise refused
    module = modules.loaded_by(pid) or next(iter(modules))  # one without an init is where new ones are put
    modules.note_load(module)
    _note_tables(kernel, module)
    kernel.events.emit("module_live", name=module.name, size=module.size)
    return result


def _gone(kernel: KernelCore, pid: int) -> Module | None:
    """The module that a task was loading, which the kernel has freed."""
    made = kernel[Modules].loaded_by(pid)
    if made is not None:
        made.regions = {}
        _forget_tables(kernel, made)
    return made


def _reason(kernel: KernelCore, made: Module | None, since: int) -> str:
    """Why the kernel refused a module: what init returned, or else the last thing that was said."""
    if made is not None and made.init_rc is not None and made.init_rc < 0:
        return f"init returned {made.init_rc}: it did run, and refused"
    said = [record.kmsg() for record in kernel.printk.readable() if record.sequence >= since]
    return f"the kernel's own loader refused it: {said[-1]}" if said else ""


async def remove(kernel: KernelCore, call: Coroutine[Any, Any, int], name: int, flags: int) -> int:
    """Delete_module(2).

    Raises:
        KernelError: It was refused.
    """
    try:
        text = kernel.user.strndup(name, MODULE_NAME_LEN).decode("utf-8", "backslashreplace")
    except KernelError:
        return await call  # which says so
    kernel.events.emit("sys_delete_module", name=text, flags=flags)
    module = next((module for module in kernel[Modules] if module.name == text), None)
    result = await call
    if module is not None:
        _forget_tables(kernel, module)
    kernel.events.emit("free_module", name=text)
    return result


def _note_tables(kernel: KernelCore, module: Module) -> None:
    """Tell the fault handler of a module's bug and exception tables, where the kernel has entered them."""
    view, entry = module.view, kernel.profile.struct("bug_entry").size
    kernel.faults.tables[f"{module.address:#x}"] = Tables(
        bugs=(view.bug_table, view.num_bugs * entry),
        extable=(view.extable, view.num_exentries * ENTRY_SIZE),
        module=module.address,
    )


def _forget_tables(kernel: KernelCore, module: Module) -> None:
    kernel.faults.tables.pop(f"{module.address:#x}", None)

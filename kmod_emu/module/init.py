"""Running a module's init (kernel/module/main.c: do_init_module; init/main.c: do_one_initcall)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from kmod_emu.errors import KernelError
from kmod_emu.kernel import report
from kmod_emu.machine.memory import READ
from kmod_emu.module.free import free_init, free_module
from kmod_emu.module.host import ModuleHost
from kmod_emu.module.modules import Modules, ModuleState
from kmod_emu.module.traits import Traits
from kmod_emu.uapi import errno

if TYPE_CHECKING:
    from kmod_emu.kernel.kernel import KernelCore
    from kmod_emu.module.modules import Module

_IF = 1 << 9  # EFLAGS: interrupts on


async def do_init_module(kernel: KernelCore, module: Module) -> int:
    """Call init; on success the module is LIVE and its init memory is freed.

    Raises:
        KernelError: What init returned; the module is gone.
    """
    modules, view, name = kernel[Modules], module.view, module.name
    init = view.get("init")
    result = 0
    if init:
        result = await do_one_initcall(kernel, init)
        module.init_rc = result
        kernel.events.emit("initcall_result", rc=result)
    traits = Traits.of(kernel.profile)
    if traits.flagged and result == -errno.EEXIST:
        result = -errno.EBUSY  # that number is the system call's word for "a module of this name is loaded"
    if result < 0:
        await _fail_init(kernel, module)
        raise KernelError(-result, f"init of {name} returned {result}: it did run, and refused")
    if result > 0:
        _complain(kernel, module.name, result, traits)
    module.state = ModuleState.LIVE
    await kernel[ModuleHost].live(module)
    modules.put(module)
    module.symbols = module.core_symbols
    view.kallsyms = view.addressof("core_kallsyms")
    _seal(kernel, module)
    kernel.events.emit("module_live", name=module.name, size=module.size)
    await kernel[ModuleHost].init_freed(module)
    kernel.events.emit("free_init", size=free_init(kernel, module))
    modules.wake_all()
    return 0


def _complain(kernel: KernelCore, name: str, result: int, traits: Traits) -> None:
    """The line about an init that returned something positive."""
    text = f"init suspiciously returned {result}, it should follow 0/-E convention\n"
    if traits.flagged:
        kernel.printk.emit(f"{name}: {text}", 4)
        return
    kernel.printk.emit(f"do_init_module: '{name}'->{text}do_init_module: loading module anyway...\n", 4)
    report.dump_stack(kernel)


async def do_one_initcall(kernel: KernelCore, function: int) -> int:
    """Call an init function; it must leave preemption and interrupts as they were."""
    kernel.events.emit(
        "do_one_initcall",
        address=function, symbol=kernel.describe(function), stack=kernel.sched.current.stack_top,
    )  # fmt: skip
    count = kernel.percpu.read("__preempt_count", 4)
    result = await kernel.call_guest_int(function)
    kernel.lockdep.check_idle(kernel.sched.current, "on return to user space")  # while init's code is there
    complaint = ""
    if kernel.percpu.read("__preempt_count", 4) != count:
        complaint += "preemption imbalance "
        kernel.percpu.write("__preempt_count", count, 4)
    flags = kernel.cpu.read("eflags")
    if not flags & _IF:
        complaint += "disabled interrupts "
        kernel.cpu.write("eflags", flags | _IF)
    if complaint:
        text = f"initcall {kernel.describe(function)} returned with {complaint}"
        kernel.warnings.warn("init/main.c", 1284, text, "do_one_initcall+0x1d7/0x220")
    return result


async def _fail_init(kernel: KernelCore, module: Module) -> None:
    """Init refused: everything is undone, silently."""
    module.state = ModuleState.GOING
    kernel[Modules].put(module)
    await kernel[ModuleHost].going(module)
    await free_module(kernel, module)


def _seal(kernel: KernelCore, module: Module) -> None:
    """Data that is read-only after init becomes so (module_enable_ro)."""
    for region in module.regions.values():
        start, end = region.sealed
        if end > start:
            kernel.memory.protect(region.base + start, end - start, READ)

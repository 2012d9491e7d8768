"""Reference counts as guest code moves them (kernel/module/main.c)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from kmod_emu.kernel.exports import export
from kmod_emu.module.modules import Modules, ModuleState
from kmod_emu.module.resolve import find_symbol

if TYPE_CHECKING:
    from kmod_emu.kernel.kernel import KernelCore
    from kmod_emu.module.modules import Module


@export("bool try_module_get(struct module *module)")
def try_module_get(kernel: KernelCore, module: int) -> int:
    """One more user, unless the module is going; NULL is the base kernel, which never goes."""
    known = kernel[Modules].known.get(module)
    return 1 if known is None else int(kernel[Modules].get(known))


@export("void __module_get(struct module *module)")
def __module_get(kernel: KernelCore, module: int) -> None:
    """One more user; the caller holds one already."""
    known = kernel[Modules].known.get(module)
    if known is not None:
        known.view.set("refcnt", known.view.get("refcnt") + 1)


@export("void module_put(struct module *module)")
def module_put(kernel: KernelCore, module: int) -> None:
    """One user less; a put too many is a warning."""
    known = kernel[Modules].known.get(module)
    if known is not None:
        _put(kernel, known)


def _put(kernel: KernelCore, module: Module) -> None:
    if not kernel[Modules].put(module):
        kernel.warnings.warn("kernel/module/main.c", 857, "", "module_put+0x8b/0x90")


@export("int module_refcount(struct module *mod)")
def module_refcount(kernel: KernelCore, mod: int) -> int:
    """Users of a module; -1 once it is going."""
    known = kernel[Modules].known.get(mod)
    return known.refcnt if known is not None else 0


@export("void *__symbol_get(const char *symbol)")
def __symbol_get(kernel: KernelCore, symbol: str) -> int:
    """Address of a GPL-only export, whose module gets one more user; NULL where there is none to get."""
    found = find_symbol(kernel, symbol, gplok=True)
    if found is None:
        return 0
    if not found.gpl:
        kernel.printk.emit(f"failing symbol_get of non-GPLONLY symbol {symbol}.\n", 4)
        return 0
    if found.owner is not None and (
        found.owner.state is ModuleState.COMING or not kernel[Modules].get(found.owner)
    ):
        return 0
    return found.address


@export("void __symbol_put(const char *symbol)")
def __symbol_put(kernel: KernelCore, symbol: str) -> None:
    """Give back what __symbol_get() took."""
    found = find_symbol(kernel, symbol, gplok=True)
    if found is None:
        kernel.oopses.bug(f"__symbol_put({symbol}): nobody exports that")
    if found.owner is not None:
        _put(kernel, found.owner)


@export("void symbol_put_addr(void *addr)")
def symbol_put_addr(kernel: KernelCore, addr: int) -> None:
    """Give back what __symbol_get() took, by any address in the module's code."""
    owner = kernel[Modules].holding(addr)
    if owner is not None:
        _put(kernel, owner)
    elif kernel.locate(addr) is None:
        kernel.oopses.bug(f"symbol_put_addr({addr:#x}): that is no module's")

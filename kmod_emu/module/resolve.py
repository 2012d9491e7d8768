"""Finding symbols for a module: base kernel first, then modules (kernel/module/main.c)."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from kmod_emu.errors import KernelError
from kmod_emu.kernel.taint import Taint
from kmod_emu.module.modules import Modules, ModuleState
from kmod_emu.uapi import errno

if TYPE_CHECKING:
    from kmod_emu.kernel.kernel import KernelCore
    from kmod_emu.module.modules import Module


class Found(NamedTuple):
    """An exported symbol and who exports it (None: the base kernel)."""

    name: str
    address: int
    crc: int | None
    gpl: bool
    namespace: str
    owner: Module | None


class OwnerComing(KernelError):
    """A symbol's module has not finished its init (EBUSY)."""

    def __init__(self, owner: Module) -> None:
        super().__init__(errno.EBUSY, f"{owner.name}, which exports the symbol, is still running its init")
        self.owner = owner


def find_symbol(kernel: KernelCore, name: str, *, gplok: bool) -> Found | None:
    """Look an export up in the base kernel, then in modules, newest first; GPL-only ones if `gplok`."""
    symbol = kernel.symbols.find(name)
    if symbol is not None and (gplok or not symbol.gpl):
        return Found(name, symbol.address, symbol.crc, symbol.gpl, symbol.namespace, None)
    for module in kernel[Modules].formed():
        known = module.exports.get(name)
        if known is not None and (gplok or not known[2]):
            return Found(name, *known, module)
    return None


def inherit_taint(kernel: KernelCore, module: Module, found: Found, *, using_gpl: bool) -> bool:
    """Whether a module may use a symbol of a proprietary module; then it is proprietary itself."""
    owner = found.owner
    if owner is None or not owner.taints >> Taint.PROPRIETARY_MODULE & 1:
        return True
    if using_gpl:
        kernel.printk.emit(
            f"{module.name}: module using GPL-only symbols uses symbols {found.name} from proprietary module "
            f"{owner.name}.\n",
            3,
        )
        return False
    if not module.taints >> Taint.PROPRIETARY_MODULE & 1:
        kernel.printk.emit(
            f"{module.name}: module uses symbols {found.name} from proprietary module {owner.name}, "
            "inheriting taint.\n",
            4,
        )
        module.view.taints = module.taints | 1 << Taint.PROPRIETARY_MODULE
    return True


def verify_namespace(kernel: KernelCore, module: Module, found: Found, imports: set[str]) -> None:
    """A symbol in a namespace needs `import_ns` (verify_namespace_is_imported).

    Raises:
        KernelError: EINVAL.
    """
    if found.namespace and found.namespace not in imports:
        kernel.printk.emit(
            f"{module.name}: module uses symbol ({found.name}) from namespace {found.namespace}, "
            "but does not import it.\n",
            3,
        )
        raise KernelError(
            errno.EINVAL, f"add MODULE_IMPORT_NS({found.namespace}) to the module: it uses {found.name}"
        )


def ref_module(kernel: KernelCore, user: Module, owner: Module) -> None:
    """Take a reference on the module a symbol comes from.

    Raises:
        OwnerComing: It is still loading.
        KernelError: ENOENT, it is going.
    """
    if owner in user.uses:
        return
    if owner.state is ModuleState.COMING:
        raise OwnerComing(owner)
    if owner.state is ModuleState.GOING:
        raise KernelError(errno.ENOENT, f"{owner.name} is being removed")
    kernel[Modules].use(user, owner)

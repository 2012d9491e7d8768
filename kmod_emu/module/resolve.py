"""Finding symbols for a module: base kernel first, then modules (kernel/module/main.c)."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from kmod_emu.errors import KernelError
from kmod_emu.kernel.taint import Taint
from kmod_emu.module.errors import LoadError
from kmod_emu.module.modules import Modules, ModuleState
from kmod_emu.uapi import errno

if TYPE_CHECKING:
    from kmod_emu.kernel.kernel import KernelCore
    from kmod_emu.module.load import LoadInfo
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
    module = kernel[Modules].exporter(name, gplok=gplok)
    return Found(name, *module.exports[name], module) if module is not None else None


def inherit_taint(info: LoadInfo, found: Found, *, using_gpl: bool) -> bool:
    """Whether a module may use a symbol of a proprietary module; then it is proprietary itself."""
    owner, module = found.owner, info.module
    assert module is not None
    if owner is None or not owner.taints >> Taint.PROPRIETARY_MODULE & 1:
        return True
    symbol = "" if info.traits.silent else f"{found.name} "
    if using_gpl:
        users = "module using GPL-only symbols uses symbols"
        info.printk(3, f"{info.name}: {users} {symbol}from proprietary module {owner.name}.")
        return False
    if not module.taints >> Taint.PROPRIETARY_MODULE & 1:
        text = f"module uses symbols {symbol}from proprietary module {owner.name}, inheriting taint."
        info.printk(4, f"{info.name}: {text}")
        module.view.taints = module.taints | 1 << Taint.PROPRIETARY_MODULE
    return True


_MODULE_NAMESPACE = "module:"


def verify_namespace(info: LoadInfo, found: Found) -> None:
    """A symbol in a namespace needs `import_ns`, or must name the module (verify_namespace_is_imported).

    Raises:
        LoadError: EINVAL.
    """
    space = found.namespace
    if not space or space in info.imports:
        return
    by_name = info.traits.flagged and space.startswith(_MODULE_NAMESPACE)
    if by_name and names_module(space.removeprefix(_MODULE_NAMESPACE), info.name):
        return
    text = f"{info.name}: module uses symbol ({found.name}) from namespace {space}, but does not import it."
    info.printk(3, text)
    raise KernelError(errno.EINVAL, f"add MODULE_IMPORT_NS({space}) to the module: it uses {found.name}")


def verify_imports(info: LoadInfo) -> None:
    """Namespaces that name modules are nothing to import.

    Raises:
        LoadError: EPERM.
    """
    wrong = next((space for space in info.imports if space.startswith(_MODULE_NAMESPACE)), None)
    if info.traits.flagged and wrong is not None:
        text = f"{info.name}: module tries to import module namespace: {wrong}"
        raise LoadError(errno.EPERM, "", (3, text))


def names_module(patterns: str, name: str) -> bool:
    """Whether a list such as `kvm,kvm-*` names a module; `-` and `_` are the same.

    >>> names_module("kvm,snd-*", "snd_pcm"), names_module("kvm", "kvm_intel")
    (True, False)
    """
    name = name.replace("-", "_")
    for pattern in patterns.replace("-", "_").split(","):
        if name.startswith(pattern[:-1]) if pattern.endswith("*") else name == pattern:
            return True
    return False


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

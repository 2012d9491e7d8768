"""Giving every symbol of a module its value (kernel/module/main.c: simplify_symbols)."""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING

from kmod_emu.errors import KernelError
from kmod_emu.kernel.clock import NSEC_PER_SEC
from kmod_emu.kernel.taint import Taint
from kmod_emu.module import elf, explain
from kmod_emu.module.check import check_version
from kmod_emu.module.errors import LoadError
from kmod_emu.module.kallsyms import write_symbols
from kmod_emu.module.modules import Modules
from kmod_emu.module.resolve import OwnerComing, find_symbol, inherit_taint, ref_module, verify_namespace
from kmod_emu.uapi import errno

if TYPE_CHECKING:
    from kmod_emu.module.load import LoadInfo
    from kmod_emu.module.modules import Module
    from kmod_emu.module.resolve import Found

_MASK64 = (1 << 64) - 1
_PATIENCE_NS = 30 * NSEC_PER_SEC


async def simplify_symbols(info: LoadInfo, module: Module) -> None:
    """Resolve imports and add section addresses.

    Every unknown symbol is reported; the errno of the last one is the result.

    Raises:
        KernelError: ENOENT (unknown symbol), EINVAL (version, namespace), EBUSY.
        LoadError: ENOEXEC, a symbol in no section.
    """
    image = info.image
    addresses = [section.address for section in image.sections]
    if image.percpu:
        addresses[image.percpu] = module.percpu
    count, values, resolved = len(addresses), [0] * bool(image.symbols), []
    failure: KernelError | None = None
    unresolved: dict[str, KernelError] = {}
    resolver = _Resolver(info, module)
    for symbol in image.symbols[1:]:
        shndx = symbol.shndx
        if shndx == elf.SHN_UNDEF:
            try:
                name, weak = image.symbol_name(symbol), symbol.binding == elf.STB_WEAK
                found = await resolver.resolve_wait(name, weak=weak)
                values.append(found.address if found else 0)
                if found:
                    resolved.append(found)
            except KernelError as error:
                unresolved[name] = error
                failure = explain.UnresolvedSymbols(unresolved)
                values.append(0)
                info.printk(4, f"{info.name}: Unknown symbol {name} (err -{error.errno})")
        elif shndx in (elf.SHN_ABS, elf.SHN_LIVEPATCH):
            values.append(symbol.value)
        elif shndx == elf.SHN_COMMON:
            if not image.symbol_name(symbol).startswith("__gnu_lto"):
                failure = LoadError(errno.ENOEXEC, explanation="compile the module with -fno-common")
                info.printk(4, f"{info.name}: please compile with -fno-common")
            values.append(symbol.value)
        elif shndx >= count:
            text = f"{info.name}: Symbol {image.symbol_name(symbol)} has an invalid section index "
            failure = LoadError(errno.ENOEXEC)
            info.printk(3, f"{text}{shndx} (max {count - 1})")
            values.append(symbol.value)
        else:
            values.append(symbol.value + addresses[shndx] & _MASK64)
    if failure is not None:
        raise failure
    info.values = values
    write_symbols(info)
    if info.kernel.events:
        info.kernel.events.emit(
            "simplify_symbols",
            resolved=[
                {
                    "name": found.name,
                    "address": found.address,
                    "owner": found.owner.name if found.owner else None,
                }
                for found in resolved
            ],
            defined=len(values) - 1 - len(resolved),
        )


class _Resolver:
    """resolve_symbol_wait() for one module."""

    def __init__(self, info: LoadInfo, module: Module) -> None:
        self._info, self._module = info, module
        self._using_gpl = False

    async def resolve_wait(self, name: str, *, weak: bool) -> Found | None:
        """The symbol; one of a module that runs its init is waited for, 30 seconds at most.

        Raises:
            KernelError: ENOENT, EINVAL, EBUSY.
        """
        kernel, until_ns = self._info.kernel, None
        while True:
            try:
                return self.resolve(name, weak=weak)
            except OwnerComing as coming:
                until_ns = until_ns or kernel.clock.now_ns + _PATIENCE_NS
                with suppress(KernelError):  # a signal: then this is all
                    if await kernel[Modules].wait(until_ns):
                        continue
                owner, module = coming.owner.name, self._module.name
                self._info.printk(4, f"{module}: gave up waiting for init of module {owner}.")
                raise

    def resolve(self, name: str, *, weak: bool) -> Found | None:
        """The symbol, or None for a weak one that nobody exports.

        Raises:
            KernelError: ENOENT, EINVAL, EBUSY.
        """
        info, module = self._info, self._module
        kernel = info.kernel
        found = find_symbol(kernel, name, gplok=not module.taints >> Taint.PROPRIETARY_MODULE & 1)
        if found is not None and found.gpl:
            self._using_gpl = True
            module.view.using_gplonly_symbols = 1
        if found is None or not inherit_taint(info, found, using_gpl=self._using_gpl):
            if weak or name == "_GLOBAL_OFFSET_TABLE_":
                return None
            hidden = find_symbol(kernel, name, gplok=True)
            license_ = info.modinfo.get("license", "unspecified")
            raise KernelError(errno.ENOENT, explain.unknown_symbol(kernel, name, license_, hidden))
        if not check_version(info, name, found.crc):
            wanted = info.versions.crc(name)
            raise KernelError(errno.EINVAL, explain.other_version(name, wanted, found.crc or 0))
        verify_namespace(info, found)
        if found.owner is not None:
            ref_module(kernel, module, found.owner)
        return found

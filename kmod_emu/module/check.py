"""Whether a module suits this kernel: versions, licence, origin (kernel/module/main.c: check_modinfo)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from kmod_emu.kernel.taint import Taint
from kmod_emu.module import explain
from kmod_emu.module.errors import LoadError
from kmod_emu.module.version import Match, same_magic
from kmod_emu.uapi import errno

if TYPE_CHECKING:
    from kmod_emu.kernel.kernel import KernelCore
    from kmod_emu.module.load import LoadInfo

GPL_COMPATIBLE = frozenset(
    ("GPL", "GPL v2", "GPL and additional rights", "Dual BSD/GPL", "Dual MIT/GPL", "Dual MPL/GPL")
)
_IGNORE_VERMAGIC = 2
_PROPRIETARY_BY_NAME = ("driverloader", "lve")


def try_to_force_load(info: LoadInfo, reason: str) -> None:
    """Debian's kernels load what they cannot check, and are tainted for it."""
    if not info.kernel.taint.test(Taint.FORCED_MODULE):
        info.printk(4, f"{info.name}: {reason}: kernel tainted.")
    info.add_taint(Taint.FORCED_MODULE)


def check_version(info: LoadInfo, symbol: str, crc: int | None) -> bool:
    """Whether the module was built against this version of a symbol; the kernel's line is printed if not."""
    if crc is None:
        return True
    if not info.versions.present and not info.versions.extended:
        try_to_force_load(info, symbol)
        return True
    match = info.versions.check(symbol, crc)
    if match is Match.GOOD:
        return True
    if match is Match.UNLISTED:
        if info.once("no extended version"):
            info.printk(4, f"{info.name}: no extended symbol version for {symbol}")
        return True
    if match is Match.MISSING:
        info.printk(4, f"{info.name}: no symbol version for {symbol}")
    else:
        info.printk(4, f"{info.name}: disagrees about version of symbol {symbol}")
    return False


def check_modstruct_version(info: LoadInfo) -> None:
    """The layout of `struct module` itself must be this kernel's: the CRC of module_layout.

    Raises:
        LoadError: ENOEXEC.
    """
    known = info.kernel.symbols.find("module_layout")
    if known is not None and not check_version(info, "module_layout", known.crc):
        why = explain.other_struct_module(info.kernel, info.name, info.modinfo.get("vermagic", ""))
        raise LoadError(errno.ENOEXEC, why)


def check_modinfo(info: LoadInfo) -> None:
    """Version magic, then, where that is not done later, everything that only taints.

    Raises:
        LoadError: ENOEXEC, the version magic differs.
    """
    tags, kernel = info.modinfo, info.kernel
    _check_vermagic(info)
    if not info.traits.early:
        taint_by_modinfo(info)
    kernel.events.emit(
        "check_modinfo",
        vermagic=tags.get("vermagic"), license=_license(info), intree="intree" in tags,
    )  # fmt: skip


def _license(info: LoadInfo) -> str:
    return info.modinfo.get("license", "unspecified")


def taint_by_modinfo(info: LoadInfo) -> None:
    """What a module says of itself that taints the kernel, each with its line."""
    tags, kernel = info.modinfo, info.kernel
    if "intree" not in tags:
        if not kernel.taint.test(Taint.OOT_MODULE):
            info.printk(4, f"{info.name}: loading out-of-tree module taints kernel.")
        info.add_taint(Taint.OOT_MODULE)
    if "retpoline" not in tags and spectre_v2_enabled(kernel):
        info.printk(3, "Spectre V2 : System may be vulnerable to spectre v2")
        info.printk(4, f"{info.name}: loading module not compiled with retpoline compiler.")
    if "staging" in tags:
        info.add_taint(Taint.CRAP)
        info.printk(
            4,
            f"{info.name}: module is from the staging directory, the quality is unknown, "
            "you have been warned.",
        )
    if "livepatch" in tags:
        info.add_taint(Taint.LIVEPATCH)
        if info.once("livepatch"):
            info.printk(5, f"{info.name}: tainting kernel with TAINT_LIVEPATCH")
    license_ = _license(info)
    if license_ not in GPL_COMPATIBLE:
        if not kernel.taint.test(Taint.PROPRIETARY_MODULE):
            info.printk(4, f"{info.name}: module license '{license_}' taints kernel.")
        info.add_taint(Taint.PROPRIETARY_MODULE)
    if "test" in tags and not info.traits.silent:
        if not kernel.taint.test(Taint.TEST):
            info.printk(4, f"{info.name}: loading test module taints kernel.")
        info.add_taint(Taint.TEST)


def spectre_v2_enabled(kernel: KernelCore) -> bool:
    """Whether the boot options leave the mitigation on (arch/x86/kernel/cpu/bugs.c)."""
    off = kernel.cmdline.get("mitigations") == "off" or kernel.cmdline.get("spectre_v2") == "off"
    return not off and "nospectre_v2" not in kernel.cmdline


def _check_vermagic(info: LoadInfo) -> None:
    vermagic = None if info.flags & _IGNORE_VERMAGIC else info.modinfo.get("vermagic")
    wanted = info.kernel.profile.vermagic
    if vermagic is None:
        try_to_force_load(info, "bad vermagic")
    elif not same_magic(vermagic, wanted, info.versions.present and info.kernel.profile.modversions):
        text = f"{info.image.name}: version magic '{vermagic}' should be '{wanted}'"
        raise LoadError(errno.ENOEXEC, explain.other_kernel(info.kernel, vermagic), (3, text))


def augment_kernel_taints(info: LoadInfo) -> None:
    """Everything that only taints, once the module is on the list (module_augment_kernel_taints)."""
    before = info.kernel.taint.test(Taint.PROPRIETARY_MODULE)
    taint_by_modinfo(info)
    taint_unsigned(info)
    taint_by_name(info, before)


def taint_unsigned(info: LoadInfo) -> None:
    """A module without a trusted signature taints, which is said once a boot."""
    if info.signed:
        return
    if info.once("unsigned"):
        missing = "signature and/or required key missing"
        info.printk(5, f"{info.name}: module verification failed: {missing} - tainting kernel")
    info.add_taint(Taint.UNSIGNED_MODULE)


def taint_by_name(info: LoadInfo, before: bool) -> None:
    """Licences known by the module's name.

    Args:
        info: What is being loaded.
        before: Whether the kernel counted as proprietary when the check began.
    """
    kernel = info.kernel
    if info.name == "ndiswrapper":
        kernel.taint.add(Taint.PROPRIETARY_MODULE)
    if info.name in _PROPRIETARY_BY_NAME:
        info.add_taint(Taint.PROPRIETARY_MODULE)
    if not before and kernel.taint.test(Taint.PROPRIETARY_MODULE):
        info.printk(4, f"{info.name}: module license taints kernel.")


def check_export_symbol_versions(info: LoadInfo) -> None:
    """Exports must have versions, and where licences are flags, those.

    Raises:
        LoadError: ENOEXEC, exports without flags.
    """
    assert info.module is not None
    view = info.module.view
    tables = (("syms", "crcs"), ("gpl_syms", "gpl_crcs"), ("gpl_future_syms", "gpl_future_crcs"))
    unversioned = [
        symbols
        for symbols, crcs in tables
        if view.has(symbols) and view.get(f"num_{symbols}") and not view.get(crcs)
    ]
    if info.traits.flagged and view.num_syms and not view.flagstab:
        raise LoadError(errno.ENOEXEC, "", (3, f"{info.name}: no flags for exported symbols"))
    if info.kernel.profile.modversions and unversioned:
        try_to_force_load(info, "no versions for exported symbols")

"""Whether a module suits this kernel: versions, licence, origin (kernel/module/main.c: check_modinfo)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from kmod_emu.kernel.taint import Taint
from kmod_emu.module.errors import LoadError
from kmod_emu.module.modules import Modules
from kmod_emu.module.version import Match, same_magic
from kmod_emu.uapi import errno

if TYPE_CHECKING:
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
    if not info.versions.present:
        try_to_force_load(info, symbol)
        return True
    match = info.versions.check(symbol, crc)
    if match is Match.GOOD:
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
        explanation = f"{info.name} was built for another kernel than {info.kernel.profile.release}"
        raise LoadError(errno.ENOEXEC, explanation)


def check_modinfo(info: LoadInfo) -> None:
    """Version magic, then everything that only taints.

    Raises:
        LoadError: ENOEXEC, the version magic differs.
    """
    tags, kernel = info.modinfo, info.kernel
    _check_vermagic(info)
    if "intree" not in tags:
        if not kernel.taint.test(Taint.OOT_MODULE):
            info.printk(4, f"{info.name}: loading out-of-tree module taints kernel.")
        info.add_taint(Taint.OOT_MODULE)
    if "staging" in tags:
        info.add_taint(Taint.CRAP)
        info.printk(
            4,
            f"{info.name}: module is from the staging directory, the quality is unknown, "
            "you have been warned.",
        )
    if "livepatch" in tags:
        info.add_taint(Taint.LIVEPATCH)
        told = kernel[Modules].told
        if "livepatch" not in told:
            told.add("livepatch")
            info.printk(5, f"{info.name}: tainting kernel with TAINT_LIVEPATCH")
    license_ = tags.get("license", "unspecified")
    if license_ not in GPL_COMPATIBLE:
        if not kernel.taint.test(Taint.PROPRIETARY_MODULE):
            info.printk(4, f"{info.name}: module license '{license_}' taints kernel.")
        info.add_taint(Taint.PROPRIETARY_MODULE)
    if "test" in tags:
        if not kernel.taint.test(Taint.TEST):
            info.printk(4, f"{info.name}: loading test module taints kernel.")
        info.add_taint(Taint.TEST)
    kernel.events.emit(
        "check_modinfo", vermagic=tags.get("vermagic"), license=license_, intree="intree" in tags
    )


def _check_vermagic(info: LoadInfo) -> None:
    vermagic = None if info.flags & _IGNORE_VERMAGIC else info.modinfo.get("vermagic")
    wanted = info.kernel.profile.vermagic
    if vermagic is None:
        try_to_force_load(info, "bad vermagic")
    elif not same_magic(vermagic, wanted, info.versions.present):
        text = f"{info.image.name}: version magic '{vermagic}' should be '{wanted}'"
        built = vermagic.partition(" ")[0]
        explanation = (
            f"built for {built}, this machine runs {info.kernel.profile.release}: "
            "build it against these headers, or boot another --release"
        )
        raise LoadError(errno.ENOEXEC, explanation, (3, text))


def check_license_and_versions(info: LoadInfo) -> None:
    """Licences known by the module's name; exports without versions (check_module_license_and_versions)."""
    kernel = info.kernel
    before = kernel.taint.test(Taint.PROPRIETARY_MODULE)
    if info.name == "ndiswrapper":
        kernel.taint.add(Taint.PROPRIETARY_MODULE)
    if info.name in _PROPRIETARY_BY_NAME:
        info.add_taint(Taint.PROPRIETARY_MODULE)
    if not before and kernel.taint.test(Taint.PROPRIETARY_MODULE):
        info.printk(4, f"{info.name}: module license taints kernel.")
    assert info.module is not None
    view = info.module.view
    plain = view.num_syms and not view.crcs
    gpl = view.has("num_gpl_syms") and view.num_gpl_syms and not view.gpl_crcs
    if kernel.profile.modversions and (plain or gpl):
        try_to_force_load(info, "no versions for exported symbols")

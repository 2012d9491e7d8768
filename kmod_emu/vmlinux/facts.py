"""What a kernel says about itself: its names, and the configuration that modules can tell."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from kmod_emu.abi.btf import Btf
    from kmod_emu.abi.layout import StructLayout
    from kmod_emu.vmlinux.kallsyms import Kallsyms
    from kmod_emu.vmlinux.vmlinux import Vmlinux

__all__ = ["TOLD_BY_TYPES", "Identity", "config_from_btf", "config_from_symbols", "identify", "static_percpu"]

_NSEC_PER_SEC = 1_000_000_000
TOLD_BY_TYPES = ("MODULE_SIG", "PARAVIRT_XXL")
_CALL = 0xE8
_DECOMPRESSORS = {
    "MODULE_COMPRESS_GZIP": "zlib_inflate",
    "MODULE_COMPRESS_XZ": "xz_dec_run",
    "MODULE_COMPRESS_ZSTD": "zstd_decompress_stream",
}
_BANNER = re.compile(r"(?:Linux version )?(\S+) \(.*?\) (?:.* )?(#\d.*)")


class Identity(NamedTuple):
    """Names of a kernel: `uname -r`, `uname -v`, /proc/version, its modules' version magic; "" if unknown."""

    release: str
    version: str
    banner: str
    vermagic: str


def identify(kernel: Vmlinux, symbols: Kallsyms | None) -> Identity:
    """Read a kernel's names from its texts."""
    place = symbols.address("linux_banner") if symbols else None
    banner = kernel.text(place).rstrip("\n") if place is not None else kernel.linux_banner
    match = _BANNER.match(banner or kernel.banner)
    release, version = (match[1], match[2].strip()) if match else ("", "")
    return Identity(release, version, banner, _vermagic(kernel, symbols, release))


def _vermagic(kernel: Vmlinux, symbols: Kallsyms | None, release: str) -> str:
    address = symbols.address("vermagic") if symbols else None
    if address is not None:
        return kernel.text(address)
    found = re.search(rb"\0(" + re.escape(release.encode()) + rb" [ -~]*mod_unload [ -~]*)\0", kernel.elf)
    return found[1].decode("ascii") if found else ""


def config_from_symbols(
    kernel: Vmlinux, symbols: Kallsyms, clocksource: StructLayout | None
) -> dict[str, int | bool]:
    """Configuration options that symbols and initial values tell.

    HZ is in the jiffies clock source: a tick is `mult >> shift` nanoseconds (kernel/time/jiffies.c).
    """
    config: dict[str, int | bool] = {
        "X86_KERNEL_IBT": symbols.address("ibt_save") is not None,
        "MODULE_DECOMPRESS": symbols.address("module_decompress") is not None,
        "PREEMPT_DYNAMIC": symbols.address("preempt_dynamic_mode") is not None,
    }
    config |= _module_compression(kernel, symbols)
    enforce = symbols.address("sig_enforce")
    if enforce is not None:
        config["MODULE_SIG_FORCE"] = kernel.read(enforce, 1) != b"\0"
    jiffies = symbols.address("clocksource_jiffies")
    if jiffies is not None and clocksource is not None:
        mult, shift = (
            int.from_bytes(kernel.read(jiffies + place.offset, place.size), "little")
            for place in (clocksource.members["mult"], clocksource.members["shift"])
        )
        if mult >> shift:
            config["HZ"] = round(_NSEC_PER_SEC / (mult >> shift))
    return config


def _module_compression(kernel: Vmlinux, symbols: Kallsyms) -> dict[str, int | bool]:
    """What the kernel unpacks modules with, by the calls in its module_decompress."""
    start = symbols.address("module_decompress")
    if start is None:
        return {}
    code = kernel.read(start, symbols.end(start) - start)
    called = {
        start + at + 5 + int.from_bytes(code[at + 1 : at + 5], "little", signed=True)
        for at in range(len(code) - 4)
        if code[at] == _CALL
    }
    return {
        option: True for option, function in _DECOMPRESSORS.items() if symbols.address(function) in called
    }


def config_from_btf(btf: Btf) -> dict[str, int | bool]:
    """Configuration options that the presence of members tells."""
    return {
        "MODULE_SIG": _has(btf, "module", "sig_ok"),
        "PARAVIRT_XXL": _has(btf, "pv_mmu_ops", "read_cr2"),
    }


def _has(btf: Btf, struct: str, member: str) -> bool:
    layout = btf.layout(struct)
    return layout is not None and member in layout.members


def static_percpu(kernel: Vmlinux, symbols: Kallsyms | None) -> tuple[int, int]:
    """Link address, 0 where they are zero-based, and size of the kernel's own per-CPU variables."""
    if symbols is not None:
        start, end = symbols.address("__per_cpu_start"), symbols.address("__per_cpu_end")
        if start is not None and end is not None:
            return start, end - start
    section = kernel.section(".data..percpu")
    return (section.address, section.size) if section else (0, 0)

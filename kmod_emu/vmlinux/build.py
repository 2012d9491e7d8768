"""Build a kernel profile from a kernel image, or from its BTF and Module.symvers.

What an image lacks (its symbols, its table of exports) is left out, types that it lacks are another kernel's,
and the profile says so.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from kmod_emu.abi.btf import Btf
from kmod_emu.abi.profile import contents
from kmod_emu.vmlinux import facts, kallsyms, ksymtab
from kmod_emu.vmlinux.builtin import builtin_modules
from kmod_emu.vmlinux.certificates import certificates
from kmod_emu.vmlinux.donor import choose_donor
from kmod_emu.vmlinux.errors import BadImage
from kmod_emu.vmlinux.selection import exported_prototypes, select_structs
from kmod_emu.vmlinux.vmlinux import Vmlinux

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from kmod_emu.abi.export_table import Export
    from kmod_emu.vmlinux.kallsyms import Kallsyms

__all__ = ["from_btf", "from_image", "from_vmlinux"]

_DEFAULT_HZ = 250
_FLAGS = "SMP preempt mod_unload modversions"


def _quiet(step: str) -> None:
    """Tell nobody."""


def from_image(
    blob: bytes,
    symvers: Sequence[Export] = (),
    progress: Callable[[str], None] = _quiet,
    symbols: Kallsyms | None = None,
) -> bytes:
    """The contents of a profile file.

    Args:
        blob: A vmlinuz or vmlinux file.
        symvers: Exports from Module.symvers, for an image that has no table of them.
        progress: Called with the name of each step that begins.
        symbols: Its symbols, if they are known.

    Raises:
        BadImage: It is no kernel, or has no exports, or `symvers` are another kernel's.
        BadBtf: Its types are damaged.
    """
    progress("unpacking the kernel")
    return from_vmlinux(Vmlinux.from_image(blob), symvers, progress, symbols)


def from_vmlinux(
    kernel: Vmlinux,
    symvers: Sequence[Export] = (),
    progress: Callable[[str], None] = _quiet,
    symbols: Kallsyms | None = None,
) -> bytes:
    """As `from_image`, of a kernel that is unpacked."""
    progress("reading its symbols")
    symbols = symbols or kallsyms.find(kernel)
    missing = [] if symbols else ["symbols (kallsyms): the keys it trusts and some of its configuration"]
    progress("reading its types")
    types = kernel.contents(".BTF")
    btf = Btf(types) if types else None
    progress("reading its exports")
    exports = _exports(kernel, btf, symvers)
    identity = facts.identify(kernel, symbols)
    if not identity.release or not identity.vermagic:
        raise BadImage("a kernel image that does not say its release or its modules' version magic")
    progress("choosing structures")
    config: dict[str, Any]
    if btf:
        config = facts.config_from_btf(btf)
        prototypes = exported_prototypes(btf, (export.name for export in exports))
        structs = select_structs(btf, prototypes, identity.release)
        donor = ""
    else:
        other, sentence = choose_donor(exports)
        missing.append(sentence)
        config = {option: other.config[option] for option in facts.TOLD_BY_TYPES}
        prototypes = {export.name: other.prototype(export.name) or "" for export in exports}
        structs = list(other.structs.values())
        donor = other.release
    layouts = {layout.name: layout for layout in structs}
    if symbols:
        config |= facts.config_from_symbols(kernel, symbols, layouts.get("clocksource"))
    head = _head(identity, config, facts.static_percpu(kernel, symbols), exports, missing)
    return contents(
        head | {"layouts_of": donor},
        structs,
        exports,
        prototypes,
        builtin_modules(kernel, layouts.get("kernel_param"), layouts.get("module_version_attribute")),
        certificates(kernel, symbols) if symbols else [],
    )


def from_btf(
    types: bytes, symvers: Sequence[Export], release: str, vermagic: str = "", version: str = ""
) -> bytes:
    """The contents of a profile file, from a kernel's BTF (/sys/kernel/btf/vmlinux) and its Module.symvers.

    Args:
        types: The BTF.
        symvers: The kernel's exports.
        release: Its release, which neither says.
        vermagic: The version magic of its modules; made up from the release and what is usual if not given.
        version: `uname -v`, if that is known.

    Raises:
        BadBtf: It is no BTF.
    """
    btf = Btf(types)
    exports = [export._replace(value=btf.percpu_offset(export.name) or 0) for export in symvers]
    missing = ["addresses of exports, the keys it trusts, its built-in modules and some of its configuration"]
    if not vermagic:
        flags = _FLAGS.split()
        if not any(export.crc is not None for export in exports):
            flags.remove("modversions")
        if not any(export.name == "__SCT__preempt_schedule" for export in exports):
            flags.remove("preempt")
        vermagic = " ".join([release, *flags, ""])
        missing.append("its version magic, which is guessed")
    identity = facts.Identity(release, version, "", vermagic)
    head = _head(identity, facts.config_from_btf(btf), (0, btf.percpu_size()), exports, missing)
    prototypes = exported_prototypes(btf, (export.name for export in exports))
    return contents(head, select_structs(btf, prototypes, release), exports, prototypes, {}, [])


def _exports(kernel: Vmlinux, btf: Btf | None, symvers: Sequence[Export]) -> list[Export]:
    """The image's own exports, else those of Module.symvers; BadImage if these are another kernel's."""
    entry = btf.layout("kernel_symbol") if btf else None
    exports = ksymtab.exports(kernel, entry.size) if entry else ksymtab.exports(kernel)
    if not exports:
        if not symvers:
            raise BadImage("a kernel image without a table of exports; give its Module.symvers too")
        return list(symvers)
    known = {export.name: export.crc for export in exports}
    other = sum(1 for export in symvers if known.get(export.name, export.crc) != export.crc)
    strange = sum(1 for export in symvers if export.name not in known)
    if other or strange:
        raise BadImage(
            f"Module.symvers is of another kernel than the image: {other} of {len(symvers)} CRCs differ, "
            f"{strange} symbols are not exported"
        )
    return exports


def _head(
    identity: facts.Identity,
    config: dict[str, int | bool],
    percpu: tuple[int, int],
    exports: Sequence[Export],
    missing: list[str],
) -> dict[str, Any]:
    names = {export.name for export in exports}
    config = {"HZ": _DEFAULT_HZ, "PREEMPT_DYNAMIC": "__SCT__preempt_schedule" in names} | config
    config["MODVERSIONS"] = any(export.crc is not None for export in exports)
    return identity._asdict() | {
        "config": config,
        "static_percpu_start": percpu[0],
        "static_percpu_size": percpu[1],
        "missing": missing,
        "layouts_of": "",
    }

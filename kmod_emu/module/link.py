"""Applying a module's relocations (kernel/module/main.c: apply_relocations)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from kmod_emu.machine.memory import PageFault
from kmod_emu.module import elf
from kmod_emu.module.errors import KernelWouldCrash, LoadError
from kmod_emu.module.relocate import Names, SymbolValues, apply_relocate_add
from kmod_emu.uapi import errno

if TYPE_CHECKING:
    from kmod_emu.module.load import LoadInfo
    from kmod_emu.module.modules import Module


def apply_relocations(info: LoadInfo, module: Module) -> None:
    """Apply every relocation section whose target is in memory.

    Raises:
        LoadError: ENOEXEC.
    """
    kernel, image = info.kernel, info.image
    names = Names(info.name, lambda place: f"{kernel.format_context.hash_pointer(place):016x}")
    values = SymbolValues(info.values, lambda index: _stray_symbol(info, index))
    counts: dict[str, int] = {}
    targets = []
    for section in image.sections[1:]:
        if section.info >= len(image.sections) or not image.sections[section.info].allocated:
            continue
        if section.type == elf.SHT_REL:
            raise LoadError(errno.ENOEXEC, "", (3, f"module {info.name}: REL relocation unsupported"))
        if section.type != elf.SHT_RELA:
            continue
        target = image.sections[section.info]
        region = next(
            (r for r in module.regions.values() if r.base <= target.address < r.base + r.size), None
        )
        if region is None:
            raise KernelWouldCrash(target.address)
        view = kernel.memory.writable(region.base, region.size)
        applied = apply_relocate_add(
            image.contents(section), view, region.base, target.address, values, names
        )
        targets.append(target.name)
        for kind, number in applied.items():
            counts[kind] = counts.get(kind, 0) + number
    kernel.events.emit("apply_relocations", count=sum(counts.values()), by_type=counts, sections=targets)


def _stray_symbol(info: LoadInfo, index: int) -> int:
    """The value of a symbol behind the table: the kernel does not check, and takes what is there."""
    place = info.image.sections[info.image.symtab].address + elf.SYM_SIZE * index + 8
    try:
        return info.kernel.memory.read_u64(place)
    except PageFault:
        raise KernelWouldCrash(place, f"a relocation names symbol {index}") from None

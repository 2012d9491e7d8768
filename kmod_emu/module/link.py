"""Applying a module's relocations (kernel/module/main.c: apply_relocations)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from kmod_emu.machine.memory import PageFault
from kmod_emu.module import elf
from kmod_emu.module.errors import KernelWouldCrash, LoadError
from kmod_emu.module.livepatch import SHF_RELA_LIVEPATCH, klp_apply_section_relocs
from kmod_emu.module.relocate import Complaints, SymbolValues, Target, apply_relocate_add
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

    def hash_pointer(place: int) -> str:
        return f"{kernel.format_context.hash_pointer(place):016x}"

    values = SymbolValues(info.values, lambda index: _stray_symbol(info, index))
    counts: dict[str, int] = {}
    targets = []
    for section in image.sections[1:]:
        if section.info >= len(image.sections) or not _in_memory(info, section.info):
            continue
        if section.flags & SHF_RELA_LIVEPATCH:
            klp_apply_section_relocs(info, section)
            continue
        if section.type == elf.SHT_REL:
            raise LoadError(errno.ENOEXEC, "", (3, f"module {info.name}: REL relocation unsupported"))
        if section.type != elf.SHT_RELA:
            continue
        target = image.sections[section.info]
        complaints = Complaints(info.name, hash_pointer, info.traits, section.index)
        applied = apply_relocate_add(
            image.contents(section), _target(info, module, target.address), values, complaints
        )
        targets.append(target.name)
        for kind, number in applied.items():
            counts[kind] = counts.get(kind, 0) + number
    kernel.events.emit(
        "apply_relocations", name=info.name, count=sum(counts.values()), by_type=counts, sections=targets
    )


def _in_memory(info: LoadInfo, index: int) -> bool:
    """Whether a section's relocations count: it has memory, or is what each processor gets a copy of."""
    return info.image.sections[index].allocated or (info.traits.flagged and 0 < index == info.image.percpu)


def _target(info: LoadInfo, module: Module, address: int) -> Target:
    """The region that holds a section; the per-CPU one is still in the temporary copy."""
    spans = [(region.base, region.size) for region in module.regions.values()]
    for base, size in (*spans, info.copy):
        if base <= address < base + size:
            return Target(info.kernel.memory.writable(base, size), base, address)
    raise KernelWouldCrash(address)


def _stray_symbol(info: LoadInfo, index: int) -> int:
    """The value of a symbol behind the table: the kernel does not check, and takes what is there."""
    place = info.image.sections[info.image.symtab].address + elf.SYM_SIZE * index + 8
    try:
        return info.kernel.memory.read_u64(place)
    except PageFault:
        raise KernelWouldCrash(place, f"a relocation names symbol {index}") from None

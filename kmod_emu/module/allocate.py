"""Memory for a module: laying its sections out, allocating, moving them there (kernel/module/main.c)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from kmod_emu.errors import KernelError
from kmod_emu.machine.memory import EXEC, PAGE_SIZE, READ, WRITE, PageFault
from kmod_emu.module import elf
from kmod_emu.module.errors import KernelWouldCrash, LoadError
from kmod_emu.module.layout import lay_out
from kmod_emu.module.memory import KINDS, description, region_names
from kmod_emu.module.modules import Module, Region
from kmod_emu.uapi import errno

if TYPE_CHECKING:
    from kmod_emu.kernel.kernel import KernelCore
    from kmod_emu.module.load import LoadInfo


def layout_and_allocate(info: LoadInfo) -> Module:
    """Lay the sections out, allocate their memory and move them there.

    Raises:
        LoadError: ENOEXEC, a section is both writable and executable; ENOMEM.
    """
    kernel, image = info.kernel, info.image
    for section in image.sections:
        if section.flags & elf.SHF_WRITE and section.flags & elf.SHF_EXECINSTR:
            text = f"{info.name}: section {section.name} (index {section.index}) has invalid WRITE|EXEC flags"
            raise LoadError(errno.ENOEXEC, "", (3, text))
    image.sections[image.percpu].flags &= ~elf.SHF_ALLOC
    late = (".data..ro_after_init", "__jump_table", *((".static_call_sites",) if info.traits.indexed else ()))
    for name in late:
        if index := image.find(name):
            image.sections[index].flags |= elf.SHF_RO_AFTER_INIT
    info.layout = lay_out(image, region_names(kernel.profile), _sizes_in_file(info))
    regions: dict[str, Region] = {}
    for plan in info.layout.regions.values():
        base = kernel.module_area.allocate(plan.size) if plan.size else 0
        if plan.size and not base:
            for region in regions.values():
                kernel.module_area.free(region.base)
            raise KernelError(errno.ENOMEM, f"no room for {plan.size} bytes of module memory")
        regions[plan.name] = Region(plan.name, base, plan.size, plan.text_size, *plan.sealed())
    module = move_module(info, regions)
    _emit_layout(info, module)
    return module


def _sizes_in_file(info: LoadInfo) -> dict[str, int]:
    """Sizes of the regions in the file's `struct module`: 0 in any file that a linker made."""
    profile, memory = info.kernel.profile, info.kernel.memory
    view = info.kernel.view("module", info.image.sections[info.image.this_module].address)
    return {name: memory.read_u32(description(profile, view, name).size) for name in region_names(profile)}


def move_module(info: LoadInfo, regions: dict[str, Region]) -> Module:
    """Copy every section to its place; NOBITS stay zero. The struct module is now the one in core."""
    kernel, image = info.kernel, info.image
    memory = kernel.memory
    _fill_struct(info, regions)
    for section, region, offset in sorted(info.layout.placements, key=lambda place: place.section.index):
        source, section.address = section.address, regions[region].base + offset
        if section.type != elf.SHT_NOBITS and section.size:
            try:
                memory.write(section.address, memory.read(source, section.size))
            except PageFault as fault:
                raise KernelWouldCrash(
                    fault.address, f"section {section.name} has no room", write=True
                ) from None
    module = info.module = Module(kernel, image.sections[image.this_module].address)
    module.regions = {name: region for name, region in regions.items() if region.size}
    return module


def _fill_struct(info: LoadInfo, regions: dict[str, Region]) -> None:
    """Taints and regions go into `struct module` while it still lies in the temporary copy."""
    memory = info.kernel.memory
    view = info.kernel.view("module", info.image.sections[info.image.this_module].address)
    view.taints |= info.taints
    view.klp, view.sig_ok = int(info.image.livepatch), int(info.signed)
    profile = info.kernel.profile
    for name, region in regions.items():
        plan, place = info.layout.regions[name], description(profile, view, name)
        memory.write_u64(place.base, region.base)
        memory.write_u32(place.size, plan.size)
        if profile.has("module_memory.is_rox") and KINDS.get(name, 0) & EXEC:  # code, once it is in its place
            offset = profile.struct("module_memory").offset
            memory.write_u8(place.base + offset("is_rox") - offset("base"), 1)
        if profile.has("module_layout.text_size"):
            for number, size in enumerate((plan.text_size, plan.ro_size, plan.ro_after_init_size)):
                memory.write_u32(place.size + 4 + 4 * number, size)


def _emit_layout(info: LoadInfo, module: Module) -> None:
    if not info.kernel.events:
        return
    plans = info.layout.regions
    info.kernel.events.emit(
        "layout_and_allocate",
        regions=[
            {"name": name, "base": region.base, "size": region.size,
             "parts": {_perms_text(perms): end - start for start, end, perms in plans[name].protections()}}
            for name, region in module.regions.items()
        ],
        sections=[
            {"name": section.name, "region": region, "offset": offset, "size": section.size,
             "perms": _perms_text(_section_perms(section))}
            for section, region, offset in info.layout.placements
        ],
    )  # fmt: skip


def _section_perms(section: elf.Section) -> int:
    write, execute = section.flags & elf.SHF_WRITE, section.flags & elf.SHF_EXECINSTR
    return READ | (WRITE if write else 0) | (EXEC if execute else 0)


def _perms_text(perms: int) -> str:
    return f"r{'w' if perms & WRITE else '-'}{'x' if perms & EXEC else '-'}"


def percpu_modalloc(info: LoadInfo, module: Module) -> None:
    """Allocate the module's per-CPU variables.

    Raises:
        LoadError: ENOMEM.
    """
    section = info.image.sections[info.image.percpu]
    if not info.image.percpu or not section.size:
        return
    align = section.align or 1
    if align > PAGE_SIZE:
        info.printk(4, f"{info.name}: per-cpu alignment {align} > {PAGE_SIZE}")
        align = PAGE_SIZE
    module.percpu = info.kernel.percpu.allocate(section.size, align, reserved=True)
    if not module.percpu:
        text = f"{info.name}: Could not allocate {section.size} bytes percpu data"
        raise LoadError(errno.ENOMEM, "", (4, text))
    module.view.percpu, module.view.percpu_size = module.percpu, section.size


def percpu_modfree(kernel: KernelCore, module: Module) -> None:
    """Give the per-CPU variables back."""
    if module.percpu:
        kernel.percpu.free(module.percpu)
        module.percpu = 0

"""The regions of a module's memory, as `struct module` describes them (include/linux/module.h).

There were two, `core_layout` and `init_layout`, each text, read-only and writable data in a row. Since commit
ac3b43283923 ("module: replace module_layout with module_memory") each kind of memory is a region of its own,
an element of the array `mem`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from kmod_emu.machine.memory import EXEC, READ, WRITE

if TYPE_CHECKING:
    from kmod_emu.abi.profile import Profile
    from kmod_emu.abi.structs import StructView

TWO_REGIONS = ("core", "init")
# enum mod_mem_type, and what code may do with each kind.
KINDS = {
    "text": READ | EXEC,
    "data": READ | WRITE,
    "rodata": READ,
    "ro_after_init": READ | WRITE,
    "init_text": READ | EXEC,
    "init_data": READ | WRITE,
    "init_rodata": READ,
}


class Description(NamedTuple):
    """Where `struct module` has a region: addresses of its members."""

    base: int
    size: int


def region_names(profile: Profile) -> tuple[str, ...]:
    """All regions in the order in which they are allocated."""
    return tuple(KINDS) if profile.layout_regions == "mem" else TWO_REGIONS


def description(profile: Profile, module: StructView, name: str) -> Description:
    """Where a `struct module` describes the region of that name."""
    if profile.layout_regions == "mem":
        layout = profile.struct("module_memory")
        place = module.addressof("mem") + layout.size * list(KINDS).index(name)
    else:
        layout = profile.struct("module_layout")
        place = module.addressof(f"{name}_layout")
    return Description(place + layout.offset("base"), place + layout.offset("size"))


def is_init(name: str) -> bool:
    """Whether a region is given back when init has returned."""
    return name.startswith("init")

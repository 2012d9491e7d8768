"""Relocations that livepatch modules bring for the code they patch (kernel/livepatch/core.c)."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from kmod_emu.module.errors import LoadError
from kmod_emu.uapi import errno

if TYPE_CHECKING:
    from kmod_emu.module.elf import Section
    from kmod_emu.module.load import LoadInfo

SHF_RELA_LIVEPATCH = 0x0010_0000
_SECTION = re.compile(r"\.klp\.rela\.([^.]{1,55})\.")


def klp_apply_section_relocs(info: LoadInfo, section: Section) -> None:
    """Relocations for another module are applied when that comes; those for the base kernel cannot be here.

    Raises:
        LoadError: EINVAL, the section's name does not say whom it is for, or the code is not there to patch.
    """
    name = _SECTION.match(section.name)
    if name is None:
        text = f"livepatch: section {section.name} has an incorrectly formatted name"
        raise LoadError(errno.EINVAL, "", (3, text))
    if name[1] == "vmlinux":
        why = f"{info.name} patches the base kernel, whose functions are not the real ones here"
        text = f"livepatch: symbol in {section.name} not found in symbol table"
        raise LoadError(errno.EINVAL, why, (3, text))

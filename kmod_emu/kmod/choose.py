"""Which kernel a module file asks for."""

from __future__ import annotations

from typing import TYPE_CHECKING

from kmod_emu.abi import profile as profiles
from kmod_emu.kmod.errors import ToolError

if TYPE_CHECKING:
    from kmod_emu.module.nearest import Choice


def profile_for(path: str) -> Choice | None:
    """The profile that a module runs on, and why; None if it does not say, or none fits."""
    from kmod_emu.kmod.insmod import load_file
    from kmod_emu.kmod.modinfo import read_tags
    from kmod_emu.module.nearest import Choice, choose

    try:
        vermagic = dict(reversed(read_tags(path))).get("vermagic")
        if vermagic is None:
            return None
        release = vermagic.partition(" ")[0]
        if release in profiles.available() and not profiles.load(release).layouts_of:
            return Choice(profiles.load(release), "")
        return choose(load_file(path).image, vermagic)
    except ToolError:
        return None

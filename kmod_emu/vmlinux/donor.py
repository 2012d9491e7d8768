"""Layouts for a kernel that was built without BTF: those of the kernel that is most like it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from kmod_emu.abi import profile as profiles

if TYPE_CHECKING:
    from collections.abc import Sequence

    from kmod_emu.abi.profile import Export, Profile

__all__ = ["choose_donor"]


def choose_donor(exports: Sequence[Export]) -> tuple[Profile, str]:
    """The profile with types of its own that agrees best with a table of exports.

    Equal CRCs count first: a symbol's covers every structure that its prototype leads to.

    Returns:
        The profile, and what to say about it.
    """
    donors = [known for known in map(profiles.load, profiles.available()) if not known.layouts_of]
    best = max(donors, key=lambda known: _agreement(known, exports))
    same, common = _agreement(best, exports)
    count = f"{same} of {len(exports)} symbol versions are the same"
    if not same:
        count = f"{common} of {len(exports)} exports are the same"
    return best, f"types (BTF): layouts and prototypes are those of {best.release}; {count}"


def _agreement(known: Profile, exports: Sequence[Export]) -> tuple[int, int]:
    """How many CRCs and how many names are the same."""
    others = [known.exports.get(export.name) for export in exports]
    pairs = [(export, other) for export, other in zip(exports, others, strict=True) if other is not None]
    return sum(1 for export, other in pairs if export.crc is not None and export.crc == other.crc), len(pairs)

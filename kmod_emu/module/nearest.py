"""Which kernel profile a module runs on when there is none of its own release.

What the module brings decides: the size of struct module and where its members lie, the sizes of structures
in its BTF, the CRCs of what it imports, the structures in its debug information. The release's name decides
only where all these are equal.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, NamedTuple

from kmod_emu.abi import profile as profiles
from kmod_emu.module.evidence import Evidence

if TYPE_CHECKING:
    from kmod_emu.abi.layout import StructLayout
    from kmod_emu.abi.profile import Profile

__all__ = ["Choice", "choose"]

_CRC_FLAG = "modversions"
_LAYOUT_CRC = "module_layout"  # a symbol whose CRC covers the structures that every module uses


class Choice(NamedTuple):
    """A profile, and in a sentence why it was taken; "" where it is the module's own."""

    profile: Profile
    reason: str


class _Fit(NamedTuple):
    """How well a profile fits, compared from the first to the last."""

    layouts: bool
    same_crcs: int
    exported: int
    nearness: tuple[int, ...]


def choose(blob: bytes, vermagic: str) -> Choice | None:
    """The profile for a module, by what it brings.

    Args:
        blob: The module file, uncompressed.
        vermagic: Its version magic.

    Returns:
        The profile of its own release; else the nearest that fits, which then stands for that release and has
        its version magic; None if none fits. The layouts in the module's debug information replace those of
        another release.
    """
    release, _, flags = vermagic.partition(" ")
    known = profiles.load(release) if release in profiles.available() else None
    if known and not known.layouts_of:
        return Choice(known, "")
    try:
        evidence = Evidence(blob)
    except ValueError:
        return Choice(known, "") if known else None
    if known:
        own = _own_layouts(known, evidence, release)
        adapted = known.standing_for(release, known.vermagic, own, {}, modversions=known.modversions)
        said = "; ".join(
            [f"layouts are not those of {release} but of {known.layouts_of}", *_told(known, own)]
        )
        return Choice(adapted, said)
    candidates = [
        other for other in map(profiles.load, profiles.available()) if _abi(other.vermagic) == _abi(vermagic)
    ]
    if not candidates or not release:
        return None
    fits = {other.release: _fit(other, evidence, release) for other in candidates}
    best = max(candidates, key=lambda other: fits[other.release])
    own = _own_layouts(best, evidence, release)
    if not fits[best.release].layouts and "module" not in own:
        return None
    crcs = evidence.versions if own else {}
    adapted = best.standing_for(release, vermagic, own, crcs, modversions=_CRC_FLAG in flags.split())
    return Choice(adapted, _reason(release, best, fits[best.release], evidence, own))


def _abi(vermagic: str) -> list[str]:
    """The flags that change what inlined code does; that there are CRCs does not."""
    return [flag for flag in vermagic.split()[1:] if flag != _CRC_FLAG]


def _fit(known: Profile, evidence: Evidence, release: str) -> _Fit:
    module = known.struct("module")
    struct_module = evidence.module_size == module.size and all(
        member in module.members and module.offset(member) == offset
        for member, offset in evidence.module_offsets.items()
    )
    layout_crc = evidence.versions.get(_LAYOUT_CRC)
    same_headers = layout_crc is None or layout_crc == _crc(known, _LAYOUT_CRC)
    same_sizes = all(known.structs[name].size == size for name, size in _known_sizes(known, evidence).items())
    same = sum(1 for name, crc in evidence.versions.items() if _crc(known, name) == crc)
    exported = sum(1 for name in evidence.imports if name in known.exports)
    return _Fit(
        struct_module and same_headers and same_sizes, same, exported, _nearness(known.release, release)
    )


def _known_sizes(known: Profile, evidence: Evidence) -> dict[str, int]:
    """The sizes in the module's BTF, of structures that the profile has too."""
    return {name: size for name, size in evidence.sizes.items() if name in known.structs}


def _crc(known: Profile, name: str) -> int | None:
    export = known.exports.get(name)
    return export.crc if export else None


def _nearness(known: str, release: str) -> tuple[int, ...]:
    """Larger the nearer two releases' numbers are, the first number weighing most."""
    numbers = ([int(number) for number in re.findall(r"\d+", text)[:3]] for text in (known, release))
    return tuple(-abs(left - right) for left, right in zip(*numbers, strict=False))


def _own_layouts(known: Profile, evidence: Evidence, release: str) -> dict[str, StructLayout]:
    """The layouts that the module describes, of structures that the profile has too."""
    names = (name for name in evidence.layouts.names if name in known.structs)
    layouts = ((name, evidence.layouts.layout(name, release)) for name in names)
    return {name: layout for name, layout in layouts if layout is not None}


def _reason(release: str, best: Profile, fit: _Fit, evidence: Evidence, own: dict[str, StructLayout]) -> str:
    parts = []
    if fit.layouts:
        parts.append(f"its struct module is the file's ({evidence.module_size} bytes)")
        if sizes := _known_sizes(best, evidence):
            parts.append(f"all {len(sizes)} structures in its BTF have the same size")
    if evidence.versions:
        parts.append(f"{fit.same_crcs} of {len(evidence.versions)} symbol versions are the same")
    elif evidence.imports:
        parts.append(f"{fit.exported} of the {len(evidence.imports)} symbols it imports are exported")
    parts += _told(best, own)
    return f"there is no profile of {release}; {best.release} stands for it: {', '.join(parts)}"


def _told(known: Profile, own: dict[str, StructLayout]) -> list[str]:
    """What the module's own layouts say, if it has any."""
    if not own:
        return []
    other = sorted(name for name, layout in own.items() if layout[:3] != known.structs[name][:3])
    some = ", ".join(other[:5]) + (", ..." if len(other) > 5 else "")
    return [
        f"of {len(own)} structures in its debug information {len(other)} differ"
        + (f" and are taken from there: {some}" if other else "")
    ]

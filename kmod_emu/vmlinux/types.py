"""The structures of a kernel: what its profile has, and all others that it describes itself."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from kmod_emu.abi.struct_table import StructTable, encode_structs

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from kmod_emu.abi.btf import Btf
    from kmod_emu.abi.layout import StructLayout


class Structures(Mapping[str, "StructLayout"]):
    """Layouts by tag.

    Only asking for one that the profile lacks reads the kernel's own description. What tells releases apart
    is in the profile, which is what `in` asks.

    Args:
        profile: The profile's layouts.
        read: Gives the kernel's description of its types, None if it was built without.
        known: What `others` gave of a machine with the same kernel: they need not be read again.
    """

    def __init__(
        self, profile: Mapping[str, StructLayout], read: Callable[[], Btf | None], known: str = ""
    ) -> None:
        self._profile = profile
        self._read = read
        self._others: dict[str, StructLayout] = dict(StructTable(known))

    def others(self) -> str:
        """Those that were read so far, as text."""
        return encode_structs(self._others.values())

    def __getitem__(self, name: str) -> StructLayout:
        layout = self._others.get(name)
        if layout is None:
            if name in self._profile:
                return self._profile[name]
            types = self._read()
            layout = types.layout(name) if types is not None else None
            if layout is None:
                raise KeyError(name)
            self._others[name] = layout
        return layout

    def __contains__(self, name: object) -> bool:
        return name in self._profile

    def __iter__(self) -> Iterator[str]:
        return iter(self._profile)

    def __len__(self) -> int:
        return len(self._profile)

"""Symbol versions and version magic (kernel/module/version.c)."""

from __future__ import annotations

from enum import Enum

_ENTRY = 64  # struct modversion_info: u64 crc, char name[56]


class Match(Enum):
    """What `__versions` says about a symbol."""

    GOOD = "good"
    MISSING = "missing"
    DIFFERS = "differs"


class Versions:
    """A module's `__versions` section; the first entry of a name counts.

    Args:
        data: The section, None if the module has none or the caller ignores it.
    """

    def __init__(self, data: bytes | None) -> None:
        self.present = data is not None
        self._crcs: dict[bytes, int] = {}
        for start in range(0, len(data or b"") // _ENTRY * _ENTRY, _ENTRY):
            assert data is not None
            name = data[start + 8 : start + _ENTRY].partition(b"\0")[0]
            self._crcs.setdefault(name, int.from_bytes(data[start : start + 8], "little"))

    def check(self, name: str, crc: int) -> Match:
        """Compare a symbol's CRC with the one the module was built against."""
        wanted = self._crcs.get(name.encode("utf-8", "surrogateescape"))
        if wanted is None:
            return Match.MISSING
        return Match.GOOD if wanted == crc else Match.DIFFERS


def same_magic(module: str, kernel: str, has_crcs: bool) -> bool:
    """Compare version magics; with symbol versions the release is left out.

    >>> same_magic("6.1.0-1-amd64 SMP ", "6.1.0-2-amd64 SMP ", True)
    True
    """
    if has_crcs:
        module, kernel = module[_first_space(module) :], kernel[_first_space(kernel) :]
    return module == kernel


def _first_space(text: str) -> int:
    index = text.find(" ")
    return index if index >= 0 else len(text)

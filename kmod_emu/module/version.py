"""Symbol versions and version magic (kernel/module/version.c)."""

from __future__ import annotations

from enum import Enum

_ENTRY = 64  # struct modversion_info: u64 crc, char name[56]


class Match(Enum):
    """What a module's versions say about a symbol."""

    GOOD = "good"
    MISSING = "missing"
    DIFFERS = "differs"
    UNLISTED = "not in the extended table, which need not have it"


class Versions:
    """A module's symbol versions; the first entry of a name counts.

    Args:
        data: The section `__versions`, None if the module has none or the caller ignores it.
        extended: (name, CRC) pairs of the extended tables, which then count alone; None if there are none.
    """

    def __init__(self, data: bytes | None, extended: list[tuple[bytes, int]] | None = None) -> None:
        self.present = data is not None
        self.extended = extended is not None
        self._crcs: dict[bytes, int] = {}
        for name, crc in _read(data or b"") if extended is None else extended:
            self._crcs.setdefault(name, crc)

    def crc(self, name: str) -> int | None:
        """The CRC of a symbol that the module was built against, if it says."""
        return self._crcs.get(name.encode("utf-8", "surrogateescape"))

    def known(self) -> dict[str, int]:
        """All symbols with the CRCs that the module was built against."""
        return {name.decode("utf-8", "backslashreplace"): crc for name, crc in self._crcs.items()}

    def check(self, name: str, crc: int) -> Match:
        """Compare a symbol's CRC with the one the module was built against."""
        wanted = self.crc(name)
        if wanted is None:
            return Match.UNLISTED if self.extended else Match.MISSING
        return Match.GOOD if wanted == crc else Match.DIFFERS


def _read(data: bytes) -> list[tuple[bytes, int]]:
    entries = (data[start : start + _ENTRY] for start in range(0, len(data) // _ENTRY * _ENTRY, _ENTRY))
    return [(entry[8:].partition(b"\0")[0], int.from_bytes(entry[:8], "little")) for entry in entries]


def read_extended(crcs: bytes, names: bytes) -> list[tuple[bytes, int]]:
    r"""The extended tables as pairs: as many as both have, a name without NUL not counted.

    >>> read_extended(b"\1\0\0\0\2\0\0\0", b"a\0bc\0")
    [(b'a', 1), (b'bc', 2)]
    """
    values = memoryview(crcs[: len(crcs) // 4 * 4]).cast("I")
    return list(zip(names.split(b"\0")[:-1], values, strict=False))


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

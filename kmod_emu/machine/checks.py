"""Where Unicorn looks whether it is to stop: at the beginning of a block of code, elsewhere if need be.

By itself it also looks behind each access to memory, by a call for which all registers are put into memory:
code that reads and writes takes twice as long so. Nor is an instruction complete behind its store: it is run
again, and one that adds to memory does so twice. Unicorn has a switch for that, `no_exit_request`, which it
uses for ARM's IT blocks; no function sets it. Where it is can be read off the function that looks at it.
"""

from __future__ import annotations

import ctypes
import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import unicorn

_FUNCTION = "check_exit_request_x86_64"
# mov reg, [rdi + a]; cmp byte [reg + b], 0: the engine of the code generator, and the switch in it
_CODE = re.compile(rb"\x48\x8b[\xb0-\xb3\xb5-\xb7]....\x80[\xb8-\xbb\xbd-\xbf](....)\x00", re.DOTALL)
_SIZE = 64


class Checks:
    """The switch of one engine; where there is none to be found, Unicorn looks everywhere.

    Args:
        uc: The engine, after the first call of a function of it.
    """

    def __init__(self, uc: unicorn.Uc) -> None:
        self._switch = _find(uc)
        self.everywhere = self._switch is None

    def look(self, *, everywhere: bool) -> None:
        """Say where code looks that is translated from here on; hooks on instructions need it everywhere."""
        if self._switch is not None:
            self._switch.value = not everywhere
            self.everywhere = everywhere


def _find(uc: unicorn.Uc) -> ctypes.c_uint8 | None:
    try:
        from unicorn.unicorn_py3.unicorn import uclib

        function = getattr(uclib, _FUNCTION)
    except (ImportError, AttributeError):  # another release, or a library that shows less
        return None
    place = ctypes.cast(function, ctypes.c_void_p).value
    found = _CODE.search(ctypes.string_at(place, _SIZE)) if place else None
    if found is None:  # another processor, or compiler
        return None
    address = uc._uch.value + int.from_bytes(found[1], "little")
    switch, initialized = (ctypes.c_uint8.from_address(address + each) for each in range(2))
    return switch if (switch.value, initialized.value) == (0, 1) else None

"""How much memory zlib wants (lib/zlib_inflate/, lib/zlib_deflate/): nothing is compressed here."""

from __future__ import annotations

from typing import TYPE_CHECKING

from kmod_emu.kernel.exports import export

if TYPE_CHECKING:
    from kmod_emu.kernel.kernel import KernelCore

_INFLATE = 42312  # struct inflate_workspace
_DEFLATE = 5960  # struct deflate_workspace, and what aligns the rest


@export("int zlib_inflate_workspacesize(void)")
def zlib_inflate_workspacesize(kernel: KernelCore) -> int:
    """Bytes to decompress in (lib/zlib_inflate/inflate.c)."""
    return _INFLATE


@export("int zlib_deflate_workspacesize(int windowBits, int memLevel)")
def zlib_deflate_workspacesize(kernel: KernelCore, windowBits: int, memLevel: int) -> int:  # noqa: N803
    """Bytes to compress in: window, chains, hash table, what is pending (lib/zlib_deflate/deflate.c)."""
    window, hashed, literals = 1 << windowBits, 1 << memLevel + 7, 1 << memLevel + 6
    return _DEFLATE + 2 * window + 2 * window + 2 * hashed + 4 * literals

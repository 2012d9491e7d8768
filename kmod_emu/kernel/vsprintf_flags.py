"""%pG: bit masks by name (lib/vsprintf.c: flags_string; include/trace/events/mmflags.h).

The names and bits are those of Debian's 6.1 configuration (NUMA with 1024 nodes, memory failure handling, no
KASAN, no idle page flags), in the order in which the kernel looks for them. Bits without a name are printed
as one hexadecimal number, as the kernel does.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from kmod_emu.kernel.printf_spec import checked, error_string

if TYPE_CHECKING:
    from kmod_emu.kernel.printf_spec import Context, Spec

__all__ = ["flags_string"]

_Names = tuple[tuple[int, bytes], ...]


def _bits(names: str) -> _Names:
    """A table from words "bit:name"."""
    pairs = (word.split(":") for word in names.split())
    return tuple((1 << int(bit), name.encode()) for bit, name in pairs)


_PAGE_FLAGS = _bits(
    "0:locked 7:waiters 8:error 1:referenced 2:uptodate 3:dirty 4:lru 5:active 6:workingset 9:slab "
    "10:owner_priv_1 11:arch_1 12:reserved 13:private 14:private_2 15:writeback 16:head 17:mappedtodisk "
    "18:reclaim 19:swapbacked 20:unevictable 21:mlocked 22:uncached 23:hwpoison 24:arch_2"
)
_PAGE_FLAGS_MASK = (1 << 25) - 1

# The fields above the flags: name, shift, width, format.
_PAGE_FIELDS = (
    (b"node", 54, 10, b"%d"),
    (b"zone", 51, 3, b"%d"),
    (b"lastcpupid", 30, 21, b"%#x"),
)

_VMA_FLAGS = _bits(
    "0:read 1:write 2:exec 3:shared 4:mayread 5:maywrite 6:mayexec 7:mayshare 8:growsdown 9:uffd_missing "
    "37:uffd_minor 10:pfnmap 12:uffd_wp 13:locked 14:io 15:seqread 16:randread 17:dontcopy 18:dontexpand "
    "19:lockonfault 20:account 21:noreserve 22:hugetlb 23:sync 24:pat 25:wipeonfork 26:dontdump 27:softdirty "
    "28:mixedmap 29:hugepage 30:nohugepage 31:mergeable"
)

# Composite masks come first, so that GFP_KERNEL is not printed as its parts.
_GFP_FLAGS: _Names = (
    (0x1C24CA, b"GFP_TRANSHUGE"),
    (0x1C20CA, b"GFP_TRANSHUGE_LIGHT"),
    (0x100CCA, b"GFP_HIGHUSER_MOVABLE"),
    (0x100CC2, b"GFP_HIGHUSER"),
    (0x100CC0, b"GFP_USER"),
    (0x400CC0, b"GFP_KERNEL_ACCOUNT"),
    (0xCC0, b"GFP_KERNEL"),
    (0xC40, b"GFP_NOFS"),
    (0xA20, b"GFP_ATOMIC"),
    (0xC00, b"GFP_NOIO"),
    (0x800, b"GFP_NOWAIT"),
    (0x1, b"GFP_DMA"),
    (0x2, b"__GFP_HIGHMEM"),
    (0x4, b"GFP_DMA32"),
    *_bits(
        "5:__GFP_HIGH 9:__GFP_ATOMIC 6:__GFP_IO 7:__GFP_FS 13:__GFP_NOWARN 14:__GFP_RETRY_MAYFAIL "
        "15:__GFP_NOFAIL 16:__GFP_NORETRY 18:__GFP_COMP 8:__GFP_ZERO 19:__GFP_NOMEMALLOC 17:__GFP_MEMALLOC "
        "20:__GFP_HARDWALL 21:__GFP_THISNODE 4:__GFP_RECLAIMABLE 3:__GFP_MOVABLE 22:__GFP_ACCOUNT "
        "12:__GFP_WRITE"
    ),
    (0xC00, b"__GFP_RECLAIM"),
    *_bits("10:__GFP_DIRECT_RECLAIM 11:__GFP_KSWAPD_RECLAIM 23:__GFP_ZEROTAGS"),
)


@checked
def flags_string(pointer: int, suffix: bytes, spec: Spec, context: Context) -> bytes:
    """%pGp page flags, %pGv VMA flags (both unsigned long), %pGg gfp_t; width and precision do not count."""
    memory = context.memory
    kind = suffix[1:2]
    if kind == b"p":
        return _format_page_flags(memory.read_u64(pointer))
    if kind == b"v":
        return _format_flags(memory.read_u64(pointer), _VMA_FLAGS)
    if kind == b"g":
        return _format_flags(memory.read_u32(pointer), _GFP_FLAGS)
    return error_string(b"(%pG?)", spec)


def _format_flags(flags: int, names: _Names) -> bytes:
    parts = []
    for mask, name in names:
        if not flags:
            break
        if flags & mask == mask:
            parts.append(name)
            flags &= ~mask
    if flags:
        parts.append(b"%#x" % flags)
    return b"|".join(parts)


def _format_page_flags(flags: int) -> bytes:
    parts = []
    if flags & _PAGE_FLAGS_MASK:
        parts.append(_format_flags(flags & _PAGE_FLAGS_MASK, _PAGE_FLAGS))
    for name, shift, width, template in _PAGE_FIELDS:
        parts.append(name + b"=" + template % (flags >> shift & ((1 << width) - 1)))
    return b"%#x(" % flags + b"|".join(parts) + b")"

import struct

import pytest

from tests.kernel.printf_world import World

GFP_KERNEL, GFP_ATOMIC = 0xCC0, 0xA20


def formatted(format, value):
    world = World()
    return world.format(format, world.put(struct.pack("<Q", value)))


@pytest.mark.parametrize(
    ("gfp", "expected"),
    [
        (0, b""),
        (GFP_KERNEL, b"GFP_KERNEL"),
        (GFP_KERNEL | 0x100, b"GFP_KERNEL|__GFP_ZERO"),
        (GFP_ATOMIC, b"GFP_ATOMIC"),
        (GFP_ATOMIC | 1, b"GFP_ATOMIC|GFP_DMA"),
        (0x1C24CA, b"GFP_TRANSHUGE"),
        (0x200, b"__GFP_ATOMIC"),
        (0x400, b"__GFP_DIRECT_RECLAIM"),
        (0xFF000000, b"0xff000000"),  # bits without a name stay numbers
        (0xFF000200, b"__GFP_ATOMIC|0xff000000"),
        (1 << 40 | GFP_KERNEL, b"GFP_KERNEL"),  # gfp_t has 32 bits
    ],
)
def test_gfp_flags(gfp, expected):
    assert formatted(b"%pGg", gfp) == expected


def test_vma_flags():
    assert formatted(b"%pGv", 0x1 | 0x4 | 0x10 | 0x20 | 0x40) == b"read|exec|mayread|maywrite|mayexec"
    assert formatted(b"%pGv", 1 << 37 | 1 << 31 | 1 << 11) == b"uffd_minor|mergeable|0x800"


@pytest.mark.parametrize(
    ("flags", "expected"),
    [
        (0, b"0x0(node=0|zone=0|lastcpupid=0x0)"),
        (0x1 | 0x200, b"0x201(locked|slab|node=0|zone=0|lastcpupid=0x0)"),
        (0x80 | 0x2, b"0x82(waiters|referenced|node=0|zone=0|lastcpupid=0x0)"),
        # a page of Normal memory on node 0, as Debian's kernel dumps it
        (0x17FFFFC0000000, b"0x17ffffc0000000(node=0|zone=2|lastcpupid=0x1fffff)"),
        (3 << 54 | 1 << 24, b"0xc0000001000000(arch_2|node=3|zone=0|lastcpupid=0x0)"),
    ],
)
def test_page_flags(flags, expected):
    assert formatted(b"%pGp", flags) == expected


def test_unknown_kind_of_flags():
    assert formatted(b"%pGx", 1) == b"(%pG?)"
    assert formatted(b"%pG", 1) == b"(%pG?)"

"""Going through a scatterlist page by page (lib/scatterlist.c)."""

import struct

import pytest

from kmod_emu import Kernel
from kmod_emu.kernel.pages import virt_to_page

PIECES = ((100, 50), (4000, 5000), (0, 8192))  # offset in a page, length
EXPECTED = [50, 96, 4096, 808, 4096, 4096]
ENTRY, LAST, MITER = 32, 2, 72


@pytest.fixture
def scattered():
    """A list, and what is in it."""
    kernel = Kernel()
    table, data, number = kernel.heap.kmalloc(ENTRY * len(PIECES)), b"", 0
    for index, (offset, length) in enumerate(PIECES):
        pages = kernel.pages.allocate(2)
        piece = bytes((number + place) % 251 for place in range(length))
        kernel.memory.write(pages + offset, piece)
        data, number = data + piece, number + length
        link = virt_to_page(pages) | (LAST if index == len(PIECES) - 1 else 0)
        kernel.memory.write(table + index * ENTRY, struct.pack("<QII", link, offset, length))
    return kernel, table, data


def pieces(kernel, miter):
    step = kernel.symbol("sg_miter_next")
    while kernel.call(step, miter) & 0xFF:
        address, length = kernel.memory.read_u64(miter + 8), kernel.memory.read_u64(miter + 16)
        yield kernel.memory.read(address, length)


@pytest.mark.parametrize("skipped", [0, 20, 50, 146, 150, 13000])
def test_each_page(scattered, skipped):
    kernel, table, data = scattered
    miter = kernel.heap.kmalloc(MITER)
    kernel.call(kernel.symbol("sg_miter_start"), miter, table, len(PIECES), 0)
    assert kernel.call(kernel.symbol("sg_miter_skip"), miter, skipped) & 0xFF
    found = list(pieces(kernel, miter))
    assert b"".join(found) == data[skipped:]
    if not skipped:
        assert [len(piece) for piece in found] == EXPECTED


def test_skipping_too_much(scattered):
    kernel, table, data = scattered
    miter = kernel.heap.kmalloc(MITER)
    kernel.call(kernel.symbol("sg_miter_start"), miter, table, len(PIECES), 0)
    assert not kernel.call(kernel.symbol("sg_miter_skip"), miter, len(data) + 1) & 0xFF


def test_copying(scattered):
    kernel, table, data = scattered
    buffer = kernel.vmalloc.allocate(len(data))
    kernel.call(kernel.symbol("scatterwalk_map_and_copy"), buffer, table, 40, 6000, 0)
    assert kernel.memory.read(buffer, 6000) == data[40:6040]
    kernel.call(kernel.symbol("scatterwalk_map_and_copy"), buffer, table, 0, 6000, 1)
    kernel.call(kernel.symbol("scatterwalk_map_and_copy"), buffer, table, 0, 6100, 0)
    assert kernel.memory.read(buffer, 6100) == data[40:6040] + data[6000:6100]

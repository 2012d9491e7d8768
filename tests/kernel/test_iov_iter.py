"""Iterators over buffers, in the layouts of all releases: the same bytes whatever the kind."""

import struct

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kmod_emu import Kernel
from kmod_emu.kernel.iov_iter import ITER_DEST, ITER_SOURCE, IovIter

RELEASES = ("5.10", "6.1", "6.12", "7.2")


@pytest.fixture(scope="module", params=RELEASES)
def kernel(request):
    return Kernel(release=request.param)


@settings(max_examples=30, deadline=None)
@given(
    sizes=st.lists(st.integers(0, 40), min_size=1, max_size=5),
    steps=st.lists(st.integers(0, 60), max_size=6),
    back=st.integers(0, 200),
)
def test_pieces_are_filled_in_order_and_taken_back(kernel, sizes, steps, back):
    total = sum(sizes)
    text = bytes(i & 0xFF for i in range(1, total + 1))
    base = kernel.heap.kmalloc(1024)
    vector, at, place = base + 64, base + 256, base
    kernel.memory.clear(base, 1024)
    places = []
    for size in sizes:
        places.append((at, size))
        at += size + 3
    kernel.memory.write(vector, b"".join(struct.pack("<QQ", *piece) for piece in places))
    it = IovIter(kernel, place)
    it.init("kvec", ITER_DEST, vector, len(sizes), total)
    done = 0
    for step in steps:
        done += it.put(text[done : done + step])
    assert (it.count, done) == (total - done, min(sum(steps), total))
    written = b"".join(kernel.memory.read(*piece) for piece in places)
    assert written == text[:done].ljust(total, b"\0")
    back = min(back, done)
    it.revert(back)
    assert it.put(text[done - back :]) == total - done + back
    assert b"".join(kernel.memory.read(*piece) for piece in places) == text
    it.init("kvec", ITER_SOURCE, vector, len(sizes), total)
    assert it.take(total + 10) == text
    kernel.heap.kfree(base)


def test_user_memory_ends_where_it_is_not_mapped(kernel):
    process = kernel.process()
    place = process.memory.map(4096)
    base = kernel.heap.kmalloc(1024)

    async def copy():
        it = IovIter(kernel, base)
        it.init_user(ITER_DEST, [(place + 4090, 6), (place + 4096, 8)], base + 256)
        copied = it.put(b"12345678")
        it.init_user(ITER_SOURCE, [(place + 4088, 100)], base + 256)
        return copied, it.take(100)

    assert kernel.sched.run(process.task, copy()) == (6, b"\0\0" + b"123456")

"""Hardened usercopy: texts are those of mm/usercopy.c."""

import pytest

from kmod_emu import Kernel
from kmod_emu.errors import Killed


@pytest.fixture(scope="module")
def booted():
    return Kernel()


@pytest.fixture
def kernel(booted):
    state = booted.snapshot()
    yield booted
    booted.restore(state)


def check(kernel, address, size, to_user=True):
    """The line that a copy is stopped with, "" if it is not."""
    before = len(kernel.dmesg())
    try:
        kernel.call(kernel.symbol("__check_object_size"), address, size, to_user)
    except Killed:
        lines = kernel.dmesg()[before:]
        assert lines[2] == "kernel BUG at mm/usercopy.c:101!"
        return lines[0]
    return ""


def test_a_copy_within_its_object_goes_through(kernel):
    address = kernel.heap.kmalloc(100)  # usable: 128
    assert not check(kernel, address, 128)
    assert not check(kernel, address + 28, 100)
    assert not check(kernel, address, 0)


@pytest.mark.parametrize(
    ("offset", "size", "to_user", "text"),
    [
        (0, 129, True, "exposure attempt detected from SLUB object 'kmalloc-128' (offset 0, size 129)!"),
        (100, 29, False, "overwrite attempt detected to SLUB object 'kmalloc-128' (offset 100, size 29)!"),
    ],
)
def test_a_copy_beyond_a_heap_object_is_stopped(kernel, offset, size, to_user, text):
    address = kernel.heap.kmalloc(100)
    assert check(kernel, address + offset, size, to_user) == f"usercopy: Kernel memory {text}"


def test_objects_of_a_cache_are_not_for_programs_unless_it_says_so(kernel):
    name = kernel.heap.kmalloc(8)
    kernel.memory.write(name, b"things\0")
    plain = kernel.call(kernel.symbol("kmem_cache_create"), name, 48, 0, 0, 0)
    assert "SLUB object 'things' (offset 0, size 8)" in check(kernel, kernel.heap.cache_alloc(plain), 8)


def test_other_memory(kernel):
    pages, area = kernel.pages.allocate(2), kernel.vmalloc.allocate(4096)
    assert not check(kernel, pages, 16384)
    assert check(kernel, pages + 1, 16384).endswith("from page alloc (offset 1, size 16384)!")
    assert check(kernel, area, 8193).endswith("from vmalloc (offset 0, size 8193)!")
    assert check(kernel, 16, 1).endswith("from null address (offset 16, size 1)!")
    assert check(kernel, (1 << 64) - 1, 4).endswith("from wrapped address (offset 0, size 3)!")
    text = kernel.symbol("memcpy")
    assert "from kernel text (offset" in check(kernel, text, 4)


def test_refcounts_warn_once_a_place(kernel):
    count = kernel.heap.kmalloc(8)
    for _ in range(2):
        kernel.call(kernel.symbol("refcount_warn_saturate"), count, 3)
    lines = [line for line in kernel.dmesg() if line.startswith("refcount_t:")]
    assert lines == ["refcount_t: underflow; use-after-free."]
    kernel.call(kernel.symbol("refcount_warn_saturate"), count, 2)
    assert "refcount_t: addition on 0; use-after-free." in kernel.dmesg()


def test_caches_of_a_restored_machine_know_their_slabs(kernel):
    address = kernel.heap.kmalloc(100)
    kernel.heap.load(kernel.heap.save())
    assert "kmalloc-128" in check(kernel, address, 129)

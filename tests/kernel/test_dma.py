"""Memory helpers that only Python sees here: DMA, counters, resizing."""

import pytest

from kmod_emu import Kernel

RELEASES = ["5.10", "6.1", "6.12", "7.2"]
MASK32 = (1 << 32) - 1


@pytest.fixture(scope="module", params=RELEASES)
def kernel(request):
    return Kernel(request.param)


def call(kernel, name, *arguments):
    return kernel.call(kernel.symbol(name), *arguments)


def test_coherent_memory_is_where_the_device_sees_it(kernel):
    dev, handle = kernel.heap.kmalloc(kernel.profile.struct("device").size), kernel.heap.kmalloc(8)
    assert call(kernel, "dma_set_mask", dev, MASK32) & MASK32 == MASK32 - 4  # -EIO: it has no mask
    assert call(kernel, "dma_set_coherent_mask", dev, MASK32) == 0
    before = kernel.held()["pages"]
    address = call(kernel, "dma_alloc_attrs", dev, 8192, handle, 0xCC0, 0)
    assert kernel.direct_address(kernel.memory.read_u64(handle)) == address
    call(kernel, "dma_free_attrs", dev, 8192, address, kernel.memory.read_u64(handle), 0)
    assert kernel.held()["pages"] == before


def test_a_counter_is_exact_when_it_is_summed(kernel):
    counter = kernel.heap.kmalloc(kernel.profile.struct("percpu_counter").size)
    if "__percpu_counter_init" in kernel.profile.exports:
        assert call(kernel, "__percpu_counter_init", counter, 5, 0xCC0, 0) == 0
    else:
        assert call(kernel, "__percpu_counter_init_many", counter, 5, 0xCC0, 1, 0) == 0
    view = kernel.view("percpu_counter", counter)
    for amount in (3, -10, 40):
        call(kernel, "percpu_counter_add_batch", counter, amount & (1 << 64) - 1, 32)
    assert view.count == 5 + 33  # the batch is reached
    call(kernel, "percpu_counter_add_batch", counter, 2, 32)
    assert (view.count, call(kernel, "__percpu_counter_sum", counter)) == (38, 40)


def test_kvrealloc_keeps_what_was_there(kernel):
    address = kernel.heap.kmalloc(16)
    kernel.memory.write(address, b"0123456789abcdef")
    name = next(
        n
        for n in ("kvrealloc", "kvrealloc_noprof", "kvrealloc_node_align_noprof")
        if n in kernel.profile.exports
    )
    arguments = {"kvrealloc": (16, 100_000, 0xCC0), "kvrealloc_noprof": (100_000, 0xCC0)}
    grown = call(kernel, name, address, *arguments.get(name, (100_000, 8, 0xCC0, 0)))
    assert kernel.memory.read(grown, 20) == b"0123456789abcdef\0\0\0\0"
    call(kernel, "kvfree", grown)

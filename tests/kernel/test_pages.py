"""The buddy allocator, and pages by address and by struct page."""

import itertools

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kmod_emu import Kernel
from kmod_emu.kernel.layout import MIB, PAGE_OFFSET, RAM_SIZE, VMEMMAP_START
from kmod_emu.kernel.pages import MAX_ORDER, page_to_virt, virt_to_page

PAGE = 4096


@pytest.mark.parametrize("order", range(MAX_ORDER + 1))
def test_blocks_are_naturally_aligned_and_zeroed(kernel, order):
    address = kernel.pages.allocate(order)
    assert (address - PAGE_OFFSET) % (PAGE << order) == 0
    kernel.memory.write(address, b"\xff" * (PAGE << order))
    assert kernel.pages.free(address)
    assert kernel.pages.allocate(order) == address
    assert kernel.memory.read(address, PAGE << order) == bytes(PAGE << order)


def test_larger_blocks_do_not_exist(kernel, guest):
    assert kernel.pages.allocate(MAX_ORDER + 1) == 0
    assert guest.export("__get_free_pages", 0, 11) == 0


def test_the_first_megabyte_is_never_handed_out(kernel):
    addresses = []
    while address := kernel.pages.allocate(5):
        addresses.append(address)
    assert min(addresses) >= PAGE_OFFSET + MIB
    assert max(addresses) < PAGE_OFFSET + RAM_SIZE


def test_memory_used_up_and_given_back(kernel):
    blocks = []
    while address := kernel.pages.allocate(MAX_ORDER):
        blocks.append(address)
    assert kernel.pages.allocate(MAX_ORDER) == 0
    assert kernel.pages.free(blocks[3])
    assert kernel.pages.allocate(MAX_ORDER) == blocks[3]


@pytest.mark.parametrize("offset", [1, 8, PAGE])
def test_only_the_start_of_a_block_frees_it(kernel, offset):
    address = kernel.pages.allocate(1)
    before = kernel.pages.allocated
    assert not kernel.pages.free(address + offset)
    assert kernel.pages.allocated == before
    assert kernel.pages.free(address)
    assert not kernel.pages.free(address)


def test_struct_page_and_address():
    assert virt_to_page(PAGE_OFFSET) == VMEMMAP_START
    assert virt_to_page(PAGE_OFFSET + 5 * PAGE + 17) == VMEMMAP_START + 5 * 64
    assert page_to_virt(virt_to_page(PAGE_OFFSET + 5 * PAGE)) == PAGE_OFFSET + 5 * PAGE


def test_the_same_page_by_both_names(kernel, guest):
    before = kernel.pages.allocated
    page = guest.export("alloc_pages", 0, 2)
    assert kernel.pages.allocated == before + 4
    assert kernel.memory.read(page, 64) == bytes(64)  # its struct page is mapped
    guest.export("free_pages", page_to_virt(page), 2)
    assert kernel.pages.allocated == before
    guest.export("__free_pages", guest.export("__alloc_pages", 0, 0, 0, 0), 0)
    guest.export("free_pages", guest.export("get_zeroed_page", 0), 0)
    guest.export("free_pages", 0, 0)
    assert kernel.pages.allocated == before


@settings(max_examples=40, deadline=None)
@given(st.lists(st.tuples(st.integers(0, MAX_ORDER), st.integers(0, 1 << 16)), max_size=60))
def test_blocks_never_overlap_and_all_merge_again(steps):
    """Each step allocates a block, and now and then frees an old one."""
    pages = Kernel().pages
    start = pages.save()
    blocks = {}
    for order, choice in steps:
        if blocks and choice % 3 == 0:
            victim = sorted(blocks)[choice % len(blocks)]
            assert pages.free(victim)
            del blocks[victim]
        elif address := pages.allocate(order):
            blocks[address] = PAGE << order
        spans = sorted(blocks.items())
        assert all(a + size <= b for (a, size), (b, _) in itertools.pairwise(spans))
    for address in blocks:
        assert pages.free(address)
    assert pages.save() == start


def test_state_survives(kernel):
    kept = kernel.pages.allocate(3)
    state = kernel.pages.save()
    following = [kernel.pages.allocate(order) for order in (0, 1, 2)]
    kernel.pages.load(state)
    assert [kernel.pages.allocate(order) for order in (0, 1, 2)] == following
    assert kernel.pages.free(kept)


def test_vmalloc_addresses_lead_to_struct_pages(kernel):
    area = kernel.vmalloc.allocate(8192)
    page = kernel.call(kernel.symbol("vmalloc_to_page"), area + PAGE)
    assert kernel.call(kernel.symbol("vmalloc_to_pfn"), area + PAGE) << 12 == kernel.memory.translate(
        area + PAGE
    )
    assert (page - virt_to_page(kernel.direct_address(0))) // 64 == kernel.memory.translate(area + PAGE) >> 12
    assert kernel.call(kernel.symbol("vmalloc_to_page"), area + 2 * PAGE) == 0, "the guard page"
    assert kernel.call(kernel.symbol("is_vmalloc_addr"), area) == 1
    assert kernel.call(kernel.symbol("is_vmalloc_addr"), kernel.heap.kmalloc(8)) == 0

"""kmalloc and kmem_cache, called by the guest."""

import pytest

from kmod_emu import Killed
from kmod_emu.kernel.slab import KMALLOC_SIZES, ZERO_SIZE_PTR

SIZES = sorted(KMALLOC_SIZES[1:])


@pytest.fixture
def kmalloc(guest):
    return lambda size: guest.export("__kmalloc", size, 0)


@pytest.fixture
def kfree(guest):
    return lambda address: guest.export("kfree", address)


@pytest.mark.parametrize("size", SIZES)
def test_powers_of_two_are_naturally_aligned(kmalloc, size):
    aligned = size & -size
    assert all(kmalloc(size) % aligned == 0 for _ in range(20))


@pytest.mark.parametrize(
    ("size", "usable"), [(1, 8), (8, 8), (9, 16), (65, 96), (97, 128), (129, 192), (8192, 8192)]
)
def test_sizes_are_rounded_up_to_a_cache(guest, kmalloc, size, usable):
    assert guest.export("ksize", kmalloc(size)) == usable


def test_objects_do_not_overlap(kernel, kmalloc):
    objects = [(kmalloc(size), size) for size in (*SIZES, *SIZES, 9000, 100_000)]
    for number, (address, size) in enumerate(objects):
        kernel.memory.write(address, bytes([number]) * size)
    for number, (address, size) in enumerate(objects):
        assert kernel.memory.read(address, size) == bytes([number]) * size


def test_last_freed_is_reused_first_and_zeroed(kernel, kmalloc, kfree):
    first, second = kmalloc(64), kmalloc(64)
    kernel.memory.write(second, b"\xff" * 64)
    kfree(first)
    kfree(second)
    assert (kmalloc(64), kmalloc(64)) == (second, first)
    assert kernel.memory.read(second, 64) == bytes(64)


def test_large_objects_are_pages(kernel, kmalloc, kfree):
    before = kernel.pages.allocated
    address = kmalloc(20_000)
    assert address % 4096 == 0
    assert kernel.pages.allocated == before + 8
    kfree(address)
    assert kernel.pages.allocated == before


@pytest.mark.parametrize("size", [(4 << 20) + 1, 1 << 40, (1 << 64) - 1])
def test_too_large_is_null(kmalloc, size):
    assert kmalloc(size) == 0


def test_zero_bytes(kmalloc, kfree, kernel):
    live = len(kernel.heap.live)
    assert kmalloc(0) == ZERO_SIZE_PTR
    kfree(ZERO_SIZE_PTR)
    kfree(0)
    assert len(kernel.heap.live) == live


def test_krealloc_keeps_contents_and_grows(kernel, guest, kmalloc):
    old = kmalloc(20)
    kernel.memory.write(old, b"x" * 32)
    assert guest.export("krealloc", old, 32, 0) == old
    new = guest.export("krealloc", old, 33, 0)
    assert new != old
    assert kernel.memory.read(new, 33) == b"x" * 32 + b"\0"
    assert kmalloc(20) == old  # freed


def test_krealloc_of_null_and_to_nothing(kernel, guest):
    address = guest.export("krealloc", 0, 10, 0)
    assert kernel.heap.live[address] == 10
    assert guest.export("krealloc", address, 0, 0) == ZERO_SIZE_PTR
    assert address not in kernel.heap.live


@pytest.mark.parametrize("wild", ["twice", "inside", "elsewhere"])
def test_bad_free_is_an_oops_and_the_heap_lives_on(kernel, kmalloc, kfree, wild):
    freed, live = kmalloc(64), kmalloc(64)
    kfree(freed)
    victim = {"twice": freed, "inside": live + 8, "elsewhere": 0xDEAD_BEEF}[wild]
    with pytest.raises(Killed):
        kfree(victim)
    assert kernel.findings.reports[-2]["kind"] == "bad free"
    assert kmalloc(64)


def test_string_copies(kernel, guest):
    text = guest.text("hello")
    copies = [
        guest.export("kstrdup", text, 0),
        guest.export("kstrndup", text, 3, 0),
        guest.export("kmemdup", text, 2, 0),
    ]
    assert [kernel.memory.read_cstring(copy) for copy in copies] == [b"hello", b"hel", b"he"]
    assert guest.export("kstrdup", 0, 0) == 0


def test_kfree_sensitive_clears(kernel, guest, kmalloc):
    address = kmalloc(16)
    kernel.memory.write(address, b"s" * 16)
    guest.export("kfree_sensitive", address)
    assert kernel.memory.read(address, 16) == bytes(16)
    assert address not in kernel.heap.live


def test_kvmalloc_falls_back_to_vmalloc_and_kvfree_takes_both(kernel, guest):
    live, areas = len(kernel.heap.live), kernel.vmalloc.allocated
    small, large = guest.export("kvmalloc_node", 100, 0, -1), guest.export("kvmalloc_node", 1 << 20, 0, -1)
    assert small in kernel.heap.live
    assert kernel.vmalloc.area(large) == (large, 1 << 20)
    for address in (small, large, 0):
        guest.export("kvfree", address)
    assert (len(kernel.heap.live), kernel.vmalloc.allocated) == (live, areas)


def test_inlined_kmalloc_finds_its_caches(kernel, guest):
    """kmalloc(100) compiles to kmalloc_trace(kmalloc_caches[0][7], flags, 100)."""
    table = kernel.symbol("kmalloc_caches")
    cache = kernel.memory.read_u64(table + 8 * KMALLOC_SIZES.index(128))
    address = guest.export("kmalloc_trace", cache, 0, 100)
    assert guest.export("ksize", address) == 128


def create(guest, size, align=0, ctor=0):
    return guest.export("kmem_cache_create", guest.text("test"), size, align, 0, ctor)


def test_cache_objects(kernel, guest):
    cache = create(guest, 100, 64)
    objects = [guest.export("kmem_cache_alloc", cache, 0) for _ in range(100)]
    assert len(set(objects)) == 100
    assert all(address % 64 == 0 for address in objects)
    gaps = [b - a for a, b in zip(sorted(objects), sorted(objects)[1:], strict=False)]
    assert min(gaps) >= 100
    guest.export("kmem_cache_free", cache, objects[5])
    assert guest.export("kmem_cache_alloc", cache, 0) == objects[5]


def test_constructor_runs_as_guest_code(kernel, guest):
    cache = create(guest, 32, ctor=guest.code("mov qword ptr [rdi], 0x1234; ret"))
    assert kernel.memory.read_u64(guest.export("kmem_cache_alloc", cache, 0)) == 0x1234


def test_kfree_of_a_cache_object(kernel, guest, kmalloc, kfree):
    """It went to the kmalloc cache of the next size, whose larger objects then overlapped its neighbour."""
    cache = create(guest, 100)
    objects = [guest.export("kmem_cache_alloc", cache, 0) for _ in range(2)]
    assert guest.export("ksize", objects[0]) == 100
    kernel.memory.write(objects[1], b"n" * 100)
    kfree(objects[0])
    assert kmalloc(128) != objects[0]
    assert kernel.memory.read(objects[1], 100) == b"n" * 100
    assert guest.export("kmem_cache_alloc", cache, 0) == objects[0]


def test_cache_of_large_objects(kernel, guest, kfree):
    cache = create(guest, 20_000)
    first, second = (guest.export("kmem_cache_alloc", cache, 0) for _ in range(2))
    assert abs(first - second) >= 20_000
    guest.export("kmem_cache_free", cache, first)
    assert guest.export("kmem_cache_alloc", cache, 0) == first


def test_cache_that_does_not_exist(kernel, guest):
    with pytest.raises(Killed):
        guest.export("kmem_cache_alloc", 0, 0)
    assert "BUG: kernel NULL pointer dereference, address: 0000000000000000" in kernel.dmesg()


def test_destroyed_cache_frees_its_struct(kernel, guest):
    live = len(kernel.heap.live)
    cache = create(guest, 100)
    guest.export("kmem_cache_destroy", cache)
    guest.export("kmem_cache_destroy", 0)
    assert len(kernel.heap.live) == live


def test_state_survives(kernel, guest, kmalloc):
    kept, cache = kmalloc(64), create(guest, 100)
    first = guest.export("kmem_cache_alloc", cache, 0)
    state = kernel.heap.save()
    following = [kmalloc(64), guest.export("kmem_cache_alloc", cache, 0)]
    kernel.heap.load(state)
    assert [kmalloc(64), guest.export("kmem_cache_alloc", cache, 0)] == following
    guest.export("kmem_cache_free", cache, first)
    guest.export("kfree", kept)
    assert kmalloc(64) == kept


def test_what_is_freed_twice_in_a_row_is_a_bug(kernel, guest):
    address = guest.export("__kmalloc", 64, 0xCC0)
    guest.export("kfree", address)
    with pytest.raises(Killed):
        guest.export("kfree", address)
    assert kernel.dmesg()[:3] == [
        "------------[ cut here ]------------",
        "kernel BUG at mm/slub.c:419!",
        "invalid opcode: 0000 [#1] PREEMPT SMP NOPTI",
    ]


@pytest.mark.parametrize(
    ("pointer", "address"),
    [(0x12345, 0xFFFF_EBDE_0000_0488), (0xFFFF_FFFF_C020_3040, 0xFFFF_EA00_0100_80C8)],
)
def test_a_wild_pointer_is_followed_to_where_its_page_would_be(kernel, guest, pointer, address):
    with pytest.raises(Killed):
        guest.export("kfree", pointer)
    assert kernel.dmesg()[0] == f"BUG: unable to handle page fault for address: {address:016x}"


def test_whole_pages_are_freed_with_a_warning(kernel, guest):
    page = guest.export("__get_free_pages", 0xCC0, 0)
    allocated = kernel.pages.allocated
    guest.export("kfree", page)
    assert kernel.pages.allocated == allocated - 1
    lines = kernel.dmesg()
    assert lines[1].endswith(" at mm/slab_common.c:904 free_large_kmalloc+0x3c/0x70")
    assert lines[-1].startswith("object pointer: 0x00000000")


def test_caches_know_their_objects(kernel, guest):
    create = [guest.text("fl_a"), 100, 0, 0, 0], [guest.text("fl_b"), 200, 0, 0, 0]
    one, two = (guest.export("kmem_cache_create", *arguments) for arguments in create)
    item = guest.export("kmem_cache_alloc", one, 0xCC0)
    guest.export("kmem_cache_destroy", one)
    lines = kernel.dmesg()
    assert lines[:4] == [
        "=" * 77,
        "BUG fl_a (Not tainted): Objects remaining in fl_a on __kmem_cache_shutdown()",
        "-" * 77,
        "",
    ]
    assert " objects=39 used=1 fp=0x" in lines[4]
    assert "Disabling lock debugging due to kernel taint" in lines
    assert any(line.startswith("Object 0x") and line.endswith(" @offset=0") for line in lines)
    text = "kmem_cache_destroy fl_a: Slab cache still has objects when called from "
    assert any(line.startswith(text) for line in lines)
    guest.export("kmem_cache_free", two, item)
    assert "cache_from_obj: Wrong slab cache. fl_b but object is from fl_a" in kernel.dmesg()
    before = len(kernel.dmesg())
    guest.export("kmem_cache_destroy", one)
    assert len(kernel.dmesg()) == before

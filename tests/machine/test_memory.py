"""Arenas, permissions, translation, and reading and writing from Python."""

import resource

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kmod_emu.machine.memory import (
    EXEC,
    PAGE_SIZE,
    READ,
    WRITE,
    Access,
    AddressSpace,
    Memory,
    PageFault,
    page_align,
)

BASE = 0xFFFF_8880_0000_0000
USER = 0x40_0000


# --- arenas ---------------------------------------------------------------------------------------------


def test_arena_size_is_rounded_up_to_the_largest_pages_that_hosts_have():
    """A file is mapped from an arena's physical address on, and hosts map whole pages of theirs."""
    arena = Memory().add_arena("ram", BASE, PAGE_SIZE + 1)
    assert (arena.size, arena.end) == (0x10000, BASE + 0x10000)


def test_arenas_follow_each_other_in_physical_memory():
    memory = Memory()
    first = memory.add_arena("first", BASE, 3 * PAGE_SIZE)
    second = memory.add_arena("second", BASE + (1 << 40), PAGE_SIZE)
    assert (first.paddr, second.paddr) == (0, 0x10000)


def test_overlapping_window_is_refused_and_leaves_nothing():
    memory = Memory()
    memory.add_arena("first", BASE, PAGE_SIZE)
    before = BASE - (1 << 30)
    with pytest.raises(ValueError, match="window of first is in the way"):
        memory.add_arena("second", before, 2 << 30)
    assert [arena.name for arena in memory.arenas] == ["first"]
    with pytest.raises(LookupError):
        memory.arena_of(before)


def test_arena_of_knows_where_a_window_ends(memory, machine):
    assert memory.arena_of(machine.DATA) is machine.data_arena
    assert memory.arena_of(machine.data_arena.end - 1) is machine.data_arena
    with pytest.raises(LookupError, match="lies in no arena"):
        memory.arena_of(machine.data_arena.end)


def test_protect_rounds_outward_to_pages(memory, machine):
    memory.protect(machine.DATA + PAGE_SIZE + 1, PAGE_SIZE, READ)
    perms = [memory.mapped(machine.DATA + page * PAGE_SIZE, WRITE) for page in range(4)]
    assert perms == [True, False, False, True]


def test_protect_beyond_the_window_is_refused(memory, machine):
    pages = len(machine.data_arena.perms)
    with pytest.raises(LookupError, match="behind the window of data"):
        memory.protect(machine.data_arena.end - PAGE_SIZE, 2 * PAGE_SIZE, READ)
    assert len(machine.data_arena.perms) == pages
    assert not memory.mapped(machine.data_arena.end - PAGE_SIZE)


def test_untouched_arena_takes_no_host_memory():
    memory = Memory()
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    memory.add_arena("large", BASE, 1 << 30)
    memory.protect(BASE + (1 << 29), PAGE_SIZE, READ | WRITE)
    memory.write_u64(BASE + (1 << 29), 42)
    assert memory.read_u64(BASE + (1 << 29)) == 42
    growth = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
    assert growth < 1 << 19  # KiB on Linux: half of it


@given(st.integers(0, 1 << 40))
def test_page_align_is_the_smallest_multiple(size):
    aligned = page_align(size)
    assert aligned % PAGE_SIZE == 0
    assert 0 <= aligned - size < PAGE_SIZE


# --- translation ----------------------------------------------------------------------------------------


def test_direct_map_shows_the_same_bytes(memory, machine):
    memory.write(machine.DATA + 0x1234, b"alias")
    assert memory.read(machine.DIRECT + memory.translate(machine.DATA + 0x1234), 5) == b"alias"
    memory.write(machine.DIRECT + 0x1234, b"ALIAS")
    assert memory.read(machine.DATA + 0x1234, 5) == b"ALIAS"


def test_direct_map_never_gives_write_to_code(memory, machine):
    alias = machine.DIRECT + memory.translate(machine.CODE)
    assert memory.mapped(alias, READ)
    assert not memory.mapped(alias, WRITE)
    assert not memory.mapped(alias, EXEC)


def test_direct_map_of_an_unmapped_page_is_unmapped(memory, machine):
    with pytest.raises(PageFault):
        memory.read_u8(machine.DIRECT + 0x10000)


def test_fill_gives_page_and_permissions(memory, machine):
    assert memory.fill(machine.DATA + 0x1000, Access.READ) == (0x1000, READ | WRITE)
    assert memory.fill(machine.CODE, Access.FETCH) == (machine.code_arena.paddr, READ | EXEC)


@pytest.mark.parametrize(
    ("where", "access"), [("DATA", Access.FETCH), ("CODE", Access.WRITE)], ids=["NX", "read-only"]
)
def test_fill_refuses_what_permissions_forbid(memory, machine, where, access):
    with pytest.raises(PageFault) as caught:
        memory.fill(getattr(machine, where), access)
    assert (caught.value.access, caught.value.present) == (access, True)


def test_fill_of_nothing_is_not_present(memory, machine):
    with pytest.raises(PageFault) as caught:
        memory.fill(machine.DATA + 0x10000, Access.READ)
    assert (caught.value.address, caught.value.present) == (machine.DATA + 0x10000, False)


def test_user_address_space(memory):
    space = AddressSpace()
    space.map(USER, 0x3000, READ | WRITE)
    with pytest.raises(PageFault):
        memory.read_u8(USER)
    memory.user = space
    memory.write(USER + 5, b"user")
    assert memory.translate(USER + 5) == 0x3005
    assert space.unmap(USER) == 0x3000
    assert space.unmap(USER) is None
    with pytest.raises(PageFault):
        memory.read_u8(USER)


def test_user_range_over_scattered_pages(memory, machine):
    memory.user = AddressSpace()
    memory.user.map(USER, 0x5000, READ | WRITE)
    memory.user.map(USER + PAGE_SIZE, 0x2000, READ | WRITE)
    memory.write(USER + PAGE_SIZE - 2, b"abcd")
    assert memory.read(USER + PAGE_SIZE - 2, 4) == b"abcd"
    assert memory.read(machine.DATA + 0x5FFE, 2) == b"ab"
    assert memory.read(machine.DATA + 0x2000, 2) == b"cd"


# --- access from Python ---------------------------------------------------------------------------------


@pytest.mark.parametrize("bits", [8, 16, 32, 64])
def test_integers_are_little_endian_and_cut(memory, machine, bits):
    address = machine.DATA + 0xFFD  # across a page
    getattr(memory, f"write_u{bits}")(address, -2)
    assert getattr(memory, f"read_u{bits}")(address) == (1 << bits) - 2
    assert memory.read(address, bits // 8) == ((1 << bits) - 2).to_bytes(bits // 8, "little")
    assert memory.read_u8(address + bits // 8) == 0


def test_python_writes_where_the_guest_may_not(memory, machine):
    memory.write(machine.CODE, b"\xc3")
    assert memory.read_u8(machine.CODE) == 0xC3


def test_read_names_the_first_unmapped_page(memory, machine):
    with pytest.raises(PageFault) as caught:
        memory.read(machine.DATA + 0xFFF0, 0x20)
    assert caught.value.address == machine.DATA + 0x10000
    assert caught.value.access is Access.READ


def test_failing_write_leaves_nothing_written(memory, machine):
    with pytest.raises(PageFault) as caught:
        memory.write(machine.DATA + 0xFFF0, b"x" * 0x20)
    assert (caught.value.address, caught.value.access) == (machine.DATA + 0x10000, Access.WRITE)
    assert memory.read(machine.DATA + 0xFFF0, 0x10) == bytes(0x10)


def test_failing_user_write_leaves_nothing_written(memory, machine):
    memory.user = AddressSpace()
    memory.user.map(USER, 0x1000, READ | WRITE)
    with pytest.raises(PageFault):
        memory.write(USER + PAGE_SIZE - 4, b"12345678")
    assert memory.read(USER + PAGE_SIZE - 4, 4) == bytes(4)


def test_range_across_the_end_of_an_arena_faults(memory, machine):
    memory.protect(machine.DATA, machine.data_arena.size, READ | WRITE)
    with pytest.raises(PageFault) as caught:
        memory.read(machine.data_arena.end - 4, 8)
    assert caught.value.address == machine.data_arena.end


def test_direct_map_range_across_arenas(memory, machine):
    """Physical memory is contiguous, whatever windows it has."""
    memory.protect(machine.DATA, machine.data_arena.size, READ | WRITE)
    seam = machine.DIRECT + machine.data_arena.size
    memory.write(seam - 3, b"abcdef")
    assert memory.read(machine.data_arena.end - 3, 3) == b"abc"
    assert memory.read(machine.CODE, 3) == b"def"
    assert memory.read(seam - 3, 6) == b"abcdef"


@pytest.mark.parametrize("address", [0, 0x1234_5678_9ABC_DEF0, 0x8000_0000_0000, 0xFFFF_FFFF_FFFF_FFFF])
def test_addresses_of_nothing_fault(memory, address):
    assert not memory.mapped(address)
    with pytest.raises(PageFault):
        memory.read(address, 1)


def test_empty_ranges_touch_nothing(memory):
    memory.write(0, b"")
    assert memory.read(0, 0) == b""


def test_cstring_ends_at_nul_limit_or_fault(memory, machine):
    memory.write(machine.DATA + 0xFFE, b"four\0")
    assert memory.read_cstring(machine.DATA + 0xFFE) == b"four"
    assert memory.read_cstring(machine.DATA + 0xFFE, 3) == b"fou"
    memory.write(machine.DATA + 0xFFFE, b"xy")
    with pytest.raises(PageFault):
        memory.read_cstring(machine.DATA + 0xFFFE)
    assert memory.read_cstring(machine.DATA + 0xFFFE, 2) == b"xy"


def test_writable_is_the_memory_itself(memory, machine):
    memory.writable(machine.DATA + 8, 4)[:] = b"abcd"
    assert memory.read(machine.DATA + 8, 4) == b"abcd"
    with pytest.raises(PageFault):
        memory.writable(machine.DATA + 0xFFFF, 2)


def test_clear(memory, machine):
    memory.write(machine.DATA, b"\xff" * 8)
    memory.clear(machine.DATA + 2, 4)
    assert memory.read(machine.DATA, 8) == b"\xff\xff\0\0\0\0\xff\xff"


@given(st.integers(0, 0x10000 - 1), st.binary(max_size=3 * PAGE_SIZE))
def test_what_was_written_is_read(new_machine, offset, data):
    machine = new_machine()
    data = data[: 0x10000 - offset]
    machine.memory.write(machine.DATA + offset, data)
    assert machine.memory.read(machine.DATA, 0x10000) == data.rjust(offset + len(data), b"\0").ljust(
        0x10000, b"\0"
    )

"""The kernel's lists: rings, poison, and corruption that does not hang us."""

import pytest

from kmod_emu.abi import lists
from kmod_emu.machine.memory import PageFault


@pytest.fixture
def head(memory, base):
    lists.init(memory, base)
    return base


@pytest.fixture
def entries(base):
    return [base + 0x100 * number for number in range(1, 4)]


def ring(memory, head):
    """Forwards, after checking that backwards is the same."""
    forwards = list(lists.walk(memory, head))
    backwards, entry = [], memory.read_u64(head + 8)
    while entry != head:
        backwards.append(entry)
        entry = memory.read_u64(entry + 8)
    assert backwards == forwards[::-1]
    return forwards


def test_a_new_list_is_empty(memory, head):
    assert lists.empty(memory, head)
    assert ring(memory, head) == []


def test_add_is_a_stack_and_add_tail_a_queue(memory, head, entries):
    first, second, third = entries
    lists.add(memory, first, head)
    lists.add(memory, second, head)
    lists.add_tail(memory, third, head)
    assert not lists.empty(memory, head)
    assert ring(memory, head) == [second, first, third]


@pytest.mark.parametrize("position", [0, 1, 2])
def test_delete_poisons(memory, head, entries, position):
    for entry in entries:
        lists.add_tail(memory, entry, head)
    gone = entries.pop(position)
    lists.delete(memory, gone)
    assert ring(memory, head) == entries
    assert memory.read_u64(gone) == 0xDEAD000000000100
    assert memory.read_u64(gone + 8) == 0xDEAD000000000122


def test_deleting_twice_faults_as_in_the_kernel(memory, head, entries):
    lists.add(memory, entries[0], head)
    lists.delete(memory, entries[0])
    with pytest.raises(PageFault) as fault:
        lists.delete(memory, entries[0])
    assert fault.value.address == 0xDEAD000000000108


def test_delete_init_leaves_an_empty_list(memory, head, entries):
    lists.add(memory, entries[0], head)
    lists.delete_init(memory, entries[0])
    assert lists.empty(memory, entries[0])
    assert lists.empty(memory, head)


def test_entries_may_be_deleted_while_walking(memory, head, entries):
    for entry in entries:
        lists.add_tail(memory, entry, head)
    for entry in lists.walk(memory, head):
        lists.delete(memory, entry)
    assert lists.empty(memory, head)


def test_walk_accepts_exactly_the_limit(memory, head, entries):
    for entry in entries:
        lists.add_tail(memory, entry, head)
    assert list(lists.walk(memory, head, limit=3)) == entries
    with pytest.raises(lists.ListCorruption, match="does not end after 2 entries"):
        list(lists.walk(memory, head, limit=2))


def test_a_ring_that_misses_its_head_is_corruption(memory, head, entries):
    lists.add(memory, entries[0], head)
    memory.write_u64(entries[0], entries[0])
    with pytest.raises(lists.ListCorruption, match="goes round in a circle"):
        list(lists.walk(memory, head))


def test_a_deleted_entry_in_the_ring_is_corruption(memory, head, entries):
    lists.add(memory, entries[0], head)
    memory.write_u64(entries[0], lists.LIST_POISON1)
    with pytest.raises(lists.ListCorruption, match="deleted entry"):
        list(lists.walk(memory, head))


def test_a_head_that_was_never_initialised_is_corruption(memory, base):
    with pytest.raises(lists.ListCorruption, match="not initialised"):
        list(lists.walk(memory, base))


def test_hlist(memory, base, entries):
    for entry in entries:
        lists.hlist_add_head(memory, entry, base)
    assert list(lists.hlist_walk(memory, base)) == entries[::-1]
    lists.hlist_delete(memory, entries[1])
    assert list(lists.hlist_walk(memory, base)) == [entries[2], entries[0]]
    assert memory.read_u64(entries[0] + 8) == entries[2]
    lists.hlist_delete(memory, entries[2])
    assert memory.read_u64(entries[0] + 8) == base
    lists.hlist_delete(memory, entries[0])
    assert list(lists.hlist_walk(memory, base)) == []
    assert memory.read_u64(entries[0]) == lists.LIST_POISON1


def test_a_circular_hlist_is_corruption(memory, base, entries):
    lists.hlist_add_head(memory, entries[0], base)
    memory.write_u64(entries[0], entries[0])
    with pytest.raises(lists.ListCorruption, match="goes round in a circle"):
        list(lists.hlist_walk(memory, base))


def test_an_hlist_is_walked_as_far_as_the_limit(memory, base, entries):
    for entry in entries:
        lists.hlist_add_head(memory, entry, base)
    assert list(lists.hlist_walk(memory, base, limit=3)) == entries[::-1]
    with pytest.raises(lists.ListCorruption, match="does not end after 2 nodes"):
        list(lists.hlist_walk(memory, base, limit=2))

"""Sorting, searching, lists."""

from __future__ import annotations

import bisect
import itertools
import struct
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

if TYPE_CHECKING:
    from tests.guest_kernel_stubs.guest_machine import Guest

keys = st.lists(st.integers(0, 15), max_size=40)


def heapsort(items: list[tuple[int, int]]) -> list[tuple[int, int]]:
    """Bottom-up heapsort as textbooks define it: the order of equal elements is part of the behaviour."""
    items, n = list(items), len(items)

    def sift(root: int, end: int) -> None:
        path = [root]
        while 2 * path[-1] + 2 < end:
            left = 2 * path[-1] + 1
            path.append(left if items[left][0] >= items[left + 1][0] else left + 1)
        if 2 * path[-1] + 1 == end - 1:
            path.append(end - 1)
        while path[-1] != root and items[root][0] >= items[path[-1]][0]:
            path.pop()
        moved = items[root]
        for above, below in itertools.pairwise(path):
            items[above] = items[below]
        items[path[-1]] = moved

    for root in range(n // 2 - 1, -1, -1):
        sift(root, n)
    for end in range(n - 1, 0, -1):
        items[0], items[end] = items[end], items[0]
        sift(0, end)
    return items


@pytest.mark.parametrize("size", [8, 12])
@given(values=keys, own_swap=st.booleans())
def test_sort_is_linuxs_heapsort(machine: Guest, size: int, values: list[int], own_swap: bool) -> None:
    machine.reset()
    items = list(enumerate(values))
    padding = bytes(size - 8)
    array = machine.put(b"".join(struct.pack("<II", key, number) + padding for number, key in items))

    def compare(a: int, b: int) -> int:
        return machine.unpack("<I", a)[0] - machine.unpack("<I", b)[0]

    def swap(a: int, b: int, width: int) -> None:
        first, second = machine.read(a, width), machine.read(b, width)
        machine.write(a, second)
        machine.write(b, first)

    swapper = machine.callback(swap) if own_swap else 0
    machine.call("sort", array, len(values), size, machine.callback(compare), swapper)

    result = [machine.unpack("<II", array + i * size) for i in range(len(values))]
    assert result == heapsort([(key, number) for number, key in items])
    assert [key for key, _ in result] == sorted(values)


def test_sort_r_hands_its_private_pointer_on(guest: Guest) -> None:
    array = guest.put(bytes([3, 1, 2]))
    seen = set()

    def compare(a: int, b: int, priv: int) -> int:
        seen.add(priv)
        return guest.read(a, 1)[0] - guest.read(b, 1)[0]

    guest.call("sort_r", array, 3, 1, guest.callback(compare), 0, 0x1234)

    assert guest.read(array, 3) == b"\1\2\3"
    assert seen == {0x1234}


def put_list(guest: Guest, values: list[int]) -> tuple[int, list[int]]:
    """A circular list; nodes are {next, prev, key}."""
    nodes = [guest.words(0, 0, 0) for _ in range(len(values) + 1)]
    ring = [*nodes, nodes[0]]
    for i, node in enumerate(nodes):
        guest.write(node, struct.pack("<QQQ", ring[i + 1], nodes[i - 1], values[i - 1] if i else 0))
    return nodes[0], nodes[1:]


@given(values=st.lists(st.integers(0, 9), max_size=60))
def test_list_sort_is_stable_and_keeps_both_directions(machine: Guest, values: list[int]) -> None:
    machine.reset()
    head, nodes = put_list(machine, values)

    def compare(_priv: int, a: int, b: int) -> int:
        return machine.unpack("<Q", a + 16)[0] - machine.unpack("<Q", b + 16)[0]

    machine.call("list_sort", 0, head, machine.callback(compare))

    wanted = [node for _, node in sorted(zip(values, nodes, strict=True), key=lambda pair: pair[0])]
    for offset, order in ((0, wanted), (8, wanted[::-1])):
        walked, node = [], machine.unpack("<Q", head + offset)[0]
        while node != head:
            walked.append(node)
            node = machine.unpack("<Q", node + offset)[0]
        assert walked == order


def test_list_sort_compares_each_new_element_with_its_run(guest: Guest) -> None:
    """Runs are merged two to one: with four elements, (1,2), then both runs and the rest at the end."""
    head, nodes = put_list(guest, [4, 3, 2, 1])
    numbers = {node: i for i, node in enumerate(nodes)}
    calls = []

    def compare(_priv: int, a: int, b: int) -> int:
        calls.append((numbers[a], numbers[b]))
        return guest.unpack("<Q", a + 16)[0] - guest.unpack("<Q", b + 16)[0]

    guest.call("list_sort", 0, head, guest.callback(compare))

    assert calls == [(0, 1), (2, 3), (1, 3), (1, 2)]


@given(values=st.lists(st.integers(0, 100), max_size=30, unique=True).map(sorted), key=st.integers(0, 100))
def test_bsearch(machine: Guest, values: list[int], key: int) -> None:
    machine.reset()
    array = machine.words(*values)

    def compare(wanted: int, element: int) -> int:
        return wanted - machine.unpack("<Q", element)[0]

    found = machine.call("bsearch", key, array, len(values), 8, machine.callback(compare))

    assert found == (array + 8 * bisect.bisect_left(values, key) if key in values else 0)


def test_llist(guest: Guest) -> None:
    a, b, c = (guest.words(0) for _ in range(3))
    head = guest.words(0)
    guest.write(a, struct.pack("<Q", b))

    assert guest.call("llist_add_batch", a, b, head) & 0xFF == 1
    assert guest.call("llist_add_batch", c, c, head) & 0xFF == 0
    assert guest.call("llist_del_first_this", head, a) & 0xFF == 0
    assert guest.call("llist_del_first", head) == c
    assert guest.call("llist_reverse_order", guest.unpack("<Q", head)[0]) == b
    assert guest.unpack("<Q", b) == (a,)
    assert guest.unpack("<Q", a) == (0,)
    assert guest.call("llist_del_first_this", head, a) & 0xFF == 1
    assert guest.call("llist_del_first", head) == 0


def test_scatterlist_walks_over_chains(guest: Guest) -> None:
    first, second = guest.put(b"\xff" * 96), guest.put(b"\xff" * 64)
    guest.call("sg_init_table", first, 3)
    guest.call("sg_init_table", second, 2)
    assert guest.read(first, 96) == bytes(64) + b"\2".ljust(32, b"\0")
    guest.write(first + 64, struct.pack("<Q", second | 1))
    for entry in (first, first + 32, second, second + 32):
        guest.write(entry + 12, struct.pack("<I", 100))

    assert guest.call("sg_next", first) == first + 32
    assert guest.call("sg_next", first + 32) == second
    assert guest.call("sg_next", second + 32) == 0
    assert guest.call("sg_last", first, 4) == second + 32
    assert guest.call_int("sg_nents", first) == 4
    assert [guest.call_int("sg_nents_for_len", first, n) for n in (0, 100, 101, 400, 401)] == [
        0,
        1,
        2,
        4,
        -22,
    ]

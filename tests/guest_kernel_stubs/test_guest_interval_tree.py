from __future__ import annotations

from typing import TYPE_CHECKING

from hypothesis import given
from hypothesis import strategies as st

if TYPE_CHECKING:
    from tests.guest_kernel_stubs.guest_machine import Guest

intervals = st.lists(
    st.tuples(st.integers(0, 99), st.integers(0, 20)).map(lambda x: (x[0], sum(x))), max_size=25
)


def meeting(guest: Guest, tree: int, start: int, last: int) -> list[int]:
    found = []
    node = guest.call("interval_tree_iter_first", tree, start, last)
    while node:
        found.append(node)
        node = guest.call("interval_tree_iter_next", node, start, last)
    return found


@given(inserted=intervals, start=st.integers(0, 110), length=st.integers(0, 30), data=st.data())
def test_finds_what_meets_in_order_of_start(
    machine: Guest, inserted: list[tuple[int, int]], start: int, length: int, data: st.DataObject
) -> None:
    machine.reset()
    tree, last = machine.words(0, 0), start + length
    nodes = {machine.words(1, 2, 3, low, high, 0): (low, high) for low, high in inserted}
    for node in nodes:
        machine.call("interval_tree_insert", node, tree)
    kept = dict(nodes)
    for node in data.draw(st.lists(st.sampled_from(list(nodes)), unique=True)) if nodes else []:
        machine.call("interval_tree_remove", node, tree)
        del kept[node]

        found = meeting(machine, tree, start, last)
        assert set(found) == {n for n, (low, high) in kept.items() if low <= last and start <= high}
        assert [kept[n][0] for n in found] == sorted(kept[n][0] for n in found)

    found = meeting(machine, tree, start, last)
    assert set(found) == {n for n, (low, high) in kept.items() if low <= last and start <= high}
    leftmost = machine.unpack("<Q", tree + 8)[0]
    assert (kept[leftmost][0] if leftmost else None) == min((low for low, _ in kept.values()), default=None)


def test_subtree_search_starts_at_a_node(guest: Guest) -> None:
    tree, node = guest.words(0, 0), guest.words(0, 0, 0, 5, 9, 0)
    guest.call("interval_tree_insert", node, tree)

    assert guest.call("interval_tree_subtree_search", node, 9, 20) == node
    assert guest.call("interval_tree_subtree_search", node, 0, 4) == 0

from __future__ import annotations

import struct
from typing import TYPE_CHECKING

from hypothesis import given
from hypothesis import strategies as st

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.guest_kernel_stubs.guest_machine import Guest

RED, BLACK = 0, 1


class Tree:
    """An rb_root in the guest; nodes are {parent_color, right, left, key}."""

    def __init__(self, guest: Guest) -> None:
        self.guest = guest
        self.root = guest.words(0)
        self.nodes: dict[int, int] = {}

    def fields(self, node: int) -> tuple[int, ...]:
        return self.guest.unpack("<QQQQ", node)

    @property
    def top(self) -> int:
        return self.guest.unpack("<Q", self.root)[0]

    def link(self, key: int) -> int:
        """rb_link_node(): what modules do inline before rb_insert_color()."""
        parent, link, node = 0, self.root, self.top
        while node:
            parent = node
            link = node + (16 if key < self.fields(node)[3] else 8)
            node = self.guest.unpack("<Q", link)[0]
        new = self.guest.words(parent, 0, 0, key)
        self.guest.write(link, struct.pack("<Q", new))
        self.nodes[key] = new
        return new

    def insert(self, key: int) -> None:
        self.guest.call("rb_insert_color", self.link(key), self.root)

    def erase(self, key: int) -> None:
        self.guest.call("rb_erase", self.nodes.pop(key), self.root)

    def walk(self, first: str, following: str) -> Iterator[int]:
        node = self.guest.call(first, self.root)
        while node:
            yield self.fields(node)[3]
            node = self.guest.call(following, node)

    def check(self) -> None:
        """Red-black invariants, parent links, and order."""

        def height(node: int, parent: int, low: float, high: float) -> int:
            if not node:
                return 1
            parent_color, right, left, key = self.fields(node)
            assert parent_color & ~3 == parent
            assert low < key < high
            color = parent_color & 1
            if color == RED:
                assert all(self.fields(child)[0] & 1 == BLACK for child in (left, right) if child)
            heights = {height(left, node, low, key), height(right, node, key, high)}
            assert len(heights) == 1
            return heights.pop() + color

        top = self.top
        assert not top or self.fields(top)[0] & 1 == BLACK
        height(top, 0, float("-inf"), float("inf"))
        assert list(self.walk("rb_first", "rb_next")) == sorted(self.nodes)
        assert list(self.walk("rb_last", "rb_prev")) == sorted(self.nodes, reverse=True)

    def shape(self, node: int | None = None) -> object:
        """(key, colour, left, right), nested."""
        node = self.top if node is None else node
        if not node:
            return None
        parent_color, right, left, key = self.fields(node)
        return key, "RB"[parent_color & 1], self.shape(left), self.shape(right)


@given(inserted=st.lists(st.integers(0, 999), max_size=40, unique=True), data=st.data())
def test_insert_and_erase_keep_the_invariants(
    machine: Guest, inserted: list[int], data: st.DataObject
) -> None:
    machine.reset()
    tree = Tree(machine)
    for key in inserted:
        tree.insert(key)
    tree.check()
    for i, key in enumerate(data.draw(st.permutations(inserted))):
        tree.erase(key)
        if i % 4 == 0:
            tree.check()
    assert tree.top == 0


def test_shape_after_ascending_inserts(guest: Guest) -> None:
    tree = Tree(guest)
    for key in range(1, 8):
        tree.insert(key)

    def leaf(key: int, color: str) -> tuple[object, ...]:
        return key, color, None, None

    assert tree.shape() == (
        (2, "B", leaf(1, "B"), (4, "R", leaf(3, "B"), (6, "B", leaf(5, "R"), leaf(7, "R"))))
    )


def test_erase_replaces_by_the_successor(guest: Guest) -> None:
    tree = Tree(guest)
    for key in (4, 2, 6, 1, 3, 5, 7):
        tree.insert(key)

    tree.erase(4)

    assert tree.shape()[0] == 5  # type: ignore[index]


@given(inserted=st.lists(st.integers(0, 99), max_size=20, unique=True))
def test_postorder_meets_children_first(machine: Guest, inserted: list[int]) -> None:
    machine.reset()
    tree = Tree(machine)
    for key in inserted:
        tree.insert(key)

    def postorder(shape: object) -> list[int]:
        if shape is None:
            return []
        assert isinstance(shape, tuple)
        key, _, left, right = shape
        return [*postorder(left), *postorder(right), key]

    assert list(tree.walk("rb_first_postorder", "rb_next_postorder")) == postorder(tree.shape())


def test_replace_node(guest: Guest) -> None:
    tree = Tree(guest)
    for key in (2, 1, 3):
        tree.insert(key)
    new = guest.words(0, 0, 0, 2)

    guest.call("rb_replace_node", tree.nodes[2], new, tree.root)

    tree.nodes[2] = new
    assert tree.top == new
    tree.check()


def test_a_node_in_no_tree_has_no_neighbours(guest: Guest) -> None:
    node = guest.words(0, 0, 0)
    guest.write(node, struct.pack("<Q", node))

    assert guest.call("rb_next", node) == guest.call("rb_prev", node) == 0
    assert guest.call("rb_next_postorder", 0) == 0


@given(inserted=st.lists(st.integers(0, 999), min_size=1, max_size=30, unique=True))
def test_augmented_trees_hear_of_each_rotation(machine: Guest, inserted: list[int]) -> None:
    """The callback's second node has just become the parent of the first."""
    machine.reset()
    tree = Tree(machine)
    rotations = []

    def rotate(old: int, new: int) -> None:
        rotations.append(tree.fields(old)[0] & ~3 == new)

    callback = machine.callback(rotate)
    for key in inserted:
        machine.call("__rb_insert_augmented", tree.link(key), tree.root, callback)
        tree.check()
    assert all(rotations)


def test_erase_color_rebalances(guest: Guest) -> None:
    """What an inlined rb_erase_augmented() leaves: parent 2 lost its black left child."""
    tree = Tree(guest)
    for key in (2, 1, 3, 4):
        tree.insert(key)
    two = tree.nodes[2]
    guest.write(two + 16, bytes(8))
    del tree.nodes[1]
    rotations = []

    guest.call(
        "__rb_erase_color", two, tree.root, guest.callback(lambda old, new: rotations.append((old, new)))
    )

    tree.check()
    assert rotations == [(two, tree.nodes[3])]

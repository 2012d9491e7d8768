"""Hash tables that modules make (lib/rhashtable.c), and their hash; values are those of Debian's 6.1."""

import errno

import pytest

from kmod_emu import Kernel

DATA = bytes(range(7, 60))
MOST = 1 << 31


@pytest.fixture
def kernel():
    return Kernel()


def params(kernel, **members):
    view = kernel.view("rhashtable_params", kernel.heap.kmalloc(40))
    for name, value in members.items():
        view.set(name, value)
    return view.address


@pytest.mark.parametrize(
    ("members", "key_len", "max_elems", "buckets"),
    [
        ({"key_len": 4}, 1, MOST, 64),
        ({"key_len": 8}, 2, MOST, 64),
        ({"key_len": 7}, 7, MOST, 64),
        ({"key_len": 16, "nelem_hint": 100}, 4, MOST, 256),
        ({"key_len": 4, "max_size": 100}, 1, 128, 64),
        ({"key_len": 4, "min_size": 256}, 1, MOST, 256),
    ],
)
def test_a_table(kernel, members, key_len, max_elems, buckets):
    table = kernel.view("rhashtable", kernel.heap.kmalloc(kernel.profile.struct("rhashtable").size))
    wanted = params(kernel, **members)
    assert kernel.call(kernel.symbol("rhashtable_init"), table.address, wanted) == 0
    assert (table.key_len, table.max_elems) == (key_len, max_elems)
    memory = table.tbl
    assert kernel.view("bucket_table", memory).get("size") == buckets
    kernel.call(kernel.symbol("rhashtable_destroy"), table.address)
    assert memory not in kernel.heap.live


def test_one_without_keys_is_refused(kernel):
    table = kernel.heap.kmalloc(kernel.profile.struct("rhashtable").size)
    answer = kernel.call(kernel.symbol("rhashtable_init"), table, params(kernel))
    assert answer & 0xFFFF_FFFF == (1 << 32) - errno.EINVAL


@pytest.mark.parametrize(
    ("function", "length", "seed", "value"),
    [
        ("jhash", 0, 5, 0xDEADBEF4),
        ("jhash", 5, 5, 0xCB4B5EAF),
        ("jhash", 12, 5, 0x8685C7DF),
        ("jhash", 13, 5, 0xEE0BFCE4),
        ("jhash", 27, 5, 0xC52A61EC),
        ("rhashtable_jhash2", 0, 9, 0xDEADBEF8),
        ("rhashtable_jhash2", 3, 9, 0x8F2AFFB4),
        ("rhashtable_jhash2", 8, 9, 0xAE12D029),
    ],
)
def test_hashes(kernel, function, length, seed, value):
    data = kernel.heap.kmalloc(64)
    kernel.memory.write(data, DATA)
    assert kernel.call(kernel.symbol(function), data, length, seed) & 0xFFFF_FFFF == value

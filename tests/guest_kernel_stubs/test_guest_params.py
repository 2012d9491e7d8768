"""Module parameter types, as SPEC A8 lists them."""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING, NamedTuple

import pytest

if TYPE_CHECKING:
    from tests.guest_kernel_stubs.guest_machine import Guest

EINVAL, ENOMEM, ENOSPC, EROFS, ERANGE = 22, 12, 28, 30, 34


class Ops(NamedTuple):
    flags: int
    set: int
    get: int
    free: int


class Param:
    """A struct kernel_param in the guest."""

    def __init__(self, guest: Guest, ops: str, storage: int) -> None:
        self.guest = guest
        self.ops = Ops(*guest.unpack("<QQQQ", guest.address(ops)))
        self.address = guest.put(
            struct.pack("<QQQHbBxxxxQ", guest.text(b"par"), 0, guest.address(ops), 0o644, -1, 0, storage)
        )

    def set(self, text: bytes | None) -> int:
        value = self.guest.text(text) if text is not None else 0
        result = self.guest.call_address(self.ops.set, value, self.address) & 0xFFFFFFFF
        return result - (1 << 32) if result >> 31 else result

    def get(self) -> bytes:
        buffer = self.guest.put(b"\xa5" * 4200, align=4096)
        length = self.guest.call_address(self.ops.get, buffer, self.address)
        text = self.guest.string(buffer)
        assert length == len(text)
        return text


class Heap:
    """__kmalloc, kfree and _printk for the guest."""

    def __init__(self, guest: Guest) -> None:
        self.guest = guest
        self.blocks: list[int] = []
        self.freed: list[int] = []
        self.lines: list[tuple[bytes, int]] = []
        self.full = False
        guest.bind_import("__kmalloc", self.kmalloc)
        guest.bind_import("kfree", self.kfree)
        guest.bind_import("_printk", self.printk)

    def kmalloc(self, size: int, gfp: int) -> int:
        assert gfp == 0xCC0
        if self.full:
            return 0
        self.blocks.append(self.guest.put(bytes(size)))
        return self.blocks[-1]

    def kfree(self, block: int) -> None:
        self.freed.append(block)

    def printk(self, fmt: int, name: int, number: int) -> None:
        self.lines.append(
            (self.guest.string(fmt).replace(b"%s", self.guest.string(name)), number & 0xFFFFFFFF)
        )


@pytest.fixture
def heap(guest: Guest) -> Heap:
    return Heap(guest)


INTEGERS = {
    "byte": ("<B", 0, 255),
    "short": ("<h", -(2**15), 2**15 - 1),
    "ushort": ("<H", 0, 2**16 - 1),
    "int": ("<i", -(2**31), 2**31 - 1),
    "uint": ("<I", 0, 2**32 - 1),
    "long": ("<q", -(2**63), 2**63 - 1),
    "ulong": ("<Q", 0, 2**64 - 1),
    "ullong": ("<Q", 0, 2**64 - 1),
}


@pytest.mark.parametrize("name", INTEGERS)
def test_integers(guest: Guest, name: str) -> None:
    layout, low, high = INTEGERS[name]
    storage = guest.put(b"\xa5" * 16)
    param = Param(guest, f"param_ops_{name}", storage)

    for value in (low, high, 7):
        assert param.set(b"%d" % value) == 0
        assert guest.unpack(layout, storage) == (value,)
        assert param.get() == b"%d\n" % value
    assert param.set(b"0x10\n") == 0
    assert param.get() == b"16\n"
    assert param.set(b"%d" % (high + 1)) == -ERANGE
    assert param.set(b"%d" % (low - 1)) == (-ERANGE if low else -EINVAL)
    assert param.set(b"12 ") == -EINVAL
    assert param.get() == b"16\n"
    assert guest.read(storage + struct.calcsize(layout), 1) == b"\xa5"
    assert param.ops.flags == 0
    assert param.ops.free == 0


@pytest.mark.parametrize(
    ("text", "shown"), [(b"255", b"0x0000ff\n"), (b"0", b"0x000000\n"), (b"0xffffffff", b"0xffffffff\n")]
)
def test_hexint(guest: Guest, text: bytes, shown: bytes) -> None:
    param = Param(guest, "param_ops_hexint", guest.words(0))

    assert param.set(text) == 0
    assert param.get() == shown


def test_bool_without_a_value_is_true(guest: Guest) -> None:
    param = Param(guest, "param_ops_bool", guest.put(b"\0"))

    assert param.ops.flags == 1
    assert param.get() == b"N\n"
    assert param.set(None) == 0
    assert param.get() == b"Y\n"
    assert param.set(b"off") == 0
    assert param.get() == b"N\n"
    assert param.set(b"maybe") == -EINVAL


def test_bool_enable_only(guest: Guest) -> None:
    param = Param(guest, "param_ops_bool_enable_only", guest.put(b"\0"))

    assert param.ops.flags == 1
    assert [param.set(b"0"), param.get()] == [0, b"N\n"]
    assert [param.set(None), param.get()] == [0, b"Y\n"]
    assert [param.set(b"0"), param.get()] == [-EROFS, b"Y\n"]
    assert param.set(b"x") == -EINVAL


def test_invbool_has_no_noarg(guest: Guest) -> None:
    storage = guest.put(b"\0")
    param = Param(guest, "param_ops_invbool", storage)

    assert param.ops.flags == 0
    assert [param.get(), param.set(b"1"), guest.read(storage, 1), param.get()] == [b"Y\n", 0, b"\0", b"Y\n"]
    assert [param.set(b"n"), guest.read(storage, 1), param.get()] == [0, b"\1", b"N\n"]


def test_bint_is_a_bool_in_an_int(guest: Guest) -> None:
    storage = guest.put(b"\xa5" * 4)
    param = Param(guest, "param_ops_bint", storage)

    assert param.ops.flags == 1
    assert [param.set(b"y"), guest.unpack("<i", storage), param.get()] == [0, (1,), b"1\n"]
    assert param.set(b"2") == -EINVAL


def test_charp_keeps_a_copy_and_frees_only_its_own(guest: Guest, heap: Heap) -> None:
    default = guest.text(b"default")
    storage = guest.words(default)
    param = Param(guest, "param_ops_charp", storage)

    assert param.get() == b"default\n"
    assert param.set(b"first") == 0
    assert heap.freed == []
    assert param.set(b"second\n") == 0
    assert heap.freed == heap.blocks[:1]
    assert param.get() == b"second\n\n"
    guest.call_address(param.ops.free, storage)
    assert heap.freed == heap.blocks
    guest.call_address(param.ops.free, storage)
    assert heap.freed == heap.blocks


def test_charp_too_long(guest: Guest, heap: Heap) -> None:
    param = Param(guest, "param_ops_charp", guest.words(0))

    assert param.get() == b"(null)\n"
    assert param.set(b"x" * 1025) == -ENOSPC
    assert [line for line, _ in heap.lines] == [b"\x013par: string parameter too long\n"]
    assert param.set(b"x" * 1024) == 0
    assert param.get() == b"x" * 1024 + b"\n"


def test_charp_without_memory(guest: Guest, heap: Heap) -> None:
    heap.full = True

    assert Param(guest, "param_ops_charp", guest.words(0)).set(b"x") == -ENOMEM


def test_copystring_needs_room_for_the_nul(guest: Guest, heap: Heap) -> None:
    text = guest.put(bytes(8))
    param = Param(guest, "param_ops_string", guest.put(struct.pack("<IxxxxQ", 4, text)))

    assert param.set(b"abc") == 0
    assert param.get() == b"abc\n"
    assert param.set(b"abcd") == -ENOSPC
    assert heap.lines == [(b"\x013par: string doesn't fit in %u chars.\n", 3)]
    assert param.get() == b"abc\n"


class Array(Param):
    """An array parameter of ints with room for three."""

    def __init__(self, guest: Guest, counted: bool = True) -> None:
        self.num = guest.put(struct.pack("<I", 0))
        self.elements = guest.put(struct.pack("<3i", -1, -1, -1))
        num = self.num if counted else 0
        array = struct.pack("<IIQQQ", 3, 4, num, guest.address("param_ops_int"), self.elements)
        super().__init__(guest, "param_array_ops", guest.put(array))

    def stored(self) -> tuple[tuple[int, ...], int]:
        return self.guest.unpack("<3i", self.elements), self.guest.unpack("<I", self.num)[0]


def test_array_counts_its_elements(guest: Guest, heap: Heap) -> None:
    param = Array(guest)

    assert param.set(b"1,2") == 0
    assert param.stored() == ((1, 2, -1), 2)
    assert param.get() == b"1,2\n"


def test_array_without_a_counter_shows_all(guest: Guest, heap: Heap) -> None:
    param = Array(guest, counted=False)

    assert param.set(b"1,2") == 0
    assert param.get() == b"1,2,-1\n"


def test_array_with_too_many(guest: Guest, heap: Heap) -> None:
    param = Array(guest)

    assert param.set(b"1,2,3,4") == -EINVAL
    assert param.stored() == ((1, 2, 3), 3)
    assert heap.lines == [(b"\x013par: can only take %i arguments\n", 3)]


def test_array_with_a_bad_element_leaves_the_text_cut(guest: Guest, heap: Heap) -> None:
    param = Array(guest)
    text = guest.text(b"1,x,3")

    guest.call_address(param.ops.set, text, param.address)

    assert param.stored() == ((1, -1, -1), 1)
    assert guest.string(text) == b"1"


@pytest.mark.parametrize(
    ("text", "wanted"), [(b"4", -EINVAL), (b"5", 0), (b"9", 0), (b"10", -EINVAL), (b"x", -EINVAL)]
)
def test_uint_minmax(guest: Guest, text: bytes, wanted: int) -> None:
    storage = guest.words(0)
    param = Param(guest, "param_ops_uint", storage)

    assert guest.call_int("param_set_uint_minmax", guest.text(text), param.address, 5, 9) == wanted
    assert guest.unpack("<I", storage)[0] == (int(text) if not wanted else 0)

import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kmod_emu.kernel.vsprintf import KptrView
from kmod_emu.machine.memory import PageFault
from tests.kernel.printf_world import BASE, END, World

POINTER = 0xFFFF0123456789AB
HASH = b"%08x" % (0x456789AB ^ 0x12345678)
VERSATILE_INIT = 0xFFFFFFFF81000100
HELLO_INIT = 0xFFFFFFFFC0001000


@pytest.fixture
def world():
    return World()


def test_plain_pointer_is_hashed_to_32_bits(world):
    assert world.format(b"%p", POINTER) == b"00000000" + HASH
    assert world.format(b"%20p|%-20p|%#p", POINTER, POINTER, POINTER) == b"|".join(
        (HASH.rjust(20), HASH.ljust(20), b"0x000000" + HASH)
    )


def test_unknown_extension_prints_a_plain_pointer(world):
    assert world.format(b"%pQrs|", POINTER) == b"00000000" + HASH + b"|"


@pytest.mark.parametrize("pointer", [0, -1, -14, -4095])
def test_null_and_error_pointers_are_not_hashed(world, pointer):
    assert world.format(b"%p", pointer) == b"%016x" % (pointer & (1 << 64) - 1)


def test_small_pointers_are_hashed_too(world):
    assert world.format(b"%p", 0xAB) != b"00000000000000ab"


def test_before_the_key_is_seeded(world):
    world.seeded = False
    assert world.format(b"%p|%20p", POINTER, POINTER) == b"(____ptrval____)|(____ptrval____)"
    assert world.format(b"%p", 0) == b"0000000000000000"


@pytest.mark.parametrize(
    ("format", "pointer", "expected"),
    [
        (b"%px", POINTER, b"ffff0123456789ab"),
        (b"%px", 0, b"0000000000000000"),
        (b"%px", 0xAB, b"00000000000000ab"),
        (b"%8px|", 0xAB, b"      ab|"),
        (b"%-8px|", 0xAB, b"ab      |"),
        (b"%08px|", 0xAB, b"000000ab|"),
        (b"%#px", 0xAB, b"0x000000000000ab"),
    ],
)
def test_unmodified_pointer(world, format, pointer, expected):
    assert world.format(format, pointer) == expected


@pytest.mark.parametrize(
    ("view", "expected"),
    [
        (KptrView.HASHED, b"00000000" + HASH),
        (KptrView.REAL, b"ffff0123456789ab"),
        (KptrView.ZERO, b"0000000000000000"),
        (KptrView.ERROR, b"        pK-error"),
    ],
)
def test_restricted_pointer(world, view, expected):
    world.view = view
    assert world.format(b"%pK", POINTER) == expected


@pytest.mark.parametrize(
    ("format", "pointer", "expected"),
    [
        (b"%pe", -1234, b"-1234"),
        (b"(%pe)", -88, b"(-ENOTSOCK)"),
        (b"(%pe)", -11, b"(-EAGAIN)"),
        (b"[%-8pe]", -5, b"[-EIO    ]"),
        (b"[%8pe]", -5, b"[    -EIO]"),
        (b"%pe", -517, b"-EPROBE_DEFER"),
        (b"%pe", 0, b"0000000000000000"),
        (b"%pe", POINTER, b"00000000" + HASH),
        (b"%8pe", -1234, b"   -1234"),
    ],
)
def test_error_pointer(world, format, pointer, expected):
    assert world.format(format, pointer) == expected


@pytest.mark.parametrize(
    ("format", "address", "expected"),
    [
        (b"%pS", VERSATILE_INIT, b"versatile_init+0x0/0x110"),
        (b"%pS", VERSATILE_INIT + 0x20, b"versatile_init+0x20/0x110"),
        (b"%ps", VERSATILE_INIT + 0x20, b"versatile_init"),
        (b"%pSR", VERSATILE_INIT, b"versatile_init+0x0/0x110"),
        (b"%pSb", HELLO_INIT + 4, b"hello_init+0x4/0x20 [hello]"),
        (b"%pSRb", HELLO_INIT + 4, b"hello_init+0x4/0x20 [hello]"),
        (b"%ps", HELLO_INIT, b"hello_init [hello]"),
        (b"%pB", HELLO_INIT + 4, b"hello_init+0x4/0x20 [hello]"),
        (b"%pBb", HELLO_INIT + 4, b"hello_init+0x4/0x20 [hello]"),
        # a call that does not return may be the last instruction: its return address is the next symbol's
        (b"%pB", VERSATILE_INIT + 0x110, b"versatile_init+0x110/0x110"),
        (b"%pS", VERSATILE_INIT + 0x110, b"0xffffffff81000210"),
        (b"%pB", VERSATILE_INIT, b"0xffffffff81000100"),
        (b"%pS %ps", 0, b"0x0 0x0"),
        (b"%30ps|", VERSATILE_INIT, b"                versatile_init|"),
        (b"%-16ps|", VERSATILE_INIT, b"versatile_init  |"),
        (b"%.9ps", VERSATILE_INIT, b"versatile"),
    ],
)
def test_symbols(world, format, address, expected):
    assert world.format(format, *[address] * format.count(b"%")) == expected


def test_hex_buffer(world):
    buffer = world.put(b"\xc0\xff\xee")
    expected = b"c0 ff ee|c0:ff:ee|c0-ff-ee|c0ffee"
    assert world.format(b"%3ph|%3phC|%3phD|%3phN", *[buffer] * 4) == expected
    assert world.format(b"%*ph|%*phC|%*phD|%*phN", *[3, buffer] * 4) == expected
    assert world.format(b"%ph|%*ph", buffer, -2, buffer) == b"c0|c0 ff"


def test_hex_buffer_of_no_bytes_is_not_even_looked_at(world):
    assert world.format(b"<%*ph>", 0, 0) == b"<>"
    assert world.format(b"<%*ph>", 3, 0) == b"<(null)>"


def test_hex_buffer_is_limited_to_64_bytes(world):
    assert world.format(b"%100phN", world.put(b"\xab" * 100)) == b"ab" * 64


PRIMES = sum(1 << prime for prime in (2, 3, 5, 7, 11, 13, 17, 19))


@pytest.mark.parametrize(
    ("bits", "value", "digits", "ranges"),
    [
        (20, 0, b"00000", b""),
        (20, PRIMES, b"a28ac", b"2-3,5,7,11,13,17,19"),
        (20, 0xFFFFF, b"fffff", b"0-19"),
        (20, 0xFFF00001, b"00001", b"0"),  # bits beyond the size do not count
        (32, 0x80000001, b"80000001", b"0,31"),
        (33, 1 << 32, b"1,00000000", b"32"),
        (64, (1 << 64) - 1, b"ffffffff,ffffffff", b"0-63"),
        (70, 1 << 69 | 5, b"20,00000000,00000005", b"0,2,69"),
        (0, 7, b"", b""),
        (-1, 1, b"1", b"0"),  # a negative width is a width
    ],
)
def test_bitmap(world, bits, value, digits, ranges):
    bitmap = world.put(value.to_bytes(16, "little"))
    assert world.format(b"%*pb|%*pbl", bits, bitmap, bits, bitmap) == digits + b"|" + ranges


def test_bitmap_with_its_size_in_the_format(world):
    bitmap = world.put(PRIMES.to_bytes(8, "little"))
    assert world.format(b"%20pb %20pbl %pb", bitmap, bitmap, bitmap) == b"a28ac 2-3,5,7,11,13,17,19 "


def test_large_bitmap(world):
    bits = sum(1 << bit for bit in (*range(1, 21), *range(60000, 60015)))
    assert world.format(b"%*pbl", 1 << 16, world.put(bits.to_bytes(8192, "little"))) == b"1-20,60000-60014"


def test_bitmap_is_read_in_whole_words(world):
    world.memory.write(END - 8, struct.pack("<Q", 3))
    assert world.format(b"%*pb", 4, END - 8) == b"3"
    with pytest.raises(PageFault):
        world.format(b"%*pb", 4, END - 4)


@given(st.integers(0, (1 << 128) - 1), st.integers(1, 128))
def test_bitmap_list_names_exactly_the_bits_set(value, size):
    world = World()
    text = world.format(b"%*pbl", size, world.put(value.to_bytes(16, "little"))).decode()
    named = 0
    for part in filter(None, text.split(",")):
        first, _, last = part.partition("-")
        for bit in range(int(first), int(last or first) + 1):
            named |= 1 << bit
    assert named == value & (1 << size) - 1


@pytest.mark.parametrize(
    ("letters", "data", "expected"),
    [
        (b"", b'\x1b[m \\"\n\0\xe9', b'\\e[m \\"\\n\\0\xe9'),  # documentation: all but the printable
        (b"", b"\x1b\x62 \x0c", b"\\eb \\f"),
        (b"a", b"a\n\x01", b"\\141\\n\\001"),
        (b"c", b'\\\a\x1b"\n', b'\\\\\\a\\e\\"\n'),
        (b"h", b"a\n", b"\\x61\\x0a"),
        (b"hp", b"a\n\x7f\x9f\xa0", b"a\\x0a\\x7f\\x9f\xa0"),
        (b"n", b"a\0", b"a\\0"),
        (b"o", b"a\0\xff", b"\\141\\000\\377"),
        (b"s", b"a \n\r\t\v\f\\", b"a \\n\\r\\t\\v\\f\\"),
        (b"sn", b"\n\0\a", b"\\n\\0\a"),
        (b"oh", b"a", b"\\141"),
        (b"Zh", b"\n", b"\\n"),  # options end at the first unknown letter
    ],
)
def test_escaped_buffer(world, letters, data, expected):
    assert world.format(b"%*pE" + letters, len(data), world.put(data)) == expected


def test_escaped_buffer_sizes(world):
    buffer = world.put(b"\n\n")
    assert world.format(b"%pE|%*pE|%2pE", buffer, 0, 0, buffer) == b"\\n||\\n\\n"
    assert world.format(b"%pE %pE", 0, 0xAB) == b"(null) (efault)"


@pytest.mark.parametrize(
    ("code", "expected"),
    [
        (0x3231564E, b"NV12 little-endian (0x3231564e)"),
        (0xB231564E, b"NV12 big-endian (0xb231564e)"),
        (0x10111213, b".... little-endian (0x10111213)"),
        (0x20303159, b"Y10  little-endian (0x20303159)"),
    ],
)
def test_fourcc(world, code, expected):
    assert world.format(b"%p4cc", world.put(struct.pack("<I", code))) == expected


def test_fourcc_needs_its_letters(world):
    assert world.format(b"%p4c|%p4|%p4cc", BASE, 0, 0) == b"(%p4?)|(%p4?)|(null)"


def test_physical_and_dma_addresses(world):
    where = world.put(struct.pack("<Q", 0xFEE00000))
    assert world.format(b"%pa|%pap|%pad", where, where, where) == b"|".join([b"0x00000000fee00000"] * 3)
    assert world.format(b"%pa", 0) == b"(null)"


def test_netdev_features(world):
    where = world.put(struct.pack("<Q", 0xC000))
    assert world.format(b"%pNF|%pNX", where, where) == b"0x000000000000c000|(%pN?)"


def test_probed_strings(world):
    text = world.text(b"text")
    assert world.format(b"%pks %pus|%6pks|%pkx|%pu", text, text, text, text, text) == (
        b"text text|  text|(einval)|(einval)"
    )


@pytest.mark.parametrize("letter", list("rRhbMmIiEUVNadDgGC"))
@pytest.mark.parametrize(("pointer", "expected"), [(0, b"(null)"), (0xAB, b"(efault)"), (-14, b"(efault)")])
def test_impossible_pointers_are_named_not_followed(world, letter, pointer, expected):
    assert world.format(b"%p" + letter.encode(), pointer) == expected

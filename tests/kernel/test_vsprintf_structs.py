import datetime
import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kmod_emu.kernel.vsprintf import NotSupported
from kmod_emu.machine.memory import PageFault
from tests.kernel.printf_world import BASE, World


@pytest.fixture
def world():
    return World()


def put_dentries(world, *names):
    """A chain of dentries, the first its own parent; their addresses."""
    chain = []
    for name in names:
        address = world.put(bytes(192))
        world.memory.write_u64(address + 24, chain[-1] if chain else address)
        world.memory.write_u64(address + 32 + 8, world.text(name))
        chain.append(address)
    return chain


# The chain and the expected texts of the kernel's own self-test.
@pytest.mark.parametrize(
    ("format", "which", "expected"),
    [
        (b"%pd", 0, b"foo"),
        (b"%pd2", 0, b"foo"),
        (b"%pd", 3, b"romeo"),
        (b"%pd2", 3, b"alfa/romeo"),
        (b"%pd3", 3, b"bravo/alfa/romeo"),
        (b"%pd4", 3, b"/bravo/alfa/romeo"),
        (b"%pd4", 2, b"/bravo/alfa"),
        (b"%pd1", 3, b"romeo"),
        (b"%pd5", 3, b"romeo"),
        (b"%-12pd2|", 2, b"bravo/alfa  |"),
        (b"%12pd2|", 2, b"  bravo/alfa|"),
        (b"%.4pd4", 3, b"/bra"),
        (b"%.1pd4", 3, b"/"),
        (b"%.6pd4", 3, b"/bravo"),
        (b"%.7pd4", 3, b"/bravo/"),
        (b"%.0pd4", 3, b""),
        (b"%.8pd2", 2, b"bravo/al"),
    ],
)
def test_dentry(world, format, which, expected):
    chain = put_dentries(world, b"foo", b"bravo", b"alfa", b"romeo")
    assert world.format(format, chain[which]) == expected


def test_dentry_with_a_broken_parent(world):
    (root,) = put_dentries(world, b"foo")
    world.memory.write_u64(root + 24, 0)
    assert world.format(b"%pd %pd2", root, root) == b"foo (null)"


def test_file(world):
    chain = put_dentries(world, b"/", b"dev", b"null")
    file = world.put(bytes(232))
    world.memory.write_u64(file + 16 + 8, chain[2])
    assert world.format(b"%pD|%pD2|%pD4", file, file, file) == b"null|dev/null|/dev/null"


@pytest.mark.parametrize(
    ("disk", "partition", "expected"),
    [(b"sda", 0, b"sda"), (b"sda", 1, b"sda1"), (b"nvme0n1", 0, b"nvme0n1"), (b"nvme0n1", 12, b"nvme0n1p12")],
)
def test_block_device(world, disk, partition, expected):
    gendisk = world.put(bytes(12) + disk.ljust(32, b"\0"))
    device = world.put(bytes(64))
    world.memory.write_u64(device + 40, gendisk)
    world.memory.write_u8(device + 32, partition)
    assert world.format(b"%pg", device) == expected


def test_clock(world):
    clk = world.put(struct.pack("<Q", world.put(struct.pack("<Q", world.text(b"xtal")))))
    assert world.format(b"%pC %pCn", clk, clk) == b"xtal xtal"


def test_device_tree_is_not_configured(world):
    assert world.format(b"%pOF|%pOFf|%pO", BASE, BASE, BASE) == b"(%pOF?)|(%pOF?)|(%pO?)"


def test_firmware_nodes(world):
    assert world.format(b"%pf|%pF", BASE, 0) == b"(%pf?)|0000000000000000"
    assert world.format(b"%pfw|%pfwP", 0, 1) == b"(null)|(efault)"
    with pytest.raises(NotSupported, match="pfw"):
        world.format(b"%pfw", BASE)


def put_resource(world, start, end, flags):
    return world.put(struct.pack("<8Q", start, end, 0, flags, 0, 0, 0, 0))


IO, MEM, IRQ, DMA, BUS = 0x100, 0x200, 0x400, 0x800, 0x1000
PREFETCH, MEM_64, WINDOW, DISABLED, UNSET = 0x2000, 0x100000, 0x200000, 0x10000000, 0x20000000


@pytest.mark.parametrize(
    ("start", "end", "flags", "decoded", "raw"),
    [
        (
            0x60000000,
            0x6FFFFFFF,
            MEM,
            b"[mem 0x60000000-0x6fffffff]",
            b"[mem 0x60000000-0x6fffffff flags 0x200]",
        ),
        (
            0x60000000,
            0x6FFFFFFF,
            MEM | PREFETCH,
            b"[mem 0x60000000-0x6fffffff pref]",
            b"[mem 0x60000000-0x6fffffff flags 0x2200]",
        ),
        (
            0x1_0000_0000,
            0x1_0000_FFFF,
            MEM | PREFETCH | MEM_64 | WINDOW | DISABLED,
            b"[mem 0x100000000-0x10000ffff 64bit pref window disabled]",
            b"[mem 0x100000000-0x10000ffff flags 0x10302200]",
        ),
        (0x3F8, 0x3FF, IO, b"[io  0x03f8-0x03ff]", b"[io  0x03f8-0x03ff flags 0x100]"),
        (9, 9, IRQ, b"[irq 9]", b"[irq 9 flags 0x400]"),
        (1, 3, DMA, b"[dma 1-3]", b"[dma 1-3 flags 0x800]"),
        (0, 0xFF, BUS, b"[bus 00-ff]", b"[bus 00-ff flags 0x1000]"),
        (1, 2, 0, b"[??? 0x00000001-0x00000002 flags 0x0]", b"[??? 0x00000001-0x00000002 flags 0x0]"),
        (0, 0xFFF, MEM | UNSET, b"[mem size 0x00001000]", b"[mem 0x00000000-0x00000fff flags 0x20000200]"),
    ],
)
def test_resource(world, start, end, flags, decoded, raw):
    resource = put_resource(world, start, end, flags)
    assert world.format(b"%pR", resource) == decoded
    assert world.format(b"%pr", resource) == raw


def test_resource_in_a_field(world):
    resource = put_resource(world, 9, 9, IRQ)
    assert world.format(b"%10pR|%-10pR|%.4pR", resource, resource, resource) == b"   [irq 9]|[irq 9]   |[irq"


# struct rtc_time of 2018-11-26 05:35:43 and time64_t of 2019-01-04 15:32:23, from the kernel's self-test.
@pytest.mark.parametrize(
    ("format", "expected"),
    [
        (b"%ptR", b"2018-11-26T05:35:43"),
        (b"%ptRr", b"0118-10-26T05:35:43"),
        (b"%ptRt|", b"05:35:43|"),
        (b"%ptRd|", b"2018-11-26|"),
        (b"%ptRtr|", b"05:35:43|"),
        (b"%ptRdr|", b"0118-10-26|"),
        (b"%ptRttr|", b"05:35:43|"),
        (b"%ptRdtr|", b"2018-11-26|"),
        (b"%ptRt tr", b"05:35:43 tr"),
        (b"%ptRs", b"2018-11-26 05:35:43"),
        (b"%pt", b"(%pt?)"),
        (b"%ptX", b"(%pt?)"),
    ],
)
def test_rtc_time(world, format, expected):
    assert world.format(format, world.put(struct.pack("<9i", 43, 35, 5, 26, 10, 118, 0, 0, 0))) == expected


@pytest.mark.parametrize(
    ("format", "expected"),
    [
        (b"%ptT", b"2019-01-04T15:32:23"),
        (b"%ptTr", b"0119-00-04T15:32:23"),
        (b"%ptTt|", b"15:32:23|"),
        (b"%ptTd|", b"2019-01-04|"),
        (b"%ptTs", b"2019-01-04 15:32:23"),
        (b"%ptTsr", b"0119-00-04 15:32:23"),
        (b"%ptTts|", b"15:32:23|"),
        (b"%ptTdrs|", b"0119-00-04|"),
    ],
)
def test_time64(world, format, expected):
    assert world.format(format, world.put(struct.pack("<q", 1546615943))) == expected


def test_time_pointers(world):
    assert world.format(b"%ptR", 0) == b"(null)"
    with pytest.raises(PageFault):  # 6.1 does not check this one
        world.format(b"%ptT", 0)


def test_negative_fields_print_as_unsigned(world):
    where = world.put(struct.pack("<9i", 0, 0, -1, 0, 0, 0, 0, 0, 0))
    assert world.format(b"%ptRt", where) == b"18446744073709551615:00:00"


EPOCH = datetime.datetime(1970, 1, 1)


@given(st.datetimes(min_value=datetime.datetime(1000, 1, 1), max_value=datetime.datetime(9999, 12, 31)))
def test_time64_as_the_calendar_has_it(moment):
    moment = moment.replace(microsecond=0)
    world = World()
    seconds = (moment - EPOCH) // datetime.timedelta(seconds=1)
    assert world.format(b"%ptT", world.put(struct.pack("<q", seconds))) == moment.isoformat().encode()


@given(st.integers(-(1 << 63), (1 << 63) - 1))
def test_any_time64_has_fields_in_range(seconds):
    world = World()
    text = world.format(b"%ptTt %ptTd", *[world.put(struct.pack("<q", seconds))] * 2).decode()
    time, date = text.split(" ")
    hour, minute, second = map(int, time.split(":"))
    assert hour * 3600 + minute * 60 + second == seconds % 86400
    _, month, day = map(int, date.split("-"))
    assert 1 <= month <= 12
    assert 1 <= day <= 31

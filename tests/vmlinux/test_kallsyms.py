"""The kernel's symbol table, in the arrangement of each release."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kmod_emu.vmlinux import kallsyms
from kmod_emu.vmlinux.vmlinux import Vmlinux
from tests.vmlinux.synthetic import LAYOUTS, RODATA, elf
from tests.vmlinux.synthetic import kallsyms as table

TEXT = 0xFFFFFFFF81000000
SYMBOLS = [
    (0x0, "A", "__per_cpu_start"),
    (0x1FB80, "A", "current_task"),
    (TEXT, "T", "_text"),
    *((TEXT + 16 * number, "t", f"function_{number}") for number in range(1, 700)),
    (TEXT + 0x8000, "T", "sys_" + "long_" * 30 + "name"),
    (TEXT + 0x900000, "d", "sys_data"),
    (TEXT + 0x900000, "D", "twice"),
    (TEXT + 0x900010, "b", "twice"),
]


def kernel(release, symbols=SYMBOLS, front=b"\1\2\3\4" * 2000):
    if not LAYOUTS[release][2]:  # per-CPU variables are ordinary addresses there
        symbols = [symbol for symbol in symbols if symbol[0] >> 32]
    contents = table(symbols, release, front=front)
    return Vmlinux(elf([(".rodata", RODATA, contents + bytes(5000))])), sorted(symbols)


@pytest.mark.parametrize("release", LAYOUTS)
def test_every_arrangement(release):
    vmlinux, symbols = kernel(release)
    found = kallsyms.find(vmlinux)
    assert [tuple(symbol) for symbol in found] == symbols
    assert found.layout == LAYOUTS[release][0]
    assert found.address("sys_" + "long_" * 30 + "name") == TEXT + 0x8000
    assert found.address("no_such_symbol") is None
    assert found.address("twice") == TEXT + 0x900000
    assert found.at(TEXT + 35).name == "function_2"
    assert found.end(TEXT + 16) == TEXT + 32


@pytest.mark.parametrize("release", LAYOUTS)
@pytest.mark.parametrize("count", [300, 512, 513])
def test_the_last_marker_may_be_full_or_not(release, count):
    symbols = [(TEXT + 16 * number, "T", f"f{number}") for number in range(count)]
    vmlinux, _ = kernel(release, symbols)
    assert len(kallsyms.find(vmlinux)) == count


def test_a_kernel_without_symbols_has_none():
    assert kallsyms.find(Vmlinux(elf([(".rodata", RODATA, b"0\0001\0002\0003\0004\0" * 3000)]))) is None
    digits = b"".join(bytes([digit, 0]) for digit in b"0123456789")
    assert kallsyms.find(Vmlinux(elf([(".rodata", RODATA, digits * 3000)]))) is None
    assert kallsyms.find(Vmlinux(elf([]))) is None


@settings(max_examples=30)
@given(st.data())
def test_damage_raises_nothing(data):
    release = data.draw(st.sampled_from(sorted(LAYOUTS)))
    contents = bytearray(table([symbol for symbol in SYMBOLS if symbol[0] >> 32], release, front=bytes(4096)))
    for _ in range(data.draw(st.integers(1, 20))):
        contents[data.draw(st.integers(0, len(contents) - 1))] = data.draw(st.integers(0, 255))
    cut = data.draw(st.integers(0, len(contents)))
    kallsyms.find(Vmlinux(elf([(".rodata", RODATA, bytes(contents[:cut]))])))

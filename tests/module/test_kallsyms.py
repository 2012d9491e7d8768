"""Type letters of module symbols (SPEC A11), against /proc/kallsyms of the recorded kernel."""

from __future__ import annotations

import pytest

from kmod_emu import Kernel
from kmod_emu.module import elf
from kmod_emu.module.kallsyms import elf_type
from tests.module.linking import CORE, link, module_file, recorded_cases

LOCAL, GLOBAL, WEAK = 0x00, 0x10, 0x20
OBJECT, FUNC = 1, 2


def test_core_symbols_as_listed_after_init() -> None:
    text = recorded_cases()["sysfs:hello"][1]["out"]
    listed = [line.split("\t")[0].split() for line in text.splitlines() if line.endswith("\t[h_hello]")]
    expected = [(int(address, 16), letter, name) for address, letter, name in listed]
    linked = link(module_file("h_hello"))
    image = linked.image
    found = [
        (linked.values[index], elf_type(image, image.symbols[index]), image.symbol_name(image.symbols[index]))
        for index in linked.layout.symtab.symbols[1:]
    ]
    assert len(expected) == 6
    assert found == expected
    assert all(CORE <= value < CORE + linked.layout.regions["core"].size for value, _, _ in found)


# Sections of h_hello.ko: 3 .text, 4 .init.text, 8 .rodata.str1.1, 18 .data, 25 .bss, 26 .comment
@pytest.mark.parametrize(
    ("info", "shndx", "letter"),
    [
        (WEAK | OBJECT, elf.SHN_UNDEF, "v"),
        (WEAK | FUNC, 3, "w"),
        (GLOBAL, elf.SHN_UNDEF, "U"),
        (GLOBAL, elf.SHN_ABS, "a"),
        (GLOBAL, elf.SHN_LIVEPATCH, "?"),
        (GLOBAL, elf.SHN_COMMON, "?"),
        (GLOBAL | FUNC, 3, "t"),
        (LOCAL | FUNC, 4, "t"),
        (LOCAL | OBJECT, 8, "r"),
        (LOCAL | OBJECT, 18, "d"),
        (LOCAL | OBJECT, 25, "b"),
        (LOCAL | OBJECT, 26, "?"),
    ],
)
def test_letter(info: int, shndx: int, letter: str) -> None:
    image = link(module_file("h_hello")).image
    assert elf_type(image, elf.Symbol(1, info, 0, shndx, 0, 0)) == letter


def test_letter_of_a_percpu_symbol() -> None:
    image = link(module_file("h_hello")).image
    image.percpu = 18
    assert elf_type(image, elf.Symbol(1, GLOBAL | OBJECT, 0, 18, 0, 0)) == "a"


def test_letter_of_a_debug_symbol() -> None:
    image = link(module_file("h_hello")).image
    image.sections[26].name = ".debug_info"
    assert elf_type(image, elf.Symbol(1, LOCAL, 0, 26, 0, 0)) == "n"


def test_the_base_kernels_symbols():
    """All of them, exported or not, by address; per-CPU ones are absolute."""
    lines = [line.split() for line in Kernel().cat("/proc/kallsyms").decode().splitlines()]
    addresses = [int(address, 16) for address, _, _ in lines]
    assert addresses == sorted(addresses)
    letters = {name: letter for _, letter, name in lines}
    assert letters["_printk"] == letters["strlen"] == "T"
    assert letters["modules"] == letters["init_task"] == "D"
    assert letters["current_task"] == "A"

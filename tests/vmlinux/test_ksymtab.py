"""The kernel's table of exports: two tables with CRCs, one table with flags, with and without namespaces."""

import struct

from kmod_emu.abi.profile import Export
from kmod_emu.vmlinux.ksymtab import exports
from kmod_emu.vmlinux.vmlinux import Vmlinux
from tests.vmlinux.synthetic import RODATA, elf, ksymtab

TEXT = 0xFFFFFFFF81000000
STRINGS = RODATA + 0x100000


def test_two_tables_with_crcs():
    plain, words = ksymtab([("kfree", TEXT, ""), ("current_task", 0x1FB80, "")], RODATA, STRINGS)
    gpl, more = ksymtab([("gpl", TEXT + 16, "CXL")], RODATA + 0x1000, STRINGS + len(words))
    kernel = Vmlinux(
        elf(
            [
                ("__ksymtab", RODATA, plain),
                ("__ksymtab_gpl", RODATA + 0x1000, gpl),
                ("__kcrctab", RODATA + 0x2000, struct.pack("<II", 7, 0xFFFFFFFF)),
                ("__kcrctab_gpl", RODATA + 0x3000, struct.pack("<I", 9)),
                ("__ksymtab_strings", STRINGS, words + more),
            ]
        )
    )
    assert exports(kernel) == [
        Export("current_task", 0xFFFFFFFF, False, "", 0x1FB80),
        Export("gpl", 9, True, "CXL", TEXT + 16),
        Export("kfree", 7, False, "", TEXT),
    ]


def test_one_table_with_flags_and_no_crcs():
    table, words = ksymtab([("b", TEXT, "module:kvm"), ("a", TEXT + 16, "")], RODATA, STRINGS)
    sections = [
        ("__ksymtab", RODATA, table),
        ("__kflagstab", RODATA + 0x1000, b"\1\0"),
        ("__ksymtab_strings", STRINGS, words),
    ]
    assert exports(Vmlinux(elf(sections))) == [
        Export("a", None, False, "", TEXT + 16),
        Export("b", None, True, "module:kvm", TEXT),
    ]


def test_entries_without_a_namespace():
    table, words = ksymtab([("old", TEXT, "")], RODATA, STRINGS, entry_size=8)
    kernel = Vmlinux(elf([("__ksymtab_gpl", RODATA, table), ("__ksymtab_strings", STRINGS, words)]))
    assert exports(kernel, 8) == [Export("old", None, True, "", TEXT)]


def test_no_table_no_exports():
    assert exports(Vmlinux(elf([]))) == []

"""The vmlinux in guest memory: sections at their link addresses, code read-only, data not executable."""

from __future__ import annotations

from typing import TYPE_CHECKING

from kmod_emu.kernel import layout
from kmod_emu.machine.memory import EXEC, PAGE_SIZE, READ, WRITE, page_align

if TYPE_CHECKING:
    from kmod_emu.machine.memory import Memory
    from kmod_emu.vmlinux.vmlinux import Section, Vmlinux

_SCRATCH = ".init.scratch"  # what the decompressor's successor uses: no memory of the running kernel


def kernel_sections(vmlinux: Vmlinux) -> list[Section]:
    """Those that lie in the kernel's mapping: not per-CPU variables, which each processor has a copy of."""
    return [
        section
        for section in vmlinux.sections
        if section.allocated
        and section.size
        and section.address >= layout.KERNEL_TEXT
        and section.name != _SCRATCH
    ]


def kernel_end(vmlinux: Vmlinux) -> int:
    """The address behind the last section."""
    return max(section.address + section.size for section in kernel_sections(vmlinux))


def map_sections(vmlinux: Vmlinux, memory: Memory) -> None:
    """Copy the sections into guest memory and protect them.

    Code, and data that becomes read-only at the end of the boot, are still writable: the kernel itself writes
    constants into its code.
    """
    elf = memoryview(vmlinux.elf)
    for section in kernel_sections(vmlinux):
        start, size = _pages(section)
        memory.protect(start, size, READ | WRITE | (EXEC if section.executable else 0))
        if section.in_file:
            memory.write(section.address, elf[section.offset : section.offset + section.size])


def make_read_only(vmlinux: Vmlinux, memory: Memory, rodata: range) -> None:
    """The end of the boot: nobody writes code any more, nor what lies in `rodata`."""
    for section in kernel_sections(vmlinux):
        if section.executable or section.address in rodata:
            memory.protect(*_pages(section), READ | (EXEC if section.executable else 0))


def _pages(section: Section) -> tuple[int, int]:
    start = section.address & -PAGE_SIZE
    return start, page_align(section.address + section.size - start)

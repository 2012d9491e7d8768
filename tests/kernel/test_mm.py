"""Address spaces of programs: pages on demand, files' pages, copies on write."""

import pytest

from kmod_emu import Kernel, KernelError
from kmod_emu.kernel.mm import PROT_EXEC, PROT_READ, PROT_WRITE, MemoryMap
from kmod_emu.machine.memory import PAGE_SIZE, PageFault
from kmod_emu.uapi import errno

RW = PROT_READ | PROT_WRITE


@pytest.fixture
def kernel():
    return Kernel()


@pytest.fixture
def mm(kernel):
    return MemoryMap(kernel)


def test_memory_is_taken_when_it_is_touched(kernel, mm):
    before = kernel.pages.allocated
    address = mm.map(1 << 30, RW)
    assert kernel.pages.allocated == before
    mm.write(address + (1 << 29), b"here")
    assert mm.read(address + (1 << 29) - 1, 6) == b"\0here\0"
    assert kernel.pages.allocated == before + 2
    mm.clear()
    assert kernel.pages.allocated == before


def test_programs_share_the_pages_of_a_file_until_they_write(kernel, mm):
    data = b"text" * 3000
    image = kernel.user_pages.image(data)
    one = mm.map(len(data), RW, image=image)
    other = MemoryMap(kernel)
    there = other.map(len(data), PROT_READ, image=image, offset=1)
    assert mm.read(one, 12000) == data
    assert other.read(there, 4096) == data[4096:8192]
    mm.write(one + 4096, b"mine")
    assert (mm.read(one + 4096, 4), other.read(there, 4), image.data) == (b"mine", b"text", data)
    before = kernel.pages.allocated
    mm.clear()
    other.clear()
    kernel.user_pages.drop_images()
    assert kernel.pages.allocated == before - 4  # three of the file and the copy


def test_a_file_ends_where_its_last_page_ends(kernel, mm):
    start = mm.map(3 * PAGE_SIZE, PROT_READ, image=kernel.user_pages.image(b"x" * 10))
    assert mm.read(start, PAGE_SIZE) == b"x" * 10 + bytes(PAGE_SIZE - 10)
    with pytest.raises(PageFault):
        mm.read(start + PAGE_SIZE, 1)


def test_fork_copies_what_is_written(kernel, mm):
    before = kernel.pages.allocated
    private, shared = mm.map(PAGE_SIZE, RW), mm.map(PAGE_SIZE, RW, shared=True)
    mm.write(private, b"old")
    mm.write(shared, b"old")
    child = mm.copy()
    grandchild = child.copy()
    assert kernel.pages.allocated == before + 2
    child.write(private, b"new")
    child.write(shared, b"new")
    assert [m.read(private, 3) for m in (mm, child, grandchild)] == [b"old", b"new", b"old"]
    assert [m.read(shared, 3) for m in (mm, child, grandchild)] == [b"new"] * 3
    mm.write(private, b"own")
    assert grandchild.read(private, 3) == b"old"
    for each in (mm, child, grandchild):
        each.clear()
    assert kernel.pages.allocated == before


def test_mappings_are_cut_and_changed_in_parts(kernel, mm):
    start = mm.map(5 * PAGE_SIZE, RW)
    mm.write(start, b"a" * 5 * PAGE_SIZE)
    mm.unmap(start + PAGE_SIZE, PAGE_SIZE)
    mm.protect(start + 3 * PAGE_SIZE, PAGE_SIZE, PROT_READ)
    assert [(vma.start - start >> 12, vma.end - start >> 12, vma.prot) for vma in mm.vmas] == [
        (0, 1, 3), (2, 3, 3), (3, 4, 1), (4, 5, 3),
    ]  # fmt: skip
    with pytest.raises(PageFault):
        mm.read(start + PAGE_SIZE, 1)
    with pytest.raises(KernelError) as error:
        mm.protect(start, 3 * PAGE_SIZE, RW)
    assert error.value.errno == errno.ENOMEM
    mm.forget_pages(start + 4 * PAGE_SIZE, PAGE_SIZE)
    assert mm.read(start + 4 * PAGE_SIZE, 1) == b"\0"


def test_write_to_a_read_only_page_that_nobody_shares(kernel, mm):
    start = mm.map(PAGE_SIZE, PROT_READ | PROT_EXEC)
    assert mm.read(start, 1) == b"\0"
    with kernel.process() as process:
        process.task.mm.map(PAGE_SIZE, PROT_READ, at=0x40_0000)
        assert process.syscall("open", 0x40_0000, 0) == -errno.ENOENT
        assert process.syscall("read", 0, 0x40_0000, 1) != 1


def test_the_machine_s_memory_has_an_end(kernel, mm):
    before = kernel.pages.allocated
    start = mm.map(1 << 30, RW)
    assert not mm.populate(start, 1 << 30)
    assert mm.out_of_memory
    mm.clear()
    assert kernel.pages.allocated == before

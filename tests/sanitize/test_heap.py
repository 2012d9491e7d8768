"""Errors with heap objects."""

import pytest

from kmod_emu import Kernel, KernelError, samples
from kmod_emu.sanitize.sites import Site


def found(name, level, params=""):
    kernel = Kernel(sanitize=level)
    try:
        kernel.insmod(samples.path(name), params)
        kernel.rmmod(name)
    except KernelError:
        pass
    return kernel.findings.reports


def test_a_write_behind_an_object_is_found_when_it_is_freed():
    (report,) = found("overflow", "default")
    assert report["kind"] == "heap overflow"
    assert report["text"] == (
        "2 bytes behind the end of a heap object of 104 bytes were overwritten, at offset 104;"
        " samples/bugs/overflow/overflow.c:20 allocates it, and it was freed at"
        " samples/bugs/overflow/overflow.c:30: look for an index or length that leaves it"
    )
    assert list(report["stacks"]) == ["allocation", "free"]
    assert report["bytes"][1] == "  +96  00 09 61 09 c4 09 29 0a[90 0a]00 00 00 00 00 00"


def test_guards_find_it_at_the_access():
    report = found("overflow", "all")[0]
    assert report["text"] == (
        "samples/bugs/overflow/overflow.c:24 writes behind the end of a heap object of 104 bytes, at offset"
        " 104; samples/bugs/overflow/overflow.c:20 allocates it: look for an index or length that leaves it"
    )
    assert list(report["stacks"]) == ["access", "allocation"]


def test_guards_find_what_is_read_after_it_was_freed():
    assert found("useafterfree", "default") == []
    reports = found("useafterfree", "all")
    assert [report["kind"] for report in reports] == ["use after free"] * 2
    assert reports[0]["text"] == (
        "samples/bugs/useafterfree/useafterfree.c:28 reads at offset 8 of a heap object of 24 bytes that was"
        " freed at samples/bugs/useafterfree/useafterfree.c:29: use it before, or free it later"
    )
    assert list(reports[0]["stacks"]) == ["access", "allocation", "free"]


@pytest.mark.parametrize("level", ["default", "all"])
def test_freeing_twice_tells_who_freed_first(level):
    first = found("doublefree", level)[0]
    assert (first["kind"], list(first["stacks"])) == ("bad free", ["access", "allocation", "free"])
    assert "is freed again at samples/bugs/doublefree/doublefree.c:16" in first["text"]


def test_guarded_objects_are_in_snapshots_and_saved_machines(tmp_path):
    kernel = Kernel(sanitize="all")
    kernel.insmod(samples.path("useafterfree"))
    before = kernel.snapshot()
    kernel.save(tmp_path / "machine")
    loaded = Kernel.load(tmp_path / "machine")
    for machine in (kernel, loaded):
        machine.rmmod("useafterfree")
        assert [report["kind"] for report in machine.findings.reports] == ["use after free"] * 2
    kernel.restore(before)
    kernel.findings.reports.clear()
    kernel.rmmod("useafterfree")
    assert len(kernel.findings.reports) == 2


def edge(level, size, offset):
    """What is found if a module writes one byte at an offset of an object, a NUL, and frees it."""
    kernel = Kernel(sanitize=level)
    kernel.insmod(samples.path("churn"), "turns=0")
    before = [kernel.heap.kmalloc(size) for _ in range(3)][1]  # not the first of its slab
    kernel.allocations[before] = 0, (Site("somebody+0x1/0x2 [churn]", "churn", "", 0),), 0
    kernel.memory.write_u8(before + offset, 0)
    kernel.rmmod("churn")
    return [report["kind"] for report in kernel.findings.reports]


@pytest.mark.parametrize("size", [16, 32, 64, 96, 192, 256, 1024, 4096, 8192])
def test_objects_that_fill_their_cache_have_a_red_zone(size):
    assert edge("default", size, size) == ["heap overflow", "leak"]
    assert edge("default", size, -1) == ["heap underflow", "leak"]
    assert edge("default", size, size - 1) == ["leak"]


def test_red_zones_are_not_usable_memory():
    kernel = Kernel()
    address = kernel.heap.kmalloc(64)
    assert kernel.memory.read(address, 72) == bytes(64) + b"\xcc" * 8
    assert kernel.heap.ksize(address) == 64
    assert kernel.heap.kmalloc(64) == address + 128
    assert Kernel(sanitize="off").heap.kmalloc(64) % 64 == 0


def test_guarded_objects_are_used_again_after_a_while_and_checked_as_before():
    kernel = Kernel(sanitize="all")
    pages = kernel.pages.allocated
    for _ in range(2):
        kernel.insmod(samples.path("churn"), "turns=3000")
        kernel.rmmod("churn")
    assert kernel.findings.reports == []
    assert kernel.pages.allocated - pages < 5000
    kernel.insmod(samples.path("useafterfree"))
    kernel.rmmod("useafterfree")
    assert [report["kind"] for report in kernel.findings.reports] == ["use after free"] * 2

"""Errors with heap objects."""

import pytest

from kmod_emu import Kernel, KernelError, samples


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
    assert "2 bytes at offset 104, found when it was freed; they are 90 0a" in report["text"]
    assert list(report["stacks"]) == ["allocation", "free"]


def test_guards_find_it_at_the_access():
    report = found("overflow", "all")[0]
    assert report["text"] == (
        "samples/overflow/overflow.c:24 writes 0 bytes behind the end of a heap object of 104 bytes"
        " from samples/overflow/overflow.c:20"
    )
    assert list(report["stacks"]) == ["access", "allocation"]


def test_guards_find_what_is_read_after_it_was_freed():
    assert found("useafterfree", "default") == []
    reports = found("useafterfree", "all")
    assert [report["kind"] for report in reports] == ["use after free"] * 2
    assert reports[0]["text"] == (
        "samples/useafterfree/useafterfree.c:28 reads a heap object of 24 bytes, at offset 8, that was freed"
        " at samples/useafterfree/useafterfree.c:29"
    )
    assert list(reports[0]["stacks"]) == ["access", "allocation", "free"]


@pytest.mark.parametrize("level", ["default", "all"])
def test_freeing_twice_tells_who_freed_first(level):
    first = found("doublefree", level)[0]
    assert (first["kind"], list(first["stacks"])) == ("bad free", ["access", "allocation", "free"])
    assert "freed at samples/doublefree/doublefree.c:16, is freed again at" in first["text"]


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

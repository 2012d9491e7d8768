"""What modules leave behind when they go, and what they end that is not there."""

import json
from pathlib import Path

import pytest
from click.testing import CliRunner

from kmod_emu import Kernel, KernelError, samples
from kmod_emu.cli.main import main

# Samples with bugs that the checkers tell; all others draw no report of these kinds.
FAULTY = {folder.name for folder in (Path(__file__).parents[2] / "samples/bugs").iterdir()}
KINDS = {
    "leak", "double unregister", "heap overflow", "heap underflow", "use after free", "wrong order",
    "uninitialised memory",
}  # fmt: skip


@pytest.mark.parametrize("level", ["default", "all"])
def test_correct_samples_draw_no_report(level):
    kernel = Kernel(sanitize=level)
    before = kernel.snapshot()
    for name in samples.names():
        kernel.restore(before)
        try:
            kernel.insmod(samples.path(name), "fixed=1" if name in FAULTY else "")
            kernel.advance(0.05)
            kernel.rmmod(name)
        except KernelError:  # samples that are refused, or crash
            pass
        found = [report["text"] for report in kernel.findings.reports if report["kind"] in KINDS]
        assert found == [], name


def test_nothing_is_checked_where_that_is_asked_for():
    kernel = Kernel(sanitize="off")
    kernel.insmod(samples.path("leak"))
    kernel.rmmod("leak")
    assert kernel.findings.reports == []


def test_a_failed_init_is_told_that_its_error_path_forgets():
    kernel = Kernel()
    with pytest.raises(KernelError):
        kernel.insmod(samples.path("initleak"), "late=1")
    texts = [report["text"] for report in kernel.findings.reports]
    assert texts[0] == (
        "init of initleak failed (EIO) and leaves a heap object of 256 bytes behind,"
        " from samples/bugs/initleak/initleak.c:27: the error path must call kfree()"
    )
    assert "range of device numbers" in texts[1]
    assert len(texts) == 2


def test_all_keeps_whole_stacks():
    kernel = Kernel(sanitize="all")
    kernel.insmod(samples.path("leak"))
    kernel.rmmod("leak")
    assert [report["kind"] for report in kernel.findings.reports] == ["leak"] * 9
    assert all(
        report["stacks"]["allocation"][0].startswith("leak_init+") for report in kernel.findings.reports
    )


def test_records_are_in_saved_machines(tmp_path):
    kernel = Kernel()
    kernel.insmod(samples.path("leak"))
    kernel.save(tmp_path / "machine")
    loaded = Kernel.load(tmp_path / "machine")
    loaded.rmmod("leak")
    assert [report["kind"] for report in loaded.findings.reports] == ["leak"] * 9


def test_run_prints_the_stacks():
    told = CliRunner().invoke(main, ["run", "leak", "-q"]).output
    assert (
        "kmod-emu: leak leaves 3 heap objects of 100 bytes behind, from samples/bugs/leak/leak.c:49" in told
    )
    assert "    leak_init+0x" in told
    answer = CliRunner().invoke(main, ["run", "leak", "--json"]).output
    assert [report["kind"] for report in json.loads(answer)["reports"]] == ["leak"] * 9

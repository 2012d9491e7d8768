"""Checks of modules on a distribution's kernel, whose own code allocates as well."""

import pytest

from kmod_emu import samples
from kmod_emu.vmlinux.kernel import VmlinuxKernel


@pytest.fixture(scope="module")
def found(booted, vmlinuz, distribution_module):
    """Loads a module and removes it, with all checks; what they say."""
    machine = VmlinuxKernel(vmlinuz, sanitize="all")
    moment = machine.snapshot()

    def run(name):
        machine.restore(moment)
        machine.findings.reports.clear()
        path = distribution_module(name) if "/" in name else samples.path(name)
        machine.insmod(path)
        machine.rmmod(name.rpartition("/")[2])
        return [report["text"] for report in machine.findings.reports]

    return run


def test_use_after_free_names_the_lines(found):
    source = "samples/bugs/useafterfree/useafterfree.c"
    text = f"{source}:28 reads at offset 8 of a heap object of 24 bytes that was freed at {source}:29"
    assert found("useafterfree")[0].startswith(text)


def test_leaks_are_what_the_module_took_itself(found):
    place = "behind, from samples/bugs/leak/leak.c"
    assert found("leak") == [
        f"leak leaves 3 heap objects of 100 bytes {place}:49: exit must call kfree()",
        f"leak leaves a vmalloc area {place}:50: exit must call vfree()",
    ]


@pytest.mark.parametrize("name", ["echo", "drivers/block/brd", "drivers/net/tun", "fs/fat/fat"])
def test_what_the_kernel_keeps_is_no_leak(found, name):
    assert found(name) == []

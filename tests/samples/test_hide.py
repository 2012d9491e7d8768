"""A module that takes itself off the list is where lsmod looks no more, and still in /sys (sample hide)."""

import os

import pytest

from kmod_emu import Kernel, KernelError, samples
from kmod_emu.kmod.lsmod import lsmod
from kmod_emu.uapi import errno


@pytest.fixture
def kernel():
    kernel = Kernel()
    kernel.insmod(samples.path("hello"))
    kernel.insmod(samples.path("hide"))
    kernel.insmod(samples.path("params"))
    return kernel


def show(kernel: Kernel, hidden: bytes) -> None:
    with kernel.process() as process:
        process.write(process.open("/sys/module/hide/parameters/hidden", os.O_WRONLY), hidden)


def test_hidden(kernel):
    assert [module.name for module in kernel.modules] == ["params", "hello"]
    assert "hide" not in lsmod(kernel)
    assert b"hide" not in kernel.cat("/proc/modules")
    assert b"[hide]" not in kernel.cat("/proc/kallsyms")
    assert kernel.cat("/sys/module/hide/initstate") == b"live\n"
    with pytest.raises(KernelError) as error:
        kernel.rmmod("hide")
    assert error.value.errno == errno.ENOENT


def test_a_hidden_module_does_not_keep_its_name_from_the_list_but_from_sys(kernel):
    """find_module() does not see it; the directory in /sys/module is what refuses the second one."""
    with pytest.raises(KernelError) as error:
        kernel.insmod(samples.path("hide"))
    assert error.value.errno == errno.EINVAL
    assert kernel.dmesg()[-1] == "hide: module is already loaded"


def test_back(kernel):
    show(kernel, b"N")
    assert [module.name for module in kernel.modules] == ["hide", "params", "hello"]
    kernel.rmmod("hide")
    assert kernel.dmesg()[-2:] == ["hide: back in the list", "hide: goodbye"]


def test_a_saved_machine_keeps_it_hidden(kernel, tmp_path):
    kernel.save(tmp_path / "m")
    loaded = Kernel.load(tmp_path / "m")
    assert [module.name for module in loaded.modules] == ["params", "hello"]
    show(loaded, b"N")
    assert "hide" in lsmod(loaded)

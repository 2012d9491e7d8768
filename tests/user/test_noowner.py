"""A driver that is freed while it is open (sample noowner): oopses that say what was there."""

import pytest

from kmod_emu import Kernel, KernelError, samples
from kmod_emu.uapi import errno

PATHS = ["/dev/noowner", "/proc/noowner", "/sys/kernel/debug/noowner"]


def unloaded(params=""):
    """A machine whose module is gone, and a process that has its files open."""
    kernel = Kernel()
    kernel.insmod(samples.path("noowner"), params)
    process = kernel.process(comm="user")
    fds = [process.open(path) for path in PATHS]
    assert kernel.modules[0].refcnt == 0
    kernel.rmmod("noowner")
    return kernel, process, fds


def test_reading_after_rmmod_is_an_oops_that_says_what_was_there():
    kernel, process, (device, *_) = unloaded()
    with pytest.raises(KernelError) as error:
        process.read(device, 20)
    assert "which was noowner_fops+0x10 of the module noowner, which was unloaded" in error.value.explanation
    assert "__x64_sys_read" in error.value.explanation
    assert any(line.startswith("Oops: 0000 [#1]") for line in kernel.dmesg())
    assert kernel.process().read_file("/proc/modules") == b""


def test_removed_files_answer_eio():
    _, process, (_, proc, debug) = unloaded()
    for fd in (proc, debug):
        with pytest.raises(KernelError) as error:
            process.read(fd, 20)
        assert error.value.errno == errno.EIO


@pytest.mark.parametrize("path", PATHS)
def test_using_what_an_exit_function_left_behind(path):
    kernel, *_ = unloaded("tidy=0")
    with pytest.raises(KernelError) as error:
        kernel.process().read_file(path)
    assert "of the module noowner, which was unloaded" in error.value.explanation
    assert kernel.oopses.count > 0
    kernel.insmod(samples.path("hello"))  # the machine survives


@pytest.mark.parametrize("params", ["", "tidy=0"])
def test_files_can_be_closed(params):
    """Files of debugfs and /proc need nothing of the module for that; a device reads its release there."""
    kernel, process, (device, *others) = unloaded(params)
    for fd in others if not params else []:
        process.close(fd)
    with pytest.raises(KernelError):
        process.close(device)
    process.exit()
    assert kernel.process().pid


def test_a_saved_machine_still_knows(tmp_path):
    kernel, *_ = unloaded("tidy=0")
    kernel.save(tmp_path / "m")
    loaded = Kernel.load(tmp_path / "m")
    with pytest.raises(KernelError) as error:
        loaded.process().open("/dev/noowner")
    assert "noowner_device+" in error.value.explanation

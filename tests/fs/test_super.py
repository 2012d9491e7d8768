"""A file system of a module's that the kernel mounts for itself: configfs, and who uses it."""

import errno

import pytest

from kmod_emu import Kernel
from kmod_emu.module.modules import Module
from tests.module.replay import DUMMY

DRIVERS = DUMMY.parents[1]
MODULES = {
    "configfs": "../fs/configfs/configfs.ko",
    "usb_common": "usb/common/usb-common.ko",
    "udc_core": "usb/gadget/udc/udc-core.ko",
    "libcomposite": "usb/gadget/libcomposite.ko",
}
SUBSYSTEM = 192  # bytes of a struct configfs_subsystem, or more
MOUNTED = "file systems mounted"


@pytest.fixture
def kernel():
    if not DRIVERS.exists():
        pytest.skip(f"{DRIVERS} is not installed")
    kernel = Kernel()
    for name in ("configfs", "usb_common", "udc_core"):
        kernel.insmod(DRIVERS / MODULES[name])
    kernel.advance(1)  # what waits for a grace period is freed
    return kernel


def module(kernel: Kernel, name: str) -> Module:
    return next(module for module in kernel.modules if module.name == name)


def symbol(kernel: Kernel, owner: str, wanted: str) -> int:
    return next(address for address, _, name in module(kernel, owner).symbols if name == wanted)


def test_it_is_mounted_while_somebody_counts_on_it(kernel):
    assert b"nodev\tconfigfs" in kernel.cat("/proc/filesystems")
    before = kernel.held()
    assert (before[MOUNTED], module(kernel, "configfs").refcnt) == (0, 0)
    kernel.insmod(DRIVERS / MODULES["libcomposite"])
    libcomposite, its_super_block = 1, 1
    assert kernel.held()[MOUNTED] == 1
    assert module(kernel, "configfs").refcnt == libcomposite + its_super_block
    kernel.rmmod("libcomposite")
    assert kernel.held() == before
    for name in ("udc_core", "usb_common", "configfs"):
        kernel.rmmod(name)


def test_a_second_directory_of_that_name_is_refused(kernel):
    kernel.insmod(DRIVERS / MODULES["libcomposite"])
    group = kernel.heap.kmalloc(SUBSYSTEM)
    kernel.memory.write(group, kernel.memory.read(symbol(kernel, "libcomposite", "gadget_subsys"), SUBSYSTEM))
    kernel.call(symbol(kernel, "configfs", "config_group_init"), group)
    held = kernel.held()
    answer = kernel.call(symbol(kernel, "configfs", "configfs_register_subsystem"), group)
    assert answer & 0xFFFF_FFFF == (1 << 32) - errno.EEXIST
    assert kernel.held() == held

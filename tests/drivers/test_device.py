"""Classes and devices, by the calls that modules make."""

import os
import stat

import pytest

from kmod_emu import Kernel, KernelError
from kmod_emu.fs.uevent import Uevents
from kmod_emu.uapi import errno
from kmod_emu.user.files import makedev
from tests.conftest import RECORDINGS


@pytest.fixture
def kernel():
    return Kernel()


def text(kernel, value: str) -> int:
    place = kernel.heap.kmalloc(64)
    kernel.memory.write(place, value.encode() + b"\0")
    return place


def make_class(kernel, name: str) -> int:
    return kernel.call(kernel.symbol("__class_create"), 0, text(kernel, name), 0)


def make_device(kernel, cls: int, dev: int, name: str) -> int:
    return kernel.call(kernel.symbol("device_create"), cls, 0, dev, 0, text(kernel, name))


def test_a_device_is_in_sys_and_dev(kernel):
    cls = make_class(kernel, "demo")
    make_device(kernel, cls, 240 << 20 | 3, "bus!demo3")
    with kernel.process() as process:
        facts = process.stat("/dev/bus/demo3")
        assert facts.mode == stat.S_IFCHR | 0o600
        assert facts.rdev == makedev(240, 3)
        base = "/sys/devices/virtual/demo/bus!demo3"
        assert process.readlink("/sys/class/demo/bus!demo3") == "../../devices/virtual/demo/bus!demo3"
        assert process.readlink("/sys/dev/char/240:3") == "../../devices/virtual/demo/bus!demo3"
        assert process.readlink(f"{base}/subsystem") == "../../../../class/demo"
        assert process.read_file(f"{base}/dev") == b"240:3\n"
        assert process.read_file(f"{base}/uevent") == b"MAJOR=240\nMINOR=3\nDEVNAME=bus/demo3\n"
    assert [str(event) for event in kernel[Uevents].sent][-1] == "add@/devices/virtual/demo/bus!demo3"
    kernel.call(kernel.symbol("device_destroy"), cls, 240 << 20 | 3)
    kernel.call(kernel.symbol("device_destroy"), cls, 240 << 20 | 3)  # silent
    kernel.call(kernel.symbol("class_destroy"), cls)
    with kernel.process() as process:
        for path in ("/dev/bus", "/sys/class/demo", "/sys/devices/virtual/demo", "/sys/dev/char/240:3"):
            with pytest.raises(KernelError) as error:
                process.stat(path)
            assert error.value.errno == errno.ENOENT, path


def test_what_is_registered_is_freed(kernel):
    def round_trip() -> int:
        cls = make_class(kernel, "demo")
        make_device(kernel, cls, 240 << 20, "demo0")
        kernel.call(kernel.symbol("device_destroy"), cls, 240 << 20)
        kernel.call(kernel.symbol("class_destroy"), cls)
        return len(kernel.heap.live)

    first = round_trip()
    assert round_trip() - first == 2, "the two names that this test itself puts on the heap"


@pytest.mark.parametrize("name", ["demo", "input"])
def test_a_class_of_that_name_exists(kernel, name):
    make_class(kernel, "demo")
    result = make_class(kernel, name)
    assert result - (1 << 64) == -errno.EEXIST
    said = kernel.dmesg()
    assert said[0] == f"sysfs: cannot create duplicate filename '/class/{name}'"
    assert said[-1] == (
        f"kobject_add_internal failed for {name} with -EEXIST, "
        "don't try to register things with the same name in the same directory."
    )


def test_a_device_of_that_name_exists(kernel):
    cls = make_class(kernel, "demo")
    make_device(kernel, cls, 240 << 20, "demo0")
    assert make_device(kernel, cls, 240 << 20 | 1, "demo0") - (1 << 64) == -errno.EEXIST
    assert kernel.dmesg()[0] == "sysfs: cannot create duplicate filename '/devices/virtual/demo/demo0'"


def test_a_miscellaneous_device(kernel):
    kernel.insmod(RECORDINGS / "errno-cases" / "h_misc.ko")
    assert kernel.cat("/proc/misc").startswith(b"124 h_misc\n")
    with kernel.process() as process:
        facts = process.stat("/dev/h_misc")
        assert (facts.mode, facts.rdev) == (stat.S_IFCHR | 0o666, makedev(10, 124))
        fd = process.open("/dev/h_misc", os.O_RDWR)
        assert kernel.modules[0].refcnt == 1, "only the operations have an owner"
        process.close(fd)
        process.mknod("/dev/none", 0o020600, makedev(10, 77))
        with pytest.raises(KernelError) as error:
            process.open("/dev/none")
        assert error.value.errno == errno.ENODEV
    kernel.rmmod("h_misc")
    assert kernel.cat("/proc/misc").startswith(b"125 cpu_dma_latency\n")


def test_messages_begin_with_the_device(kernel):
    cls = make_class(kernel, "demo")
    device = make_device(kernel, cls, 240 << 20, "demo0")
    for pointer in (device, 0):
        kernel.call(kernel.symbol("_dev_info"), pointer, text(kernel, "ready\n"))
    assert kernel.dmesg()[-2:] == ["demo demo0: ready", "(NULL device *): ready"]

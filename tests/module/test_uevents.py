"""What user space would be told of modules: add@/module/NAME (kernel/module/main.c, lib/kobject_uevent.c)."""

import os

import pytest

from kmod_emu import Kernel, KernelError, samples
from kmod_emu.fs.uevent import Uevents
from kmod_emu.uapi import errno


def told(kernel: Kernel) -> list[str]:
    return [str(event) for event in kernel[Uevents].sent]


def test_a_module_comes_and_goes():
    kernel = Kernel()
    kernel.insmod(samples.path("hello"))
    assert kernel[Uevents].sent[0].variables == {
        "ACTION": "add",
        "DEVPATH": "/module/hello",
        "SUBSYSTEM": "module",
        "SEQNUM": "1",
    }
    kernel.rmmod("hello")
    assert told(kernel) == ["add@/module/hello", "remove@/module/hello"]


def test_nothing_is_told_of_an_init_that_fails():
    kernel = Kernel()
    with pytest.raises(KernelError):
        kernel.insmod(samples.path("ret_enodev"))
    assert told(kernel) == []


def test_writing_to_uevent():
    kernel = Kernel()
    kernel.insmod(samples.path("hello"))
    with kernel.process() as process:
        fd = process.open("/sys/module/hello/uevent", os.O_WRONLY)
        assert process.write(fd, b"change\n") == 7
        with pytest.raises(KernelError) as error:
            process.write(fd, b"vanish")
    assert error.value.errno == errno.EINVAL
    assert told(kernel) == ["add@/module/hello", "change@/module/hello"]
    assert kernel.dmesg()[-1] == "synth uevent: /module/hello: unknown uevent action string"

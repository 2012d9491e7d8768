"""Processes of a machine that is saved: they end with it, by the kernel's own code, and that is told."""

import os

from kmod_emu import Kernel, samples
from tests.user.conftest import BUSYBOX, needs_busybox

MODPROBE = b"#!/bin/sh\nmknod /dev/echo c 246 0; sleep 1000 5<>/dev/echo &\n"


@needs_busybox
def test_a_program_ends_with_the_machine(real, tmp_path):
    """One that the kernel itself has started, and that is still there when the command has ended."""
    real.userland.install_busybox(BUSYBOX)
    real.userland.put_file("/sbin/modprobe", MODPROBE)
    for name in ("echo", "autoload"):
        real.insmod(samples.path(name))
    assert real.cat("/proc/modules").startswith(b"autoload 16384 0 - Live ")
    process = real.process(comm="reader")
    process.open("/proc/version")
    real.save(tmp_path / "saved")
    kernel = Kernel.load(tmp_path / "saved")
    told = [text.partition(" (pid ")[0] + text.partition(")")[2] for text in kernel.ended]
    assert told == [
        "sleep ended with the machine that was saved; it had /dev/null, /dev/echo open",
        "reader ended with the machine that was saved; it had /proc/version open",
    ]
    kernel.rmmod("echo")
    assert kernel.dmesg()[-1].startswith("echo: released")


def test_who_sleeps_in_a_driver_leaves_it_before_it_ends(real, tmp_path):
    """do_exit() was called on the stack on which it slept, and to which the driver's queue led."""
    real.insmod(samples.path("mailbox"))
    process = real.process(comm="reader")
    process.start("read", process.open("/dev/mailbox0", os.O_RDWR), process.put(bytes(100)), 100)
    real.advance(0.01)
    real.save(tmp_path / "saved")
    kernel = Kernel.load(tmp_path / "saved")
    assert kernel.ended == [
        f"reader (pid {process.pid}) ended with the machine that was saved; it had /dev/mailbox0 open"
    ]
    with kernel.process() as writer:
        writer.write(writer.open("/dev/mailbox0", os.O_RDWR), b"hello")
    kernel.rmmod("mailbox")
    assert kernel.findings.reports == []

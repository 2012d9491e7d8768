"""The log, as programs read it on a distribution's kernel: syslog(2), /dev/kmsg, /proc/kmsg are its code."""

import pytest

from kmod_emu.samples import path
from kmod_emu.user.execute import STDOUT
from tests.user.conftest import BUSYBOX, needs_busybox

pytestmark = needs_busybox


@pytest.fixture
def sh(real):
    real.userland.install_busybox(BUSYBOX)

    def run(command):
        result = real.userland.execute("/bin/busybox", ["sh", "-c", command], stderr=STDOUT, time_limit=30)
        return result.stdout.decode().splitlines()

    return run


def _texts(lines):
    return [line.partition("] ")[2] for line in lines]


def test_dmesg_is_the_machines_log(real, sh):
    real.insmod(path("hello"))
    assert _texts(sh("dmesg"))[-100:] == real.dmesg()[-100:]
    assert "hello" in "".join(_texts(sh("dmesg -c"))[-3:])
    assert sh("dmesg") == []


def test_what_python_says_is_heard_too(real, sh):
    real.printk.emit("a report of the machine's\n", 3)
    assert sh("dmesg -r")[-1].partition("[")[0] == "<3>"
    assert _texts(sh("dmesg"))[-1] == "a report of the machine's"


def test_who_waits_for_the_log_is_woken(real, sh):
    reads = "grep -m 1 -o '12,[0-9]*,[0-9]*,-;later' /dev/kmsg | cut -d, -f1"
    assert sh(f"(sleep 1; echo '<4>later' > /dev/kmsg) & {reads}") == ["12"]
    assert real.dmesg()[-1] == "later"
    assert sh("(sleep 1; echo '<4>more' > /dev/kmsg) & grep -m 1 -o more /proc/kmsg") == ["more"]

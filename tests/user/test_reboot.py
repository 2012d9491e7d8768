"""reboot(2) and what modules call to end the machine (kernel/reboot.c)."""

import errno

import pytest

from kmod_emu import Kernel
from kmod_emu.errors import Killed

MAGIC = 0xFEE1DEAD, 672274793
RESTART, HALT, POWER_OFF, RESTART2 = 0x1234567, 0xCDEF0123, 0x4321FEDC, 0xA1B2C3D4


@pytest.fixture
def told(kernel):
    """A machine whose reboot notifier is Python's, and what it was told."""
    seen = []

    @kernel.export("int watch_reboot(struct notifier_block *nb, unsigned long event, void *cmd)")
    def watch_reboot(kernel, nb, event, cmd):
        seen.append((event, kernel.memory.read_text(cmd) if cmd else ""))
        return 0

    block = kernel.heap.kmalloc(24)
    kernel.memory.write_u64(block, kernel.symbol("watch_reboot"))
    assert kernel.call(kernel.symbol("register_reboot_notifier"), block) == 0
    return seen


@pytest.fixture
def kernel():
    return Kernel()


@pytest.mark.parametrize(
    ("cmd", "event", "line"),
    [
        (RESTART, 1, "reboot: Restarting system"),
        (HALT, 2, "reboot: System halted"),
        (POWER_OFF, 3, "reboot: Power down"),
    ],
)
def test_notifiers_are_told_before_the_end(kernel, told, cmd, event, line):
    process = kernel.process()
    with pytest.raises(Killed):
        process.enter("reboot", *MAGIC, cmd, 0)
    assert told == [(event, "")]
    assert kernel.dmesg()[-1] == line


def test_a_restart_may_have_a_command(kernel, told):
    process = kernel.process()
    with pytest.raises(Killed):
        process.enter("reboot", *MAGIC, RESTART2, process.put(b"recovery\0"))
    assert told == [(1, "recovery")]
    assert kernel.dmesg()[-1] == "reboot: Restarting system with command 'recovery'"


def test_refusals_tell_nobody(kernel, told):
    process = kernel.process()
    assert process.syscall("reboot", 1, MAGIC[1], RESTART, 0) == -errno.EINVAL
    assert process.syscall("reboot", *MAGIC, 77, 0) == -errno.EINVAL
    assert process.syscall("reboot", *MAGIC, RESTART2, 0) == -errno.EFAULT
    assert process.syscall("reboot", *MAGIC, 0, 0) == 0
    assert kernel.process(uid=1000).syscall("reboot", *MAGIC, RESTART, 0) == -errno.EPERM
    assert told == []


def test_a_module_may_end_it(kernel, told):
    with pytest.raises(Killed):
        kernel.call(kernel.symbol("kernel_power_off"))
    assert told == [(3, "")]
    assert kernel.dmesg()[-1] == "reboot: Power down"

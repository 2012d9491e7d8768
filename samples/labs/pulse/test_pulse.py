import errno
import re

import pytest

from kmod_emu import KernelError


def counts(kernel):
    """Beats that were dealt with, and that wait."""
    said = re.fullmatch(rb"done: (\d+), waiting: (\d+)\n", kernel.cat("/proc/pulse"))
    return int(said[1]), int(said[2])


def write(process, text):
    fd = process.open("/proc/pulse", 1)
    process.write(fd, text)
    process.close(fd)


def test_beats(insmod, kernel):
    insmod("pulse.c", "period=200")
    kernel.advance(4.15)
    done, waiting = counts(kernel)
    assert done == pytest.approx(20, abs=1)
    assert waiting <= 1


@pytest.mark.parametrize("period", ["0", "10001"])
def test_wrong_period(insmod, period):
    with pytest.raises(KernelError) as refused:
        insmod("pulse.c", f"period={period}")
    assert refused.value.errno == errno.EINVAL


def test_slow_thread(insmod, kernel):
    insmod("pulse.c", "period=200 work=500")
    kernel.advance(4.15)
    done, waiting = counts(kernel)
    assert done == pytest.approx(7, abs=1)
    assert done + waiting + 1 == pytest.approx(20, abs=1)  # one is in work


def test_sleeps(insmod, kernel):
    insmod("pulse.c", "period=10000")
    kernel.advance(1)
    pulse = next(task for task in kernel.tasks.by_pid.values() if task.comm == "pulse")
    state = re.search(rb"^State:\t(.*)$", kernel.cat(f"/proc/{pulse.pid}/status"), re.MULTILINE)
    assert state[1] == b"S (sleeping)"


def test_another_period(insmod, kernel, process):
    insmod("pulse.c", "period=10000")
    write(process, b"100")
    kernel.advance(1.1)
    before, _ = counts(kernel)
    assert before == pytest.approx(10, abs=1)
    write(process, b"0")
    kernel.advance(1)
    assert counts(kernel) == (before, 0)
    write(process, b"40")
    kernel.advance(1.1)
    assert counts(kernel)[0] > before + 20


def test_removal(insmod, kernel):
    for after in (0, 0.05, 1.11):
        insmod("pulse.c", "work=250")
        kernel.advance(after)
        kernel.rmmod("pulse")
        kernel.advance(1)

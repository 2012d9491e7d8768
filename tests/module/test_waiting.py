"""Loads that wait for other loads (kernel/module/main.c: module_wq)."""

import errno

import pytest

from kmod_emu import Kernel, KernelError, Killed
from kmod_emu.errors import SleepsForever
from tests.conftest import RECORDINGS
from tests.module.replay import CASES

HELLO = (CASES / "h_hello.ko").read_bytes()
RETURNS = (CASES / "h_ret.ko").read_bytes()
PROVIDER, CONSUMER = (
    (RECORDINGS / "behaviour" / f"b_{name}.ko").read_bytes() for name in ("provider", "consumer")
)


def start(kernel: Kernel, image: bytes, params: bytes = b""):
    """A process that has entered init_module and is left there."""
    process = kernel.process(comm="insmod")
    process.start("init_module", process.put(image), len(image), process.put(params + b"\0"))
    return process


def slow(kernel: Kernel, seconds: int = 1) -> None:
    """printk takes its time: so does an init that prints a line."""

    @kernel.export("int _printk(const char *fmt)")
    async def _printk(kernel, fmt: int) -> int:
        await kernel.sched.sleep(seconds * 10**9)
        return 0


def test_the_same_name_twice_at_once_is_loaded_once():
    kernel = Kernel()
    slow(kernel)
    with start(kernel, HELLO) as first:
        kernel.sleep(0.5)
        with pytest.raises(KernelError) as refusal:
            kernel.insmod(HELLO)
        assert refusal.value.errno == errno.EEXIST
        assert first.wait() == 0


def test_while_it_is_loaded_it_cannot_be_removed():
    kernel = Kernel()
    slow(kernel)
    with start(kernel, HELLO) as first:
        kernel.sleep(0.5)
        with pytest.raises(KernelError) as refusal:
            kernel.rmmod("h_hello")
        assert refusal.value.errno == errno.EBUSY
        assert kernel.cat("/sys/module/h_hello/initstate") == b"coming\n"
        first.wait()


def test_after_an_oops_in_init_the_name_is_taken_for_ever():
    kernel = Kernel()
    with pytest.raises(Killed):
        kernel.insmod(RETURNS, "mode=nullread")
    before = kernel.held()
    with pytest.raises(SleepsForever):
        kernel.insmod(RETURNS)  # waits; its process is then killed, which gives everything back
    assert kernel.held() == before
    assert [module.name for module in kernel.modules] == ["h_ret"]


def test_a_dependent_waits_for_the_init_of_what_it_needs():
    kernel = Kernel()
    slow(kernel)
    with start(kernel, PROVIDER) as provider:
        kernel.sleep(0.5)
        kernel.insmod(CONSUMER)
        assert provider.wait() == 0
    assert kernel.cat("/proc/modules").split()[0] == b"b_consumer"


def test_a_dependent_gives_up_after_30_seconds():
    kernel = Kernel()
    slow(kernel, 100)
    with start(kernel, PROVIDER) as provider:
        kernel.sleep(0.5)
        began = kernel.clock.now_ns
        with pytest.raises(KernelError) as refusal:
            kernel.insmod(CONSUMER)
        assert refusal.value.errno == errno.EBUSY
        assert 59 <= (kernel.clock.now_ns - began) / 10**9 < 61  # each of its two symbols is waited for
        assert [line for line in kernel.dmesg() if "b_consumer" in line][-4:] == [
            "b_consumer: gave up waiting for init of module b_provider.",
            "b_consumer: Unknown symbol b_shared (err -16)",
            "b_consumer: gave up waiting for init of module b_provider.",
            "b_consumer: Unknown symbol b_next (err -16)",
        ]
        assert provider.wait() == 0

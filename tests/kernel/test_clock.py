"""Virtual time."""

import time

import pytest

from kmod_emu import Kernel
from kmod_emu.kernel.clock import BOOT_NS, NSEC_PER_SEC
from tests.kernel.conftest import Guest


def test_time_starts_at_boot(kernel, guest):
    assert kernel.clock.now_ns == BOOT_NS
    assert 0 < guest.export("ktime_get") - BOOT_NS < 1000
    assert guest.export("ktime_get_seconds") == BOOT_NS // NSEC_PER_SEC


def test_jiffies_start_five_minutes_before_they_wrap(kernel):
    start = (1 << 32) - 300 * 250
    assert kernel.memory.read_u64(kernel.symbol("jiffies")) == start + 2 * 250


def test_jiffies_follow_the_clock(kernel):
    before = kernel.memory.read_u64(kernel.symbol("jiffies"))
    kernel.clock.advance(3_999_999)
    assert kernel.memory.read_u64(kernel.symbol("jiffies")) == before
    kernel.clock.advance(1)
    assert kernel.memory.read_u64(kernel.symbol("jiffies")) == before + 1 == kernel.clock.jiffies


def test_time_never_goes_back(kernel):
    kernel.clock.jump(BOOT_NS - 1)
    assert kernel.clock.now_ns == BOOT_NS


@pytest.mark.parametrize(("msecs", "slept_ns"), [(0, 8), (1, 12), (4, 12), (10, 20), (10_000, 10_256)])
def test_msleep_rounds_up_to_ticks_and_waits_for_the_timer_wheel(kernel, guest, msecs, slept_ns):
    guest.export("msleep", msecs)
    assert kernel.clock.now_ns - BOOT_NS == slept_ns * 1_000_000


def test_sleeping_takes_no_real_time(guest):
    start = time.monotonic()
    guest.export("msleep", 1_000_000)
    assert time.monotonic() - start < 5


@pytest.mark.parametrize(
    ("function", "argument", "expected"),
    [("__udelay", 7, 7000), ("__ndelay", 7, 7), ("__const_udelay", 5 * 0x10C7, 5000)],
)
def test_delays_advance_the_clock(kernel, guest, function, argument, expected):
    guest.export(function, argument)
    assert abs(kernel.clock.now_ns - BOOT_NS - expected) <= 1


def test_wall_clock(kernel, guest):
    place = guest.data(b"", 16)
    guest.export("ktime_get_real_ts64", place)
    seconds, nanoseconds = kernel.memory.read_u64(place), kernel.memory.read_u64(place + 8)
    assert seconds == guest.export("ktime_get_real_seconds")
    assert 0 < nanoseconds < 1000  # looking at a clock takes time
    kernel.clock.advance(1_500_000_000)
    guest.export("ktime_get_real_ts64", place)
    later = kernel.memory.read_u64(place + 8)
    assert (kernel.memory.read_u64(place), later // 1000) == (seconds + 1, 500_000)


@pytest.mark.parametrize(
    ("msecs", "ticks"), [(0, 0), (1, 1), (4, 1), (5, 2), (1000, 250), (0x8000_0000, 0x3FFF_FFFF_FFFF_FFFE)]
)
def test_msecs_to_jiffies(guest, msecs, ticks):
    assert guest.export("__msecs_to_jiffies", msecs) == ticks


def test_two_machines_agree_to_the_nanosecond():
    clocks = []
    for kernel in (Kernel(), Kernel()):
        for _ in range(3):
            kernel.call(kernel.symbol("msleep"), 7)
            kernel.printk.emit("tick\n")
        clocks.append(kernel.clock.now_ns)
    assert clocks[0] == clocks[1] > BOOT_NS


def test_a_loop_that_waits_for_the_clock_ends(kernel, guest):
    """Looking takes time, more and more if nothing else is done: two seconds are over soon."""
    end = BOOT_NS + 2 * NSEC_PER_SEC
    code = (
        "push rbx; push r12; xor r12d, r12d; mov rbx, {end}; again: inc r12; call {ktime_get}; cmp rax, rbx; "
    )
    looks = guest.call(code + "jb again; mov rax, r12; pop r12; pop rbx; ret", end=end)
    assert end <= kernel.clock.now_ns < end + 100_000
    assert looks < 120_000


def measured(kernel, guest, work):
    """How many rounds of some work fit into four ticks, as raid6_pq measures it."""
    source = f"""
        mov rdx, {kernel.symbol("jiffies"):#x}
        mov rcx, [rdx]
    first: cmp rcx, [rdx]
        je first
        mov rcx, [rdx]
        add rcx, 4
        xor eax, eax
    again: mov r8d, {work}
    spend: dec r8d
        jnz spend
        inc eax
        cmp [rdx], rcx
        js again
        ret
    """
    return guest.call(source)


def test_code_that_measures_itself_in_ticks_ends_each_time_alike(kernel, guest):
    """Lib/raid6/algos.c does; its rounds are too long to be followed instruction by instruction."""
    kernel.percpu.write("__preempt_count", 0x8000_0001, 4)
    before = kernel.clock.now_ns
    rounds = measured(kernel, guest, 200_000)
    assert 0 < rounds < 2000
    assert kernel.clock.now_ns - before >= 4 * 4_000_000
    other = Kernel()
    other.percpu.write("__preempt_count", 0x8000_0001, 4)
    assert measured(other, Guest(other), 200_000) == rounds


def test_one_look_at_jiffies_costs_next_to_nothing(kernel, guest):
    before = kernel.clock.now_ns
    assert guest.call(f"mov rdx, {kernel.symbol('jiffies'):#x}; mov rax, [rdx]; ret") == kernel.clock.jiffies
    assert kernel.clock.now_ns - before < 1000

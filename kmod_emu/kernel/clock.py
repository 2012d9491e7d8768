"""Virtual time: nanoseconds since boot.

Time passes with work done, a fixed amount for each thing, and jumps when every task sleeps; so two runs
agree to the nanosecond.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from kmod_emu.kernel.exports import export, export_data
from kmod_emu.machine.memory import PAGE_SIZE

if TYPE_CHECKING:
    from kmod_emu.kernel.kernel import KernelCore

NSEC_PER_SEC = 1_000_000_000
BOOT_NS = 2 * NSEC_PER_SEC  # what booting "took"
SYSCALL_NS = 2_000
PRINTK_NS = 1_000
# The wall clock at boot: fixed, so that nothing the machine says depends on the day it runs.
EPOCH_AT_BOOT_NS = 1_700_000_000 * NSEC_PER_SEC


class Clock:
    """The machine's time, and `jiffies` in guest memory."""

    def __init__(self, kernel: KernelCore) -> None:
        self._kernel = kernel
        self.now_ns = BOOT_NS

    def advance(self, duration_ns: int) -> None:
        """Work was done that takes this long."""
        self.jump(self.now_ns + duration_ns)

    def jump(self, time_ns: int) -> None:
        """Time is now `time_ns` (never goes back)."""
        hz = self._kernel.profile.hz
        before, self.now_ns = self.now_ns, max(self.now_ns, time_ns)
        if before * hz // NSEC_PER_SEC != self.now_ns * hz // NSEC_PER_SEC:
            self._kernel.memory.write_u64(self._kernel.symbols.address("jiffies"), self.jiffies)

    @property
    def jiffies(self) -> int:
        """The tick counter; it starts 300 seconds before its lower half wraps (include/linux/jiffies.h)."""
        hz = self._kernel.profile.hz
        return (-300 * hz & 0xFFFF_FFFF) + self.now_ns * hz // NSEC_PER_SEC

    def save(self) -> Any:
        """State for a snapshot or file."""
        return self.now_ns

    def load(self, state: Any) -> None:
        """Put saved state back."""
        self.now_ns = int(state)


@export_data("unsigned long volatile jiffies", PAGE_SIZE)  # a page of its own: see Scheduler._execute
def jiffies(kernel: KernelCore, address: int) -> None:
    """The tick counter (kernel/time/timer.c)."""
    kernel.memory.write_u64(address, kernel.clock.jiffies)


@export("ktime_t ktime_get(void)")
def ktime_get(kernel: KernelCore) -> int:
    """Monotonic nanoseconds (kernel/time/timekeeping.c)."""
    return kernel.clock.now_ns


@export("u64 ktime_get_ns(void)")
def ktime_get_ns(kernel: KernelCore) -> int:
    """As ktime_get."""
    return kernel.clock.now_ns


@export("time64_t ktime_get_real_seconds(void)")
def ktime_get_real_seconds(kernel: KernelCore) -> int:
    """Seconds since 1970 (kernel/time/timekeeping.c)."""
    return (EPOCH_AT_BOOT_NS + kernel.clock.now_ns) // NSEC_PER_SEC


@export("time64_t ktime_get_seconds(void)")
def ktime_get_seconds(kernel: KernelCore) -> int:
    """Monotonic seconds (kernel/time/timekeeping.c)."""
    return kernel.clock.now_ns // NSEC_PER_SEC


@export("void ktime_get_real_ts64(struct timespec64 *ts)")
def ktime_get_real_ts64(kernel: KernelCore, ts: int) -> None:
    """Wall clock as seconds and nanoseconds (kernel/time/timekeeping.c)."""
    now = EPOCH_AT_BOOT_NS + kernel.clock.now_ns
    kernel.memory.write_u64(ts, now // NSEC_PER_SEC)
    kernel.memory.write_u64(ts + 8, now % NSEC_PER_SEC)


@export("void msleep(unsigned int msecs)")
async def msleep(kernel: KernelCore, msecs: int) -> None:
    """Sleep without being woken early (kernel/time/timer.c); one tick is added, as the kernel does."""
    hz = kernel.profile.hz
    ticks = -(-msecs * hz // 1000) + 1
    await kernel.sched.sleep(ticks * NSEC_PER_SEC // hz)


@export("void __udelay(unsigned long usecs)")
def __udelay(kernel: KernelCore, usecs: int) -> None:
    """Busy-wait (arch/x86/lib/delay.c)."""
    kernel.clock.advance(usecs * 1000)


@export("void __const_udelay(unsigned long xloops)")
def __const_udelay(kernel: KernelCore, xloops: int) -> None:
    """Busy-wait; the argument is microseconds times 2^32 / 10^6 (arch/x86/lib/delay.c)."""
    kernel.clock.advance(xloops * 1_000_000_000 >> 32)


@export("void __ndelay(unsigned long nsecs)")
def __ndelay(kernel: KernelCore, nsecs: int) -> None:
    """Busy-wait (arch/x86/lib/delay.c)."""
    kernel.clock.advance(nsecs)


@export("unsigned long __msecs_to_jiffies(const unsigned int m)")
def __msecs_to_jiffies(kernel: KernelCore, m: int) -> int:
    """Round up to ticks (kernel/time/time.c)."""
    return 0x3FFF_FFFF_FFFF_FFFE if m >> 31 else -(-m * kernel.profile.hz // 1000)

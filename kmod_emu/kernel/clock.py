"""Virtual time: nanoseconds since boot.

Time passes with work done, a fixed amount for each thing, and jumps when every task sleeps; so two runs
agree to the nanosecond.
"""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING, Any

from kmod_emu.kernel.exports import export

if TYPE_CHECKING:
    from collections.abc import Callable

    from kmod_emu.kernel.kernel import KernelCore

NSEC_PER_SEC = 1_000_000_000
BOOT_NS = 2 * NSEC_PER_SEC  # what booting "took"
SYSCALL_NS = 2_000
PRINTK_NS = 1_000
LOOK_NS, MAX_LOOK_NS = 50, 20_000
LOOKS_A_TICK = 8  # of code that goes on looking at jiffies
# The wall clock at boot: fixed, so that nothing the machine says depends on the day it runs.
EPOCH_AT_BOOT_NS = 1_700_000_000 * NSEC_PER_SEC
_TIMESPEC = struct.Struct("<QQ")


class Clock:
    """The machine's time, and `jiffies` in guest memory."""

    def __init__(self, kernel: KernelCore) -> None:
        self._kernel = kernel
        self.now_ns = BOOT_NS
        self._tick_ns = 0  # when `jiffies` has to change next
        self._looks, self._last_look = 0, -1
        self._ticks_looks, self._last_ticks_look = 0, -1
        self.moved: Callable[[], None] = lambda: None  # the scheduler looks at what is due

    def advance(self, duration_ns: int) -> None:
        """Work was done that takes this long."""
        self.jump(self.now_ns + duration_ns)

    def jump(self, time_ns: int) -> None:
        """Time is now `time_ns` (never goes back)."""
        self.now_ns = max(self.now_ns, time_ns)
        if self.now_ns >= self._tick_ns:
            self._tick_ns = self.next_tick_ns
            for name in ("jiffies", "jiffies_64"):
                self._kernel.memory.write_u64(self._kernel.symbols.address(name), self.jiffies)
        self.moved()

    def look(self) -> int:
        """Nanoseconds since boot, for guest code.

        Code that does nothing but look is given bigger and bigger steps.
        """
        self._looks = self._looks + 1 if self.now_ns == self._last_look else 0
        self.advance(min(LOOK_NS << (self._looks >> 6), MAX_LOOK_NS))
        self._last_look = self.now_ns
        return self.now_ns

    def look_at_jiffies(self) -> int:
        """The tick counter, for guest code that may be waiting for it to change (jiffies.py)."""
        self._ticks_looks = self._ticks_looks + 1 if self.now_ns == self._last_ticks_look else 0
        self.advance(min(LOOK_NS << (self._ticks_looks >> 4), self.tick_ns // LOOKS_A_TICK))
        self._last_ticks_look = self.now_ns
        return self.jiffies

    @property
    def tick_ns(self) -> int:
        """How long a tick is."""
        return NSEC_PER_SEC // self._kernel.profile.hz

    @property
    def jiffies(self) -> int:
        """The tick counter; it starts 300 seconds before its lower half wraps (include/linux/jiffies.h)."""
        hz = self._kernel.profile.hz
        return self._initial_jiffies + self.now_ns * hz // NSEC_PER_SEC

    @property
    def _initial_jiffies(self) -> int:
        return -300 * self._kernel.profile.hz & 0xFFFF_FFFF

    def time_of(self, jiffies: int) -> int:
        """The moment at which the tick counter reaches a value."""
        return (jiffies - self._initial_jiffies) * NSEC_PER_SEC // self._kernel.profile.hz

    @property
    def next_tick_ns(self) -> int:
        """The moment of the next tick."""
        return self.time_of(self.jiffies + 1)

    def save(self) -> Any:
        """State for a snapshot or file."""
        return [self.now_ns, self._looks, self._last_look, self._ticks_looks, self._last_ticks_look]

    def load(self, state: Any) -> None:
        """Put saved state back."""
        self.now_ns, self._looks, self._last_look, self._ticks_looks, self._last_ticks_look = state
        self._tick_ns = self.next_tick_ns


def _define_clocks() -> None:
    """One clock under many names and units.

    Looking costs time, as it does: a loop that waits for a time ends.
    """
    sources = {
        "ktime_get": 0,
        "ktime_get_raw": 0,
        "ktime_get_boottime": 0,
        "ktime_get_real": EPOCH_AT_BOOT_NS,
        "ktime_get_clocktai": EPOCH_AT_BOOT_NS,
        "ktime_get_ns": 0,
        "ktime_get_raw_ns": 0,
        "ktime_get_mono_fast_ns": 0,
        "ktime_get_raw_fast_ns": 0,
        "ktime_get_boot_fast_ns": 0,
        "ktime_get_real_fast_ns": EPOCH_AT_BOOT_NS,
        "sched_clock": 0,
        "local_clock": 0,
    }

    def define(name: str, offset: int) -> None:
        @export(f"u64 {name}(void)")
        def read(kernel: KernelCore) -> int:
            """Nanoseconds (kernel/time/timekeeping.c)."""
            return offset + kernel.clock.look()

        @export(f"void {name}_ts64(struct timespec64 *ts)")
        def read_ts64(kernel: KernelCore, ts: int) -> None:
            """Seconds and nanoseconds (kernel/time/timekeeping.c)."""
            now = offset + kernel.clock.look()
            kernel.memory.write(ts, _TIMESPEC.pack(*divmod(now, NSEC_PER_SEC)))

    for name, offset in sources.items():
        define(name, offset)

    def define_coarse(name: str, offset: int) -> None:
        @export(f"void ktime_get_coarse{name}_ts64(struct timespec64 *ts)")
        def read_ts64(kernel: KernelCore, ts: int) -> None:
            """The time at the last tick (kernel/time/timekeeping.c)."""
            tick = NSEC_PER_SEC // kernel.profile.hz
            now = (offset + kernel.clock.now_ns) // tick * tick
            kernel.memory.write(ts, _TIMESPEC.pack(*divmod(now, NSEC_PER_SEC)))

    define_coarse("", 0)
    define_coarse("_real", EPOCH_AT_BOOT_NS)


_define_clocks()


@export("ktime_t ktime_get_with_offset(enum tk_offsets offs)")
def ktime_get_with_offset(kernel: KernelCore, offs: int) -> int:
    """Another clock: 0 wall clock, 1 time since boot, 2 atomic time (kernel/time/timekeeping.c)."""
    return kernel.clock.look() + (0 if offs == 1 else EPOCH_AT_BOOT_NS)


@export("ktime_t ktime_get_coarse_with_offset(enum tk_offsets offs)")
def ktime_get_coarse_with_offset(kernel: KernelCore, offs: int) -> int:
    """Another clock at the last tick (kernel/time/timekeeping.c)."""
    tick = NSEC_PER_SEC // kernel.profile.hz
    return (kernel.clock.now_ns + (0 if offs == 1 else EPOCH_AT_BOOT_NS)) // tick * tick


@export("time64_t ktime_get_real_seconds(void)")
def ktime_get_real_seconds(kernel: KernelCore) -> int:
    """Seconds since 1970 (kernel/time/timekeeping.c)."""
    return (EPOCH_AT_BOOT_NS + kernel.clock.now_ns) // NSEC_PER_SEC


@export("time64_t ktime_get_seconds(void)")
def ktime_get_seconds(kernel: KernelCore) -> int:
    """Monotonic seconds (kernel/time/timekeeping.c)."""
    return kernel.clock.now_ns // NSEC_PER_SEC


@export("void getboottime64(struct timespec64 *ts)")
def getboottime64(kernel: KernelCore, ts: int) -> None:
    """When the machine booted (kernel/time/timekeeping.c)."""
    kernel.memory.write(ts, _TIMESPEC.pack(*divmod(EPOCH_AT_BOOT_NS, NSEC_PER_SEC)))


@export("u64 get_jiffies_64(void)")
def get_jiffies_64(kernel: KernelCore) -> int:
    """The tick counter (kernel/time/jiffies.c)."""
    return kernel.clock.jiffies


@export("void __udelay(unsigned long usecs)")
async def __udelay(kernel: KernelCore, usecs: int) -> None:
    """Busy-wait (arch/x86/lib/delay.c)."""
    await kernel.sched.delay(usecs * 1000)


@export("void __const_udelay(unsigned long xloops)")
async def __const_udelay(kernel: KernelCore, xloops: int) -> None:
    """Busy-wait; the argument is microseconds times 2^32 / 10^6 (arch/x86/lib/delay.c)."""
    await kernel.sched.delay(xloops * 1_000_000_000 >> 32)


@export("void __ndelay(unsigned long nsecs)")
async def __ndelay(kernel: KernelCore, nsecs: int) -> None:
    """Busy-wait (arch/x86/lib/delay.c)."""
    await kernel.sched.delay(nsecs)

"""Time: clocks, timers, delays."""

from __future__ import annotations

from typing import TYPE_CHECKING

from kmod_emu.kernel import hrtimer
from kmod_emu.vmlinux.frontier.table import Frontier

if TYPE_CHECKING:
    from kmod_emu.kernel.kernel import KernelCore

frontier = Frontier(__name__)

_PENDING_ONLY, _REDUCE = 1, 2  # MOD_TIMER_*
_CLOCK = "time is virtual: it passes with work done and jumps when everybody sleeps"
_TIMERS = "timers are events in the agenda of virtual time, which jumps from one to the next"

frontier.shared(
    _CLOCK,
    "ktime_get ktime_get_raw ktime_get_with_offset ktime_get_coarse_with_offset ktime_get_seconds"
    " ktime_get_real_seconds ktime_get_ts64 ktime_get_real_ts64 ktime_get_raw_ts64 ktime_get_coarse_ts64"
    " ktime_get_coarse_real_ts64 ktime_get_mono_fast_ns ktime_get_raw_fast_ns ktime_get_boot_fast_ns"
    " ktime_get_real_fast_ns sched_clock __udelay __ndelay __const_udelay",
)
frontier.nothing(
    _CLOCK,
    "tick_init tick_irq_enter sched_clock_init calibrate_delay x86_late_time_init tsc_init",
)
frontier.answers(_CLOCK, "timekeeping_notify clocksource_done_booting")


@frontier.replace("void time_init(void)", _CLOCK)
def time_init(kernel: KernelCore) -> None:
    """Timers of high resolution are there from the start (kernel/time/hrtimer.c: hrtimer_switch_to_hres)."""
    kernel.memory.write_u32(kernel.symbol("hrtimer_resolution"), 1)


frontier.shared(
    _TIMERS,
    "add_timer_on try_to_del_timer_sync del_timer timer_delete timer_delete_sync"
    " timer_shutdown timer_shutdown_sync hrtimer_start_range_ns hrtimer_try_to_cancel hrtimer_active"
    " hrtimer_try_to_cancel.part.0"
    " __hrtimer_get_remaining",
)


@frontier.replace(
    "bool tick_nohz_tick_stopped(void)", "nothing ticks: what would wait for the next tick must not"
)
def tick_nohz_tick_stopped(kernel: KernelCore) -> bool:
    """Always: lazy irq_work is done at once (kernel/time/tick-sched.c)."""
    return True


@frontier.replace(
    "bool hrtimer_start_range_ns_user(struct hrtimer *timer, ktime_t tim, u64 delta_ns, int mode)", _TIMERS
)
def hrtimer_start_range_ns_user(kernel: KernelCore, timer: int, tim: int, delta_ns: int, mode: int) -> int:
    """Arm a timer for a program; false if that time is over, and it is not armed (kernel/time/hrtimer.c)."""
    hrtimer.hrtimer_start_range_ns(kernel, timer, tim, delta_ns, mode)
    hrtimers = kernel.hrtimers
    ahead = hrtimers.offset(hrtimers.clock(kernel.view("hrtimer", timer)))
    over = hrtimers.expires(timer) <= kernel.clock.now_ns + ahead
    return int(not (over and hrtimers.disarm(timer)))


@frontier.replace(
    "int __mod_timer(struct timer_list *timer, unsigned long expires, unsigned int options)", _TIMERS
)
def __mod_timer(kernel: KernelCore, timer: int, expires: int, options: int) -> int:
    """Arm a timer, or change one that is armed (kernel/time/timer.c)."""
    timers = kernel.timers
    if not kernel.view("timer_list", timer).function:  # it was shut down, or never set up
        return 0
    if options & _PENDING_ONLY and not timers.pending(timer):
        return 0
    if options & _REDUCE and timers.pending(timer) and timers.expires(timer) <= expires:
        return 1
    return int(timers.arm(timer, expires))


@frontier.replace("int __timer_delete_sync(struct timer_list *timer, bool shutdown)", _TIMERS)
def __timer_delete_sync(kernel: KernelCore, timer: int, shutdown: int) -> int:
    """Disarm a timer, perhaps for good: it has no function then (kernel/time/timer.c)."""
    was = kernel.timers.disarm(timer)
    if shutdown:
        kernel.view("timer_list", timer).function = 0
    return int(was)


@frontier.replace("int detach_if_pending(struct timer_list *timer, void *base, bool clear_pending)", _TIMERS)
def detach_if_pending(kernel: KernelCore, timer: int, base: int, clear_pending: int) -> int:
    """Disarm a timer; 1 if it was armed (kernel/time/timer.c)."""
    return int(kernel.timers.disarm(timer))

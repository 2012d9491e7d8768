"""High-resolution timers.

Callbacks in hard interrupt context, exact to the nanosecond (kernel/time/hrtimer.c).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from kmod_emu.kernel.activation import to_int
from kmod_emu.kernel.clock import EPOCH_AT_BOOT_NS
from kmod_emu.kernel.exports import export, export_data
from kmod_emu.kernel.schedule import TASK_NORMAL, try_to_wake_up
from kmod_emu.kernel.softirq import call_hardirq, call_softirq

if TYPE_CHECKING:
    from kmod_emu.abi.structs import StructView
    from kmod_emu.kernel.kernel import KernelCore

CLOCK_REALTIME, CLOCK_MONOTONIC, CLOCK_BOOTTIME, CLOCK_TAI = 0, 1, 7, 11
_MODE_REL, _MODE_SOFT = 1, 4
_ENQUEUED = 1  # HRTIMER_STATE_ENQUEUED
_RESTART = 1  # HRTIMER_RESTART
_KTIME_MAX = (1 << 63) - 1
_CLOCKS = {
    CLOCK_MONOTONIC: "ktime_get",
    CLOCK_REALTIME: "ktime_get_real",
    CLOCK_BOOTTIME: "ktime_get_boottime",
    CLOCK_TAI: "ktime_get_clocktai",
}
# struct hrtimer_clock_base, of which inlined hrtimer_cb_get_time() reads get_time; the same up to 6.12
_BASE_SIZE, _BASE_CLOCK, _BASE_GET_TIME, _BASE_OFFSET = 64, 12, 48, 56


class HrTimers:
    """Which timers are armed, and the clocks they follow.

    Attributes:
        bases: Address of the clock bases; a real kernel has a second set behind them, for softirqs.
    """

    def __init__(self, kernel: KernelCore) -> None:
        self._kernel = kernel
        self._tickets: dict[int, int] = {}
        layout = kernel.profile.struct("hrtimer")
        node = layout.members["node"]
        self._expires = node.offset + node.size - 8
        self.bases = kernel.symbols.address("hrtimer_bases")
        kernel.sched.on("hrtimer", self._fire)
        kernel.sched.on("wake", self._wake)

    @staticmethod
    def offset(clock: int) -> int:
        """How far a clock is ahead of monotonic time."""
        return EPOCH_AT_BOOT_NS if clock in (CLOCK_REALTIME, CLOCK_TAI) else 0

    def base(self, clock: int) -> int:
        """The clock base of a clock id."""
        index = list(_CLOCKS).index(clock) if clock in _CLOCKS else 0
        return self.bases + index * _BASE_SIZE

    def clock(self, timer: StructView) -> int:
        """The clock id of a timer."""
        return list(_CLOCKS)[(timer.base - self.bases) // _BASE_SIZE % len(_CLOCKS)]

    def expires(self, timer: int) -> int:
        """When it is to fire, by its clock."""
        return self._kernel.memory.read_u64(timer + self._expires)

    def set_expires(self, timer: int, time_ns: int) -> None:
        """Say when; does not arm it."""
        self._kernel.memory.write_u64(timer + self._expires, time_ns)
        self._kernel.view("hrtimer", timer).set("_softexpires", time_ns)

    def active(self, timer: int) -> bool:
        """Whether it is armed."""
        return timer in self._tickets

    def arm(self, timer: int) -> None:
        """Arm for the time it has."""
        kernel = self._kernel
        self.disarm(timer)
        view = kernel.view("hrtimer", timer)
        time_ns = max(self.expires(timer) - self.offset(self.clock(view)), kernel.clock.now_ns)
        self._tickets[timer] = kernel.sched.agenda.post(time_ns, "hrtimer", timer)
        view.set("state" if view.has("state") else "is_queued", _ENQUEUED)

    def disarm(self, timer: int) -> bool:
        """Disarm; returns whether it was armed."""
        ticket = self._tickets.pop(timer, None)
        if ticket is None:
            return False
        self._kernel.sched.agenda.cancel(ticket)
        self._set_idle(timer)
        return True

    def _set_idle(self, timer: int) -> None:
        view = self._kernel.view("hrtimer", timer)
        view.set("state" if view.has("state") else "is_queued", 0)

    async def _fire(self, timer: int) -> None:
        """The interrupt calls the function, which says whether to go on."""
        kernel = self._kernel
        del self._tickets[timer]
        self._set_idle(timer)
        view = kernel.view("hrtimer", timer)
        call = call_softirq if view.is_soft & 1 else call_hardirq
        again = to_int(await call(kernel, view.function, timer))
        if again == _RESTART and not self.active(timer):
            self.arm(timer)

    async def _wake(self, task: int) -> None:
        """A sleep in nanoseconds is over."""
        if self._kernel.tasks.known(task):
            try_to_wake_up(self._kernel, task, TASK_NORMAL)

    def save(self) -> Any:
        """State for a snapshot or file."""
        return list(self._tickets.items())

    def load(self, state: Any) -> None:
        """Put saved state back."""
        self._tickets = dict(state)


@export_data("struct hrtimer_clock_base hrtimer_bases[]", _BASE_SIZE * len(_CLOCKS))
def hrtimer_bases(kernel: KernelCore, address: int) -> None:
    """The clocks that timers follow (kernel/time/hrtimer.c)."""
    for base, (clock, get_time) in zip(
        range(address, address + 4096, _BASE_SIZE), _CLOCKS.items(), strict=False
    ):
        kernel.memory.write_u32(base + _BASE_CLOCK, clock)
        kernel.memory.write_u64(base + _BASE_GET_TIME, kernel.symbols.address(get_time))
        kernel.memory.write_u64(base + _BASE_OFFSET, kernel.hrtimers.offset(clock))


@export("u64 wake_up_at(s64 time)")
def wake_up_at(kernel: KernelCore, time: int) -> int:
    """Wake the current task at a moment: a sleeper's hrtimer.

    Returns a ticket (guest_kernel_stubs/sleep.c).
    """
    return kernel.sched.agenda.post(max(time, kernel.clock.now_ns), "wake", kernel.sched.current.address)


@export("bool wake_up_cancel(u64 ticket)")
def wake_up_cancel(kernel: KernelCore, ticket: int) -> bool:
    """The task no longer wants to be woken; false if it has been."""
    return kernel.sched.agenda.cancel(ticket)


@export("void hrtimer_init(struct hrtimer *timer, clockid_t clock_id, int mode)")
def hrtimer_init(kernel: KernelCore, timer: int, clock_id: int, mode: int) -> None:
    """Prepare a timer (kernel/time/hrtimer.c)."""
    view = kernel.view("hrtimer", timer)
    kernel.memory.clear(timer, view.layout.size)
    view.base = kernel.hrtimers.base(clock_id)
    view.is_soft = 1 if mode & _MODE_SOFT else 0


@export("void hrtimer_setup(struct hrtimer *timer, void *function, clockid_t clock_id, int mode)")
def hrtimer_setup(kernel: KernelCore, timer: int, function: int, clock_id: int, mode: int) -> None:
    """Prepare a timer with its function; hrtimer_init since 6.13."""
    hrtimer_init(kernel, timer, clock_id, mode)
    kernel.view("hrtimer", timer).function = function


@export("void hrtimer_start_range_ns(struct hrtimer *timer, ktime_t tim, u64 delta_ns, int mode)")
def hrtimer_start_range_ns(kernel: KernelCore, timer: int, tim: int, delta_ns: int, mode: int) -> None:
    """Arm a timer (kernel/time/hrtimer.c).

    It fires at the end of its range, where nothing else interrupts.
    """
    view = kernel.view("hrtimer", timer)
    if not view.base:
        kernel.oopses.bug("an hrtimer was started that hrtimer_init() has not prepared")
    if mode & _MODE_REL:
        tim += kernel.clock.now_ns + kernel.hrtimers.offset(kernel.hrtimers.clock(view))
    kernel.hrtimers.set_expires(timer, min(tim + delta_ns, _KTIME_MAX))
    kernel.hrtimers.arm(timer)


@export("int hrtimer_cancel(struct hrtimer *timer)")
def hrtimer_cancel(kernel: KernelCore, timer: int) -> int:
    """Disarm a timer; 1 if it was armed (kernel/time/hrtimer.c)."""
    return int(kernel.hrtimers.disarm(timer))


@export("int hrtimer_try_to_cancel(struct hrtimer *timer)")
def hrtimer_try_to_cancel(kernel: KernelCore, timer: int) -> int:
    """As hrtimer_cancel: no callback runs on another processor (kernel/time/hrtimer.c)."""
    return int(kernel.hrtimers.disarm(timer))


@export("bool hrtimer_active(const struct hrtimer *timer)")
def hrtimer_active(kernel: KernelCore, timer: int) -> bool:
    """Whether a timer is armed (kernel/time/hrtimer.c)."""
    return kernel.hrtimers.active(timer)


@export("u64 hrtimer_forward(struct hrtimer *timer, ktime_t now, ktime_t interval)")
def hrtimer_forward(kernel: KernelCore, timer: int, now: int, interval: int) -> int:
    """Move the expiry past `now` by whole intervals; returns how many (kernel/time/hrtimer.c)."""
    expires = kernel.hrtimers.expires(timer)
    if now < expires or kernel.hrtimers.active(timer):
        return 0
    overruns = (now - expires) // max(interval, 1) + 1
    kernel.hrtimers.set_expires(timer, expires + overruns * max(interval, 1))
    return overruns


@export("ktime_t __hrtimer_get_remaining(const struct hrtimer *timer, bool adjust)")
def __hrtimer_get_remaining(kernel: KernelCore, timer: int, adjust: bool) -> int:
    """Nanoseconds until a timer fires (kernel/time/hrtimer.c)."""
    clock = kernel.hrtimers.clock(kernel.view("hrtimer", timer))
    return kernel.hrtimers.expires(timer) - kernel.hrtimers.offset(clock) - kernel.clock.now_ns


@export("int hrtimer_get_res(const clockid_t which_clock, struct timespec64 *tp)")
def hrtimer_get_res(kernel: KernelCore, which_clock: int, tp: int) -> int:
    """The resolution of a clock: a nanosecond."""
    kernel.memory.write_u64(tp, 0)
    kernel.memory.write_u64(tp + 8, 1)
    return 0

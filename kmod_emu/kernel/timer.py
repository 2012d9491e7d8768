"""Timers in ticks: `struct timer_list` (kernel/time/timer.c).

An armed timer is known by its address. `entry.pprev` in guest memory is not NULL while it is armed:
inlined timer_pending() reads it. Callbacks run in a softirq, at the tick that the kernel's timer wheel
would choose: one later than asked for, and later still, the farther away it is.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from kmod_emu.kernel.exports import export
from kmod_emu.kernel.softirq import call_softirq

if TYPE_CHECKING:
    from kmod_emu.kernel.kernel import KernelCore

_LEVELS, _LEVEL_BITS, _LEVEL_SHIFT = 9, 6, 3  # for HZ > 100
_PPREV = 8
_POISON = 0xDEAD_0000_0000_0122  # LIST_POISON2, in entry.next of a timer that was disarmed
_TIMER_ORIGINAL_FLAGS = 0x0FFC_0000  # ... what init keeps of flags besides
_MASK64 = (1 << 64) - 1


def wheel_expiry(now: int, expires: int) -> int:
    """The tick at which the wheel fires a timer.

    >>> [wheel_expiry(1000, 1000 + delta) - 1000 for delta in (0, 1, 10, 62, 250, 2500)]
    [1, 2, 11, 63, 256, 2520]
    """
    delta = max(expires - now, 0)
    expires = max(expires, now)
    level = 0
    while level < _LEVELS - 1 and delta >= _level_start(level + 1):
        level += 1
    shift = level * _LEVEL_SHIFT
    return (expires + (1 << shift)) >> shift << shift


def _level_start(level: int) -> int:
    """The first distance that a level of the wheel is used for."""
    return ((1 << _LEVEL_BITS) - 1) << (level - 1) * _LEVEL_SHIFT


class Timers:
    """Which timers are armed."""

    def __init__(self, kernel: KernelCore) -> None:
        self._kernel = kernel
        self._tickets: dict[int, int] = {}
        view = kernel.profile.struct("timer_list")
        self._expires, self._function = view.offset("expires"), view.offset("function")
        kernel.sched.on("timer", self._fire)

    def expires(self, timer: int) -> int:
        """When it is to fire, in jiffies."""
        return self._kernel.memory.read_u64(timer + self._expires)

    def pending(self, timer: int) -> bool:
        """Whether it is armed."""
        return timer in self._tickets

    def arm(self, timer: int, expires: int) -> bool:
        """Arm, or arm anew; returns whether it was armed."""
        kernel = self._kernel
        was = self.disarm(timer)
        kernel.memory.write_u64(timer + self._expires, expires)
        now = kernel.clock.jiffies
        distance = (expires - now & _MASK64) - (1 << 64 if expires - now >> 63 & 1 else 0)
        tick = wheel_expiry(now, now + distance)
        self._tickets[timer] = kernel.sched.agenda.post(kernel.clock.time_of(tick), "timer", timer)
        kernel.memory.write_u64(timer + _PPREV, timer)
        return was

    def disarm(self, timer: int) -> bool:
        """Disarm; returns whether it was armed."""
        ticket = self._tickets.pop(timer, None)
        if ticket is None:
            return False
        self._kernel.sched.agenda.cancel(ticket)
        self._detach(timer)
        return True

    def _detach(self, timer: int) -> None:
        self._kernel.memory.write_u64(timer, _POISON)
        self._kernel.memory.write_u64(timer + _PPREV, 0)

    async def _fire(self, timer: int) -> None:
        """The softirq calls a timer's function."""
        kernel = self._kernel
        del self._tickets[timer]
        function = kernel.memory.read_u64(timer + self._function)
        self._detach(timer)
        await call_softirq(kernel, function, timer)

    def save(self) -> Any:
        """State for a snapshot or file."""
        return list(self._tickets.items())

    def load(self, state: Any) -> None:
        """Put saved state back."""
        self._tickets = dict(state)


@export(
    "void init_timer_key(struct timer_list *timer, void (*func)(struct timer_list *), unsigned int flags,"
    " const char *name, struct lock_class_key *key)"
)
def init_timer_key(kernel: KernelCore, timer: int, func: int, flags: int, name: int, key: int) -> None:
    """Prepare a timer: timer_setup() (kernel/time/timer.c)."""
    view = kernel.view("timer_list", timer)
    kernel.memory.write_u64(timer + _PPREV, 0)
    view.function, view.flags = func, flags


def _has_function(kernel: KernelCore, timer: int) -> bool:
    """A timer without function was shut down, or never set up; it is not armed.

    Before timers could be shut down the kernel stopped with BUG_ON(!timer->function).
    """
    if kernel.view("timer_list", timer).function:
        return True
    sentence = (
        "a timer was armed that has no function: timer_setup() has not prepared it, or it was shut down"
    )
    if "timer_shutdown_sync" not in kernel.profile.exports:
        kernel.oopses.bug(sentence)
    kernel.findings.note("timer without function", sentence)
    return False


@export("void add_timer(struct timer_list *timer)")
def add_timer(kernel: KernelCore, timer: int) -> None:
    """Arm a timer for its `expires` (kernel/time/timer.c)."""
    if kernel.timers.pending(timer):
        kernel.oopses.bug("add_timer() of a timer that is armed: use mod_timer()")
    if _has_function(kernel, timer):
        kernel.timers.arm(timer, kernel.timers.expires(timer))


@export("void add_timer_on(struct timer_list *timer, int cpu)")
def add_timer_on(kernel: KernelCore, timer: int, cpu: int) -> None:
    """Arm a timer on a CPU (kernel/time/timer.c)."""
    add_timer(kernel, timer)


@export("int mod_timer(struct timer_list *timer, unsigned long expires)")
def mod_timer(kernel: KernelCore, timer: int, expires: int) -> int:
    """Arm a timer, armed or not; 1 if it was (kernel/time/timer.c)."""
    return int(_has_function(kernel, timer) and kernel.timers.arm(timer, expires))


@export("int mod_timer_pending(struct timer_list *timer, unsigned long expires)")
def mod_timer_pending(kernel: KernelCore, timer: int, expires: int) -> int:
    """Change when an armed timer fires (kernel/time/timer.c)."""
    return int(kernel.timers.pending(timer) and kernel.timers.arm(timer, expires))


@export("int timer_reduce(struct timer_list *timer, unsigned long expires)")
def timer_reduce(kernel: KernelCore, timer: int, expires: int) -> int:
    """Arm a timer for an earlier time, if it is earlier (kernel/time/timer.c)."""
    if kernel.timers.pending(timer) and kernel.timers.expires(timer) <= expires:
        return 1
    return mod_timer(kernel, timer, expires)


def _define_deletions() -> None:
    """With one processor a callback is never running elsewhere: the variants differ in name only."""
    names = ("del_timer", "del_timer_sync", "timer_delete", "timer_delete_sync", "try_to_del_timer_sync")

    def define(name: str) -> None:
        @export(f"int {name}(struct timer_list *timer)")
        def delete(kernel: KernelCore, timer: int) -> int:
            """Disarm a timer; 1 if it was armed (kernel/time/timer.c)."""
            return int(kernel.timers.disarm(timer))

    for name in names:
        define(name)

    for name in ("timer_shutdown", "timer_shutdown_sync"):

        @export(f"int {name}(struct timer_list *timer)")
        def shutdown(kernel: KernelCore, timer: int) -> int:
            """Disarm a timer for good: without function, arming it does nothing (kernel/time/timer.c)."""
            was = kernel.timers.disarm(timer)
            kernel.view("timer_list", timer).function = 0
            return int(was)


_define_deletions()

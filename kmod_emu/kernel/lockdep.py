"""Watching locks: who holds what, in which order, and what is done wrong with them.

The real kernel of a distribution says nothing about most of this, so nothing is printed: each finding is
one entry of `Faults.reports`, with the kind and a sentence that names the places.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

from kmod_emu.kernel.exports import export
from kmod_emu.kernel.preempt import (
    EFLAGS_IF,
    in_hardirq,
    in_interrupt,
    in_serving_softirq,
    preempt_count,
    softirqs_off,
)

if TYPE_CHECKING:
    from collections.abc import Iterator

    from kmod_emu.kernel.kernel import KernelCore
    from kmod_emu.kernel.tasks import Task

KINDS = ("mutex", "rwsem", "rwsem", "spinlock", "rwlock", "rwlock", "semaphore")
MUTEX, READ_SEM, WRITE_SEM, SPINLOCK, READ_LOCK, WRITE_LOCK, SEMAPHORE = range(7)
_SLEEPING = (MUTEX, READ_SEM, WRITE_SEM, SEMAPHORE)
_SHARED = (READ_SEM, READ_LOCK)


class Held(NamedTuple):
    """A lock that a task holds: which, what kind, and where it was taken."""

    lock: int
    kind: int
    place: int


class LockChecker:
    """Held locks of all tasks, and the orders in which locks were taken."""

    def __init__(self, kernel: KernelCore) -> None:
        self._kernel = kernel
        self._held: dict[int, list[Held]] = {}  # by pid
        self._after: dict[int, dict[int, list[int]]] = {}  # lock -> lock taken while it is held -> places
        self._taken: dict[int, dict[str, tuple[int, int]]] = {}  # lock -> context -> kind, place
        self._told: set[tuple[str, int]] = set()

    # --- telling ------------------------------------------------------------------------------------

    def _tell(self, kind: str, place: int, sentence: str) -> None:
        """One report for each kind and place."""
        if (kind, place) not in self._told:
            self._told.add((kind, place))
            self._kernel.findings.note(kind, sentence)

    def _name(self, held: Held) -> str:
        location = self._kernel.locate(held.lock)
        if location is None:
            return f"the {KINDS[held.kind]} at {held.lock:#x}"
        offset = f"+{location.offset:#x}" if location.offset else ""
        module = f" of {location.module}" if location.module else ""
        return f"the {KINDS[held.kind]} `{location.name}{offset}`{module}"

    def _where(self, place: int) -> str:
        return self._kernel.findings.call_place(place)

    # --- events -------------------------------------------------------------------------------------

    def acquire(self, task: Task, lock: int, kind: int, place: int) -> None:
        """A task is about to take a lock, and may have to wait for it."""
        if kind in _SLEEPING:
            self.might_sleep(KINDS[kind], place)
        if kind == SEMAPHORE:
            return
        for held in self._held.get(task.pid, ()):
            if held.lock == lock:
                if not (kind in _SHARED and held.kind in _SHARED):
                    self._tell_self_deadlock(task, held, place)
            else:
                self._order(held, lock, kind, place)

    def _tell_self_deadlock(self, task: Task, held: Held, place: int) -> None:
        name, here, since = self._name(held), self._where(place), self._where(held.place)
        sentence = f"{task.comm} takes {name} at {here}, which it holds since {since}: it waits for itself"
        self._tell("self-deadlock", place, sentence)

    def _order(self, held: Held, lock: int, kind: int, place: int) -> None:
        """Remember that one was held when the other was taken; the opposite may have been seen."""
        back = self._path(lock, held.lock)
        if back is not None:
            outer, inner = (self._where(there) for there in back)
            new = self._name(Held(lock, kind, place))
            sentence = (
                f"{new} is taken at {self._where(place)} while {self._name(held)} is held since "
                f"{self._where(held.place)}, but elsewhere they were taken the other way round: at {outer} "
                f"and then at {inner}; two tasks can wait for each other for ever"
            )
            self._tell("lock inversion", place, sentence)
        self._after.setdefault(held.lock, {}).setdefault(lock, [held.place, place])

    def _path(self, start: int, goal: int) -> list[int] | None:
        """The places of the first and the last step if `goal` was ever taken, over others, after `start`."""
        seen, ways = {start}, [(start, [0, 0])]
        while ways:
            lock, places = ways.pop()
            for following, (outer, inner) in self._after.get(lock, {}).items():
                way = [places[0] or outer, inner]
                if following == goal:
                    return way
                if following not in seen:
                    seen.add(following)
                    ways.append((following, way))
        return None

    def takes_spinning(self, lock: int, kind: int, place: int, count: int) -> None:
        """A spinlock of a module is taken: what interrupts take as well has to keep them away elsewhere.

        Args:
            lock: Its address.
            kind: Its kind.
            place: Where.
            count: What taking it adds to the preempt count.
        """
        contexts = list(self._contexts(count))
        taken = self._taken.get(lock)
        if not contexts or (taken is not None and all(context in taken for context, _ in contexts)):
            return
        location = self._kernel.locate(lock)
        if location is None or location.module is None:  # memory may become another lock unnoticed
            return
        taken = self._taken.setdefault(lock, {})
        for context, opposite in contexts:
            taken.setdefault(context, (kind, place))
            other, there = taken.get(opposite, (kind, 0))
            if there and not (kind in _SHARED and other in _SHARED):
                (_, inside), (_, outside) = sorted([(context, place), (opposite, there)])
                self._tell_inconsistent(Held(lock, kind, place), min(context, opposite), inside, outside)

    def _contexts(self, count: int) -> Iterator[tuple[str, str]]:
        """Contexts in which code runs, as far as locks care, and those that must not take the same lock."""
        kernel = self._kernel
        if in_hardirq(kernel):
            yield "in an interrupt", "with interrupts on"
        elif in_serving_softirq(kernel):
            yield "in a softirq", "with softirqs on"
        if kernel.cpu.read("eflags") & EFLAGS_IF:
            yield "with interrupts on", "in an interrupt"
            if not softirqs_off(kernel, count):
                yield "with softirqs on", "in a softirq"

    def _tell_inconsistent(self, held: Held, context: str, inside: int, outside: int) -> None:
        instead = "spin_lock_irqsave()" if context == "in an interrupt" else "spin_lock_bh()"
        sentence = (
            f"{self._name(held)} is taken {context} at {self._where(inside)}, but with those on at "
            f"{self._where(outside)}: one that comes there waits for ever; {instead} keeps it away"
        )
        self._tell("inconsistent lock state", outside, sentence)

    def forget_modules(self) -> None:
        """A module goes: at its locks' addresses there may be others (lockdep_free_key_range)."""
        self._taken.clear()

    def acquired(self, task: Task, lock: int, kind: int, place: int) -> None:
        """It has it."""
        if kind != SEMAPHORE:
            self._held.setdefault(task.pid, []).append(Held(lock, kind, place))

    def release(self, task: Task, lock: int, kind: int, place: int) -> None:
        """A task gives a lock back."""
        held = self._held.get(task.pid, [])
        for item in reversed(held):
            if item.lock == lock:
                held.remove(item)
                return
        holder = self.holder(lock)
        if holder is None:
            whose = "which nobody holds"
        else:
            whose = f"which {holder[0]} took at {self._where(holder[1].place)}"
            self._held[holder[2]].remove(holder[1])
        sentence = (
            f"{task.comm} releases {self._name(Held(lock, kind, place))} at {self._where(place)}, {whose}"
        )
        self._tell("unlock of a lock that is not held", place, sentence)

    def holder(self, lock: int) -> tuple[str, Held, int] | None:
        """Name of the task that holds a lock, what is known of it, and the pid."""
        for pid, items in self._held.items():
            for held in items:
                if held.lock == lock:
                    task = self._kernel.tasks.by_pid.get(pid)
                    return (task.comm if task else "a task that is gone"), held, pid
        return None

    def might_sleep(self, what: str, place: int) -> None:
        """Something that may sleep is done: is it allowed here? (include/linux/kernel.h: might_sleep)."""
        kernel = self._kernel
        task = kernel.sched.current
        if in_interrupt(kernel):
            why = "in an interrupt or softirq"
        elif preempt_count(kernel):
            why = "with preemption off"
        elif not kernel.cpu.read("eflags") & EFLAGS_IF:
            why = "with interrupts off"
        elif kernel.rcu.inside(task):
            why = "between rcu_read_lock() and rcu_read_unlock()"
        else:
            return
        sentence = f"{self._where(place)} uses a {what}, which may sleep, {why}{self.spinning(task)}"
        self._tell("sleeping in atomic context", place, sentence)

    def spinning(self, task: Task) -> str:
        """The end of a sentence: which spinlock it holds, if any, and since where."""
        spinning = [held for held in self._held.get(task.pid, ()) if held.kind not in _SLEEPING]
        if not spinning:
            return ""
        return f"; {self._name(spinning[-1])} is held since {self._where(spinning[-1].place)}"

    def sleeps_with_irqs_off(self, task: Task) -> None:
        """It works, since others have interrupts on: what the task wanted to keep out comes meanwhile."""
        line = self._kernel.findings.caller_of(task)
        at = f" at {line}" if line else ""
        self._kernel.findings.note(
            "sleeping in atomic context", f"{task.comm} sleeps{at} with interrupts off"
        )

    def check_idle(self, task: Task, when: str) -> None:
        """A task goes where it must not hold locks: to user space, or away."""
        for held in self._held.get(task.pid, ()):
            taken = self._where(held.place)
            sentence = f"{task.comm} holds {self._name(held)}, taken at {taken}, {when}"
            self._tell(f"lock held {when}", held.place, sentence)
        if self._kernel.rcu.inside(task):
            sentence = f"{task.comm} is between rcu_read_lock() and rcu_read_unlock() {when}"
            self._tell(f"lock held {when}", task.pid, sentence)

    def save(self) -> Any:
        """State for a snapshot or file."""
        return {
            "held": [[pid, [list(item) for item in held]] for pid, held in self._held.items()],
            "after": [[lock, list(later.items())] for lock, later in self._after.items()],
            "taken": [[lock, list(taken.items())] for lock, taken in self._taken.items()],
            "told": [list(item) for item in sorted(self._told)],
        }

    def load(self, state: Any) -> None:
        """Put saved state back."""
        self._held = {pid: [Held(*item) for item in held] for pid, held in state["held"]}
        self._after = {lock: {inner: list(p) for inner, p in later} for lock, later in state["after"]}
        self._taken = {
            lock: {context: (kind, place) for context, (kind, place) in taken}
            for lock, taken in state.get("taken", ())
        }
        self._told = {(kind, place) for kind, place in state["told"]}


def caller(kernel: KernelCore, return_address: int) -> int:
    """Where a call came from; a function that ends in a jump is returned from by Python's caller."""
    return kernel.sched.called if return_address == kernel.traps.return_address else return_address


@export("void lock_acquire(void *lock, int kind, unsigned long ip)")
def lock_acquire(kernel: KernelCore, lock: int, kind: int, ip: int) -> None:
    """Guest code is about to take a lock (guest_kernel_stubs/locks.c)."""
    kernel.lockdep.acquire(kernel.sched.current, lock, kind, caller(kernel, ip))


@export("void lock_acquired(void *lock, int kind, unsigned long ip)")
def lock_acquired(kernel: KernelCore, lock: int, kind: int, ip: int) -> None:
    """It has it."""
    kernel.lockdep.acquired(kernel.sched.current, lock, kind, caller(kernel, ip))


@export("void lock_release(void *lock, int kind, unsigned long ip)")
def lock_release(kernel: KernelCore, lock: int, kind: int, ip: int) -> None:
    """It gives it back."""
    kernel.lockdep.release(kernel.sched.current, lock, kind, caller(kernel, ip))

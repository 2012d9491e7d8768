"""Locks, for one processor and cooperative tasks (kernel/locking/).

A spinlock holder cannot lose the processor, so finding one taken is a deadlock. A sleeping lock that is taken
makes the caller wait in order of arrival. The lock words in guest memory are kept as the kernel keeps them,
since inlined code looks at them.
"""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING

from kmod_emu.abi import lists
from kmod_emu.kernel.exports import Fidelity, export
from kmod_emu.kernel.sched import Block

if TYPE_CHECKING:
    from kmod_emu.kernel.kernel import KernelCore
    from kmod_emu.kernel.tasks import Task

_LOCKED = 1  # low byte of struct qspinlock


@export("void __mutex_init(struct mutex *lock, const char *name, struct lock_class_key *key)")
def __mutex_init(kernel: KernelCore, lock: int, name: int, key: int) -> None:
    """Make a mutex free (kernel/locking/mutex.c)."""
    mutex = kernel.view("mutex", lock)
    kernel.memory.clear(lock, mutex.layout.size)
    if mutex.has("wait_list"):
        lists.init(kernel.memory, mutex.addressof("wait_list"))


class LockQueues:
    """Who waits for which sleeping lock, first come first served."""

    def __init__(self) -> None:
        self._queues: dict[int, deque[Task]] = {}

    def join(self, lock: int, task: Task) -> None:
        """Wait behind the others."""
        self._queues.setdefault(lock, deque()).append(task)

    def next(self, lock: int) -> Task | None:
        """Take the first who waits, or None."""
        queue = self._queues.get(lock)
        task = queue.popleft() if queue else None
        if not queue:
            self._queues.pop(lock, None)
        return task


@export("void mutex_lock(struct mutex *lock)")
async def mutex_lock(kernel: KernelCore, lock: int) -> int:
    """Take a mutex, waiting for it (kernel/locking/mutex.c). The owner word is first in the struct."""
    task = kernel.sched.current
    if kernel.memory.read_u64(lock) & ~7:
        kernel.lock_queues.join(lock, task)
        await Block()  # the unlocker hands the mutex over
    else:
        kernel.memory.write_u64(lock, task.address)
    return 0


@export("int mutex_lock_interruptible(struct mutex *lock)")
async def mutex_lock_interruptible(kernel: KernelCore, lock: int) -> int:
    """mutex_lock that a signal may end (kernel/locking/mutex.c)."""
    return await mutex_lock(kernel, lock)


@export("int mutex_lock_killable(struct mutex *lock)")
async def mutex_lock_killable(kernel: KernelCore, lock: int) -> int:
    """mutex_lock that a fatal signal may end (kernel/locking/mutex.c)."""
    return await mutex_lock(kernel, lock)


@export("int mutex_trylock(struct mutex *lock)")
def mutex_trylock(kernel: KernelCore, lock: int) -> int:
    """Take a mutex if it is free (kernel/locking/mutex.c)."""
    if kernel.memory.read_u64(lock) & ~7:
        return 0
    kernel.memory.write_u64(lock, kernel.sched.current.address)
    return 1


@export("bool mutex_is_locked(struct mutex *lock)")
def mutex_is_locked(kernel: KernelCore, lock: int) -> int:
    """Whether anybody holds it (kernel/locking/mutex.c)."""
    return int(kernel.memory.read_u64(lock) & ~7 != 0)


@export("void mutex_unlock(struct mutex *lock)")
def mutex_unlock(kernel: KernelCore, lock: int) -> None:
    """Give a mutex back, to the first who waits (kernel/locking/mutex.c)."""
    waiter = kernel.lock_queues.next(lock)
    kernel.memory.write_u64(lock, waiter.address if waiter else 0)
    if waiter:
        kernel.sched.wake(waiter)


def _preempt_count(kernel: KernelCore, change: int) -> None:
    kernel.percpu.write("__preempt_count", kernel.percpu.read("__preempt_count", 4) + change & 0xFFFF_FFFF, 4)


def _spin_lock(kernel: KernelCore, lock: int) -> None:
    if kernel.memory.read_u8(lock):
        kernel.faults.deadlock(lock)
    kernel.memory.write_u8(lock, _LOCKED)
    _preempt_count(kernel, 1)


def _spin_unlock(kernel: KernelCore, lock: int) -> None:
    kernel.memory.write_u8(lock, 0)
    _preempt_count(kernel, -1)


def _define_spinlocks() -> None:
    """The variants differ in what they disable besides preemption; nothing interrupts this processor."""
    for suffix in ("", "_irq", "_bh"):

        @export(f"void _raw_spin_lock{suffix}(raw_spinlock_t *lock)", Fidelity.APPROXIMATE)
        def lock(kernel: KernelCore, lock: int) -> None:
            """Take a spinlock (kernel/locking/spinlock.c)."""
            _spin_lock(kernel, lock)

        @export(f"void _raw_spin_unlock{suffix}(raw_spinlock_t *lock)", Fidelity.APPROXIMATE)
        def unlock(kernel: KernelCore, lock: int) -> None:
            """Give a spinlock back (kernel/locking/spinlock.c)."""
            _spin_unlock(kernel, lock)

    @export("unsigned long _raw_spin_lock_irqsave(raw_spinlock_t *lock)", Fidelity.APPROXIMATE)
    def lock_irqsave(kernel: KernelCore, lock: int) -> int:
        """Take a spinlock; returns EFLAGS (kernel/locking/spinlock.c)."""
        _spin_lock(kernel, lock)
        return kernel.cpu.read("eflags")

    @export(
        "void _raw_spin_unlock_irqrestore(raw_spinlock_t *lock, unsigned long flags)", Fidelity.APPROXIMATE
    )
    def unlock_irqrestore(kernel: KernelCore, lock: int, flags: int) -> None:
        """Give a spinlock back (kernel/locking/spinlock.c)."""
        _spin_unlock(kernel, lock)

    @export("int _raw_spin_trylock(raw_spinlock_t *lock)")
    def trylock(kernel: KernelCore, lock: int) -> int:
        """Take a spinlock if it is free (kernel/locking/spinlock.c)."""
        if kernel.memory.read_u8(lock):
            return 0
        _spin_lock(kernel, lock)
        return 1


_define_spinlocks()

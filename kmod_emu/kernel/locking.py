"""Locks for one processor (kernel/locking/).

A spinlock's holder cannot lose the processor, so finding one taken is a deadlock. Locks that sleep are
guest code (guest_kernel_stubs/locks.c); who waits for which is kept here, in order of arrival. The lock
words in guest memory are kept as the kernel keeps them, since inlined code looks at them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from kmod_emu.abi import lists
from kmod_emu.kernel import watchdog
from kmod_emu.kernel.exports import export
from kmod_emu.kernel.lockdep import MUTEX, READ_LOCK, SPINLOCK, WRITE_LOCK, caller
from kmod_emu.kernel.preempt import EFLAGS_IF, SOFTIRQ_DISABLE_OFFSET, preempt_count_add
from kmod_emu.kernel.schedule import TASK_NORMAL, TASK_UNINTERRUPTIBLE, sleep_in_state, try_to_wake_up

if TYPE_CHECKING:
    from kmod_emu.kernel.kernel import KernelCore

_LOCKED = 1  # low byte of struct qspinlock
_WRITER, _READER = 0xFF, 0x200  # struct qrwlock


class LockQueues:
    """Who waits for which sleeping lock (task_structs), first come first served."""

    def __init__(self, kernel: KernelCore) -> None:
        self._kernel = kernel
        self._queues: dict[int, list[int]] = {}

    def join(self, lock: int, task: int) -> None:
        """Wait behind the others."""
        queue = self._queues.setdefault(lock, [])
        if task not in queue:
            queue.append(task)

    def leave(self, lock: int, task: int) -> None:
        """Wait no more."""
        queue = self._queues.get(lock, [])
        if task in queue:
            queue.remove(task)
        if not queue:
            self._queues.pop(lock, None)

    def wake(self, lock: int, everybody: bool) -> None:
        """Those who wait look again: the first, or all."""
        queue = self._queues.get(lock, [])
        for task in list(queue if everybody else queue[:1]):
            if self._kernel.tasks.known(task):
                try_to_wake_up(self._kernel, task, TASK_NORMAL)

    def save(self) -> Any:
        """State for a snapshot or file."""
        return [[lock, list(queue)] for lock, queue in self._queues.items()]

    def load(self, state: Any) -> None:
        """Put saved state back."""
        self._queues = {lock: list(queue) for lock, queue in state}


@export("void lock_wait(void *lock)")
def lock_wait(kernel: KernelCore, lock: int) -> None:
    """The current task waits for a sleeping lock (guest_kernel_stubs/locks.c)."""
    kernel.lock_queues.join(lock, kernel.sched.current.address)


@export("void lock_leave(void *lock)")
def lock_leave(kernel: KernelCore, lock: int) -> None:
    """It has it, or has given up."""
    kernel.lock_queues.leave(lock, kernel.sched.current.address)


@export("void lock_wake(void *lock, bool everybody)")
def lock_wake(kernel: KernelCore, lock: int, everybody: bool) -> None:
    """A sleeping lock was given back."""
    kernel.lock_queues.wake(lock, everybody)


@export("void preempt_count_add(int val)")
def preempt_off(kernel: KernelCore, val: int) -> None:
    """Guest code lets the processor be taken away or not (guest_kernel_stubs/percpu_rwsem.c)."""
    preempt_count_add(kernel, val)


@export("void __mutex_init(struct mutex *lock, const char *name, struct lock_class_key *key)")
def __mutex_init(kernel: KernelCore, lock: int, name: int, key: int) -> None:
    """Make a mutex free (kernel/locking/mutex.c)."""
    init_lock(kernel, "mutex", lock)


@export("void __init_rwsem(struct rw_semaphore *sem, const char *name, struct lock_class_key *key)")
def __init_rwsem(kernel: KernelCore, sem: int, name: int, key: int) -> None:
    """Make a reader-writer semaphore free (kernel/locking/rwsem.c)."""
    init_lock(kernel, "rw_semaphore", sem)


def init_lock(kernel: KernelCore, struct: str, address: int) -> None:
    """Make a mutex or rw_semaphore free; where its waiters are not in a list, zeros do."""
    view = kernel.view(struct, address)
    kernel.memory.clear(address, view.layout.size)
    if view.has("wait_list"):
        lists.init(kernel.memory, view.addressof("wait_list"))


async def mutex_lock(kernel: KernelCore, lock: int) -> int:
    """Take a mutex from Python; guest code has a function of the same name."""
    task = kernel.sched.current
    place = kernel.symbols.address("mutex_lock")
    kernel.lockdep.acquire(task, lock, MUTEX, place)
    while mutex_is_locked(kernel, lock):
        kernel.lock_queues.join(lock, task.address)
        await sleep_in_state(kernel, TASK_UNINTERRUPTIBLE)
    kernel.lock_queues.leave(lock, task.address)
    kernel.memory.write_u64(lock, task.address)
    kernel.lockdep.acquired(task, lock, MUTEX, place)
    return 0


def mutex_unlock(kernel: KernelCore, lock: int) -> None:
    """Give a mutex back from Python."""
    kernel.lockdep.release(kernel.sched.current, lock, MUTEX, kernel.symbols.address("mutex_unlock"))
    kernel.memory.write_u64(lock, 0)
    kernel.lock_queues.wake(lock, everybody=False)


@export("bool mutex_is_locked(struct mutex *lock)")
def mutex_is_locked(kernel: KernelCore, lock: int) -> bool:
    """Whether anybody holds it (kernel/locking/mutex.c)."""
    return kernel.memory.read_u64(lock) & ~7 != 0


# --- spinlocks and rwlocks: what each variant does besides -------------------------------------------


def _caller(kernel: KernelCore) -> int:
    return caller(kernel, kernel.memory.read_u64(kernel.traps.stack_pointer))


def _take(kernel: KernelCore, lock: int, kind: int, count: int, *, trying: bool = False) -> None:
    """The lock word has been found free."""
    place, task = _caller(kernel), kernel.sched.current
    if not trying:
        kernel.lockdep.acquire(task, lock, kind, place)
        kernel.lockdep.takes_spinning(lock, kind, place, count)
    kernel.lockdep.acquired(task, lock, kind, place)
    preempt_count_add(kernel, count)


def _spin(kernel: KernelCore, lock: int, kind: int) -> None:
    """The lock is taken, and who has it cannot run."""
    holder = kernel.lockdep.holder(lock)
    kernel.lockdep.acquire(kernel.sched.current, lock, kind, _caller(kernel))
    since = f"{holder[0]} holds it since {kernel.findings.call_place(holder[1].place)}" if holder else ""
    watchdog.deadlock(kernel, lock, since)


def _free(kernel: KernelCore, lock: int, kind: int) -> bool:
    word = kernel.memory.read_u32(lock)
    if kind == SPINLOCK:
        return not word & 0xFF
    return not word if kind == WRITE_LOCK else not word & _WRITER


def _mark(kernel: KernelCore, lock: int, kind: int, *, taken: bool) -> None:
    memory = kernel.memory
    if kind == SPINLOCK:
        memory.write_u8(lock, _LOCKED if taken else 0)
    elif kind == WRITE_LOCK:
        memory.write_u8(lock, _WRITER if taken else 0)
    else:
        memory.write_u32(lock, memory.read_u32(lock) + (_READER if taken else -_READER))


def _lock(kernel: KernelCore, lock: int, kind: int, count: int) -> None:
    if not _free(kernel, lock, kind):
        _spin(kernel, lock, kind)
    _mark(kernel, lock, kind, taken=True)
    _take(kernel, lock, kind, count)


def _unlock(kernel: KernelCore, lock: int, kind: int, count: int) -> None:
    kernel.lockdep.release(kernel.sched.current, lock, kind, _caller(kernel))
    _mark(kernel, lock, kind, taken=False)
    preempt_count_add(kernel, -count)


def _irqs_off(kernel: KernelCore) -> int:
    flags = kernel.cpu.read("eflags")
    kernel.cpu.write("eflags", flags & ~EFLAGS_IF)
    return flags


def _define_locks(name: str, type: str, kind: int) -> None:
    """Variants of one lock: plain, and with interrupts off."""

    @export(f"void _raw_{name}_lock({type} *lock)")
    def lock_plain(kernel: KernelCore, lock: int) -> None:
        """Take the lock; preemption is off (kernel/locking/spinlock.c)."""
        _lock(kernel, lock, kind, 1)

    @export(f"void _raw_{name}_unlock({type} *lock)")
    def unlock_plain(kernel: KernelCore, lock: int) -> None:
        """Give it back (kernel/locking/spinlock.c)."""
        _unlock(kernel, lock, kind, 1)

    @export(f"void _raw_{name}_lock_irq({type} *lock)")
    def lock_irq(kernel: KernelCore, lock: int) -> None:
        """Take the lock; interrupts are off (kernel/locking/spinlock.c)."""
        _irqs_off(kernel)
        _lock(kernel, lock, kind, 1)

    @export(f"void _raw_{name}_unlock_irq({type} *lock)")
    async def unlock_irq(kernel: KernelCore, lock: int) -> None:
        """Give it back; interrupts are on (kernel/locking/spinlock.c)."""
        _unlock(kernel, lock, kind, 1)
        kernel.cpu.write("eflags", kernel.cpu.read("eflags") | EFLAGS_IF)
        await kernel.sched.serve_due()

    @export(f"unsigned long _raw_{name}_lock_irqsave({type} *lock)")
    def lock_irqsave(kernel: KernelCore, lock: int) -> int:
        """Take the lock; interrupts are off, what they were is returned (kernel/locking/spinlock.c)."""
        flags = _irqs_off(kernel)
        _lock(kernel, lock, kind, 1)
        return flags

    @export(f"void _raw_{name}_unlock_irqrestore({type} *lock, unsigned long flags)")
    async def unlock_irqrestore(kernel: KernelCore, lock: int, flags: int) -> None:
        """Give it back; interrupts are what they were (kernel/locking/spinlock.c)."""
        _unlock(kernel, lock, kind, 1)
        if flags & EFLAGS_IF:
            kernel.cpu.write("eflags", kernel.cpu.read("eflags") | EFLAGS_IF)
            await kernel.sched.serve_due()


def _define_bh_locks(name: str, type: str, kind: int) -> None:
    """The variants with softirqs off, and those that do not wait."""

    @export(f"void _raw_{name}_lock_bh({type} *lock)")
    def lock_bh(kernel: KernelCore, lock: int) -> None:
        """Take the lock; softirqs are off (kernel/locking/spinlock.c)."""
        _lock(kernel, lock, kind, SOFTIRQ_DISABLE_OFFSET + 1)

    @export(f"void _raw_{name}_unlock_bh({type} *lock)")
    async def unlock_bh(kernel: KernelCore, lock: int) -> None:
        """Give it back; softirqs may come (kernel/locking/spinlock.c)."""
        _unlock(kernel, lock, kind, SOFTIRQ_DISABLE_OFFSET + 1)
        await kernel.sched.serve_due()

    def define_trylock(suffix: str, count: int) -> None:
        @export(f"int _raw_{name}_trylock{suffix}({type} *lock)")
        def trylock(kernel: KernelCore, lock: int) -> int:
            """Take the lock if it is free (kernel/locking/spinlock.c)."""
            if not _free(kernel, lock, kind):
                return 0
            _mark(kernel, lock, kind, taken=True)
            _take(kernel, lock, kind, count, trying=True)
            return 1

    define_trylock("", 1)
    if kind == SPINLOCK:
        define_trylock("_bh", SOFTIRQ_DISABLE_OFFSET + 1)


for _name, _type, _kind in (
    ("spin", "raw_spinlock_t", SPINLOCK),
    ("read", "rwlock_t", READ_LOCK),
    ("write", "rwlock_t", WRITE_LOCK),
):
    _define_locks(_name, _type, _kind)
    _define_bh_locks(_name, _type, _kind)

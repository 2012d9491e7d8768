"""Kernel threads (kernel/kthread.c): what is asked of each, and what it answered.

Waiting for a thread, and a thread's own frame, are guest code (guest_kernel_stubs/kthread.c).
"""

from __future__ import annotations

from enum import IntFlag
from typing import TYPE_CHECKING, Any

from kmod_emu.abi import lists
from kmod_emu.kernel.activation import Away
from kmod_emu.kernel.exports import Fidelity, export
from kmod_emu.kernel.schedule import TASK_NORMAL, TASK_UNINTERRUPTIBLE, set_task_state, try_to_wake_up
from kmod_emu.kernel.vsprintf import vsnprintf
from kmod_emu.machine.memory import Access, PageFault

if TYPE_CHECKING:
    from kmod_emu.kernel.kernel import KernelCore
    from kmod_emu.kernel.tasks import Task
    from kmod_emu.kernel.vsprintf import Arguments

TASK_PARKED = 0x40
PF_NO_SETAFFINITY = 0x0400_0000
_EINTR = -4 & (1 << 64) - 1


class Ask(IntFlag):
    """What a thread is asked for, and what it has done (KTHREAD_SHOULD_STOP and its kin)."""

    STOP = 1
    PARK = 2
    PARKED = 4
    ENDED = 8


class Kthread:
    """One kernel thread.

    Attributes:
        waiters: Tasks (task_structs) that wait for it to end or to park.
    """

    def __init__(self, function: int, data: int) -> None:
        self.function, self.data = function, data
        self.flags, self.result = Ask(0), _EINTR
        self.waiters: list[int] = []


class Kthreads:
    """All kernel threads whose task_struct is still there, by its address."""

    def __init__(self, kernel: KernelCore) -> None:
        self._kernel = kernel
        self._threads: dict[int, Kthread] = {}

    def create(self, function: int, data: int, name: str) -> Task:
        """A thread that waits to be woken for the first time; EAGAIN."""
        kernel = self._kernel
        kernel.tasks.check_limit()
        task = kernel.tasks.create_thread(name)
        self._threads[task.address] = Kthread(function, data)
        task.resume_at(kernel.symbols.address("kthread"), rdi=function, rsi=data)
        task.asleep = True
        set_task_state(kernel, task, TASK_UNINTERRUPTIBLE)
        return task

    def find(self, address: int) -> Kthread | None:
        """The thread of a task_struct, None if the task is no kernel thread of ours."""
        return self._threads.get(address)

    def get(self, address: int) -> Kthread:
        """The thread of a task_struct.

        Raises:
            PageFault: There is none, or none any more: the guest's pointer is wrong.
        """
        thread = self._threads.get(address)
        if thread is None:
            raise PageFault(address, Access.READ)
        return thread

    def asked(self, what: Ask) -> bool:
        """Whether the current thread has one of these flags."""
        thread = self._threads.get(self._kernel.sched.current.address)
        return thread is not None and bool(thread.flags & what)

    def ended(self, task: Task, result: int) -> None:
        """A thread ended, or died; those who wait for it are told."""
        thread = self._threads.get(task.address)
        if thread is not None:
            thread.flags |= Ask.ENDED
            thread.result = result
            self.wake_waiters(thread)
            self._kernel.workqueues.worker_ended(task)

    def wake_waiters(self, thread: Kthread) -> None:
        """Those who wait look again."""
        for waiter in thread.waiters:
            if self._kernel.tasks.known(waiter):
                try_to_wake_up(self._kernel, waiter, TASK_NORMAL)
        thread.waiters.clear()

    def forget(self, address: int) -> None:
        """The task_struct is freed."""
        self._threads.pop(address, None)

    def save(self) -> Any:
        """State for a snapshot or file."""
        return [
            [address, thread.function, thread.data, int(thread.flags), thread.result, list(thread.waiters)]
            for address, thread in self._threads.items()
        ]

    def load(self, state: Any) -> None:
        """Put saved state back."""
        self._threads = {}
        for address, function, data, flags, result, waiters in state:
            thread = self._threads[address] = Kthread(function, data)
            thread.flags, thread.result, thread.waiters = Ask(flags), result, list(waiters)


@export(
    "struct task_struct *kthread_create_on_node(int (*threadfn)(void *data), void *data, int node,"
    " const char namefmt[], ...)"
)
def kthread_create_on_node(
    kernel: KernelCore, threadfn: int, data: int, node: int, namefmt: bytes, args: Arguments
) -> int:
    """Create a kernel thread; it runs when it is woken (kernel/kthread.c)."""
    name = vsnprintf(namefmt, args, kernel.format_context).decode("utf-8", "surrogateescape")
    return kernel.kthreads.create(threadfn, data, name).address


@export(
    "struct task_struct *kthread_create_on_cpu(int (*threadfn)(void *data), void *data, unsigned int cpu,"
    " const char *namefmt)"
)
def kthread_create_on_cpu(kernel: KernelCore, threadfn: int, data: int, cpu: int, namefmt: bytes) -> int:
    """Create a kernel thread for a CPU, whose number goes into its name (kernel/kthread.c)."""
    name = namefmt.replace(b"%u", b"%d" % cpu).decode("utf-8", "surrogateescape")
    return kernel.kthreads.create(threadfn, data, name).address


@export("void kthread_bind(struct task_struct *p, unsigned int cpu)")
def kthread_bind(kernel: KernelCore, p: int, cpu: int) -> None:
    """Bind a thread to a CPU; there is one (kernel/kthread.c)."""
    kernel.view("task_struct", p).flags |= PF_NO_SETAFFINITY


@export(
    "int set_cpus_allowed_ptr(struct task_struct *p, const struct cpumask *new_mask)", Fidelity.APPROXIMATE
)
def set_cpus_allowed_ptr(kernel: KernelCore, p: int, new_mask: int) -> int:
    """Say on which CPUs a task may run; EINVAL if ours is not among them (kernel/sched/core.c)."""
    return 0 if kernel.memory.read_u64(new_mask) & 1 else -22


@export("bool kthread_should_stop(void)")
def kthread_should_stop(kernel: KernelCore) -> bool:
    """Whether kthread_stop() was called for the current thread (kernel/kthread.c)."""
    return kernel.kthreads.asked(Ask.STOP)


@export("bool kthread_should_park(void)")
def kthread_should_park(kernel: KernelCore) -> bool:
    """Whether kthread_park() was called for the current thread (kernel/kthread.c)."""
    return kernel.kthreads.asked(Ask.PARK)


@export("bool kthread_should_stop_or_park(void)")
def kthread_should_stop_or_park(kernel: KernelCore) -> bool:
    """Either (kernel/kthread.c)."""
    return kernel.kthreads.asked(Ask.STOP | Ask.PARK)


@export("bool kthread_freezable_should_stop(bool *was_frozen)")
def kthread_freezable_should_stop(kernel: KernelCore, was_frozen: int) -> bool:
    """As kthread_should_stop: nothing freezes this machine (kernel/kthread.c)."""
    if was_frozen:
        kernel.memory.write_u8(was_frozen, 0)
    return kernel.kthreads.asked(Ask.STOP)


@export("void *kthread_data(struct task_struct *task)")
def kthread_data(kernel: KernelCore, task: int) -> int:
    """What a thread was given (kernel/kthread.c)."""
    return kernel.kthreads.get(task).data


@export("void *kthread_func(struct task_struct *task)")
def kthread_func(kernel: KernelCore, task: int) -> int:
    """A thread's function, NULL for what is no kernel thread (kernel/kthread.c)."""
    thread = kernel.kthreads.find(task)
    return thread.function if thread else 0


@export("void kthread_ask(struct task_struct *k, int flags, bool on)")
def kthread_ask(kernel: KernelCore, k: int, flags: int, on: bool) -> None:
    """Set or clear what a thread is asked for; asking wakes it (guest_kernel_stubs/kthread.c)."""
    thread = kernel.kthreads.get(k)
    thread.flags = thread.flags | Ask(flags) if on else thread.flags & ~Ask(flags)
    if on and flags == Ask.PARKED:
        kernel.kthreads.wake_waiters(thread)


@export("bool kthread_has(struct task_struct *k, int flags)")
def kthread_has(kernel: KernelCore, k: int, flags: int) -> bool:
    """Whether a thread has one of the flags; if not, the caller will be woken when it may have."""
    thread = kernel.kthreads.get(k)
    if not thread.flags & flags:
        thread.waiters.append(kernel.sched.current.address)
    return bool(thread.flags & flags)


@export("int kthread_result(struct task_struct *k)")
def kthread_result(kernel: KernelCore, k: int) -> int:
    """What an ended thread returned (guest_kernel_stubs/kthread.c)."""
    result = kernel.kthreads.get(k).result & 0xFFFF_FFFF
    return result - (1 << 32) if result >> 31 else result


@export("void kthread_exit(long result)")
def kthread_exit(kernel: KernelCore, result: int) -> None:
    """End the current thread (kernel/kthread.c)."""
    task = kernel.sched.current
    kernel.lockdep.check_idle(task, "when the thread ends")
    kernel.kthreads.ended(task, result)
    kernel.sched.leave(Away.ENDED)


@export("void do_exit(long code)")
def do_exit(kernel: KernelCore, code: int) -> None:
    """End the current task (kernel/exit.c)."""
    kthread_exit(kernel, code)


def _create_worker(kernel: KernelCore, flags: int, name: str) -> int:
    kernel.tasks.check_limit()
    worker = kernel.heap.kmalloc(kernel.profile.struct("kthread_worker").size)
    view = kernel.view("kthread_worker", worker)
    for head in ("work_list", "delayed_work_list"):
        lists.init(kernel.memory, view.addressof(head))
    task = kernel.kthreads.create(kernel.symbol("kthread_worker_fn"), worker, name)
    view.flags, view.task = flags, task.address
    try_to_wake_up(kernel, task.address, TASK_NORMAL)
    return worker


@export("struct kthread_worker *kthread_create_worker(unsigned int flags, const char namefmt[], ...)")
def kthread_create_worker(kernel: KernelCore, flags: int, namefmt: bytes, args: Arguments) -> int:
    """A thread that runs queued work (kernel/kthread.c); the rest is guest_kernel_stubs/kthread_worker.c."""
    name = vsnprintf(namefmt, args, kernel.format_context).decode("utf-8", "surrogateescape")
    return _create_worker(kernel, flags, name)


@export(
    "struct kthread_worker *kthread_create_worker_on_node(unsigned int flags, int node,"
    " const char namefmt[], ...)"
)
def kthread_create_worker_on_node(
    kernel: KernelCore, flags: int, node: int, namefmt: bytes, args: Arguments
) -> int:
    """kthread_create_worker since 6.14 (kernel/kthread.c)."""
    return kthread_create_worker(kernel, flags, namefmt, args)

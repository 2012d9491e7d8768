"""Work queues: what is queued where, and which worker runs it (kernel/workqueue.c).

The workers' loop and all waiting is guest code (guest_kernel_stubs/workqueue.c). As in the kernel, a pool
keeps one worker running: when it sleeps in a piece of work, another one takes the next. A workqueue runs
no more than its max_active pieces at a time, and no piece runs twice at once.
"""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING, Any

from kmod_emu.kernel.exports import export, export_data
from kmod_emu.kernel.schedule import TASK_NORMAL, try_to_wake_up
from kmod_emu.kernel.vsprintf import vsnprintf

if TYPE_CHECKING:
    from kmod_emu.kernel.kernel import KernelCore
    from kmod_emu.kernel.tasks import Task
    from kmod_emu.kernel.vsprintf import Arguments

WQ_UNBOUND, WQ_MEM_RECLAIM, WQ_HIGHPRI = 1 << 1, 1 << 3, 1 << 4
_DEFAULT_ACTIVE, _MAX_ACTIVE = 256, 512
_COMM = 15  # characters of a thread's name
_PENDING = 1  # WORK_STRUCT_PENDING
_ENTRY = 8  # offset of a work's list_head
_NO_POOL = 0xF_FFFF_FFE0  # WORK_STRUCT_NO_POOL; the exact value is nobody's business
_WORK_BUSY_PENDING, _WORK_BUSY_RUNNING = 1, 2
_WORK_CPU_UNBOUND = 8192  # NR_CPUS
_PF_WQ_WORKER = 0x20
_SYSTEM_QUEUES = {
    "system_wq": ("events", 0),
    "system_percpu_wq": ("events", 0),
    "system_highpri_wq": ("events_highpri", WQ_HIGHPRI),
    "system_long_wq": ("events_long", 0),
    "system_unbound_wq": ("events_unbound", WQ_UNBOUND),
    "system_dfl_wq": ("events_unbound", WQ_UNBOUND),
    "system_freezable_wq": ("events_freezable", 0),
    "system_power_efficient_wq": ("events_power_efficient", 0),
    "system_freezable_power_efficient_wq": ("events_freezable_power_efficient", 0),
}
_POOL_NAMES = {"bound": "kworker/0:{}", "highpri": "kworker/0:{}H", "unbound": "kworker/u2:{}"}


class Item:
    """One piece of work, queued once."""

    def __init__(self, ticket: int, work: int, queue: int) -> None:
        self.ticket, self.work, self.queue = ticket, work, queue


class Queue:
    """One workqueue."""

    def __init__(self, name: str, flags: int, max_active: int) -> None:
        self.name, self.flags, self.max_active = name, flags, max_active

    @property
    def pool(self) -> str:
        """The workers that serve it."""
        return "unbound" if self.flags & WQ_UNBOUND else "highpri" if self.flags & WQ_HIGHPRI else "bound"


class Workqueues:
    """All workqueues, what is queued, and the workers."""

    def __init__(self, kernel: KernelCore) -> None:
        self._kernel = kernel
        self._tickets = 0
        self._queues: dict[int, Queue] = {}
        self._pending: deque[Item] = deque()
        self._workers: dict[int, str] = {}  # task_struct -> pool
        self._running: dict[int, Item] = {}  # task_struct of the worker -> what it runs
        self._waiters: list[int] = []
        self._created = dict.fromkeys(_POOL_NAMES, 0)
        self._rescuers: dict[int, int] = {}  # workqueue -> pid
        kernel.sched.sleeping.append(self._sleeping)

    # --- queues -------------------------------------------------------------------------------------

    def add(self, address: int, name: str, flags: int, max_active: int) -> None:
        """A workqueue comes into being."""
        self._queues[address] = Queue(name, flags, min(max_active or _DEFAULT_ACTIVE, _MAX_ACTIVE))
        view = self._kernel.view("workqueue_struct", address)
        view.set_bytes("name", name.encode("utf-8", "surrogateescape")[:23])
        view.set("flags", flags)
        if flags & WQ_MEM_RECLAIM:  # has a thread for when memory is short, which it never is here
            self._rescuers[address] = self._kernel.tasks.create_thread(name[:_COMM]).pid

    def remove(self, address: int) -> None:
        """It goes, with what is queued."""
        self._queues.pop(address, None)
        if rescuer := self._kernel.tasks.by_pid.get(self._rescuers.pop(address, -1)):
            self._kernel.tasks.exit(rescuer)
        self._pending = deque(item for item in self._pending if item.queue != address)

    def queue(self, queue: int, work: int) -> bool:
        """Queue a piece of work; False if it is pending already."""
        data = self._kernel.memory.read_u64(work)
        if data & _PENDING:
            return False
        self._kernel.memory.write_u64(work, data | _PENDING)
        if self._kernel.memory.read_u64(work + _ENTRY) != work + _ENTRY:  # INIT_WORK() makes it empty
            self._kernel.warnings.warn("kernel/workqueue.c", 1502, "", "__queue_work+0x33c/0x440")
        else:
            self.insert(queue, work)
        return True

    def insert(self, queue: int, work: int) -> None:
        """Queue a piece of work that is marked as pending.

        Raises:
            PageFault: There is no such workqueue.
        """
        if queue not in self._queues:
            self._kernel.oopses.bad_free("queue_work", queue)
        self._tickets += 1
        self._pending.append(Item(self._tickets, work, queue))
        self._kick(self._queues[queue].pool)

    def set_max_active(self, queue: int, max_active: int) -> None:
        """Change how many pieces may run at a time."""
        self._queues[queue].max_active = max(max_active, 1)

    # --- workers ------------------------------------------------------------------------------------

    def _next(self, pool: str) -> Item | None:
        """The first piece that a worker of a pool may run now."""
        running = list(self._running.values())
        for item in self._pending:
            queue = self._queues[item.queue]
            if queue.pool != pool or any(other.work == item.work for other in running):
                continue
            if sum(other.queue == item.queue for other in running) < queue.max_active:
                return item
        return None

    def _kick(self, pool: str) -> None:
        """See to it that somebody runs what can be run."""
        if self._next(pool) is None:
            return
        tasks = self._kernel.tasks
        members = [tasks.at(address) for address, name in self._workers.items() if name == pool]
        idle = [task for task in members if task.address not in self._running]
        if idle:
            try_to_wake_up(self._kernel, idle[0].address, 0xFFFF)
        elif pool == "unbound" or all(task.asleep or task.blocked for task in members):
            self._create(pool)

    def _create(self, pool: str) -> None:
        kernel = self._kernel
        if not kernel.usage.may_start(len(kernel.tasks.by_pid)):  # whoever ends next kicks again
            return
        number, self._created[pool] = self._created[pool], self._created[pool] + 1
        function = kernel.symbols.address("worker_thread")
        task = kernel.kthreads.create(function, 0, _POOL_NAMES[pool].format(number))
        kernel.view("task_struct", task.address).flags |= _PF_WQ_WORKER
        self._workers[task.address] = pool
        try_to_wake_up(kernel, task.address, 0xFFFF)

    def _sleeping(self, task: Task) -> None:
        """A task is about to sleep: if it is a worker in the middle of work, another one goes on."""
        if task.address in self._running:
            task.asleep = True
            self._kick(self._workers[task.address])
            task.asleep = False

    def take(self, worker: int) -> int:
        """The next piece of work of a worker, 0 if there is none."""
        item = self._next(self._workers[worker])
        if item is None:
            return 0
        self._pending.remove(item)
        self._running[worker] = item
        self._kernel.memory.write_u64(item.work, _NO_POOL)
        return item.work

    def finish(self, worker: int) -> None:
        """A worker is done with its piece."""
        self._running.pop(worker, None)
        for pool in _POOL_NAMES:
            self._kick(pool)
        waiters, self._waiters = self._waiters, []
        for waiter in waiters:
            if self._kernel.tasks.known(waiter):
                try_to_wake_up(self._kernel, waiter, TASK_NORMAL)

    def worker_ended(self, task: Task) -> None:
        """A worker died of an oops."""
        if self._workers.pop(task.address, None) is not None:
            self.finish(task.address)

    def current(self, worker: int) -> int:
        """The work that a worker runs, 0 for none."""
        item = self._running.get(worker)
        return item.work if item else 0

    # --- waiting ------------------------------------------------------------------------------------

    def _items(self) -> list[Item]:
        return [*self._running.values(), *self._pending]

    def ticket(self, work: int) -> int:
        """What to wait for until a piece of work has run as often as it is queued now; 0 if it is idle."""
        return max((item.ticket for item in self._items() if item.work == work), default=0)

    @property
    def last_ticket(self) -> int:
        """That of everything queued until now."""
        return self._tickets

    def unfinished(self, ticket: int, queue: int | None = None) -> bool:
        """Whether a ticket, or one up to it of a queue, is not done; the current task is then woken later."""
        if queue is None:
            busy = any(item.ticket == ticket for item in self._items())
        else:
            busy = any(item.queue == queue and item.ticket <= ticket for item in self._items())
        if busy:
            self._waiters.append(self._kernel.sched.current.address)
        return busy

    def grab(self, work: int) -> bool:
        """Take a piece of work off its queue, and mark it so that nobody queues it.

        Whether it was pending.
        """
        memory = self._kernel.memory
        data = memory.read_u64(work)
        self._pending = deque(item for item in self._pending if item.work != work)
        memory.write_u64(work, data | _PENDING)
        return bool(data & _PENDING)

    def busy(self, work: int) -> int:
        """What work_busy() answers."""
        pending = self._kernel.memory.read_u64(work) & _PENDING
        running = any(item.work == work for item in self._running.values())
        return (_WORK_BUSY_PENDING if pending else 0) | (_WORK_BUSY_RUNNING if running else 0)

    # --- state --------------------------------------------------------------------------------------

    def save(self) -> Any:
        """State for a snapshot or file."""
        return {
            "tickets": self._tickets,
            "queues": [[a, q.name, q.flags, q.max_active] for a, q in self._queues.items()],
            "pending": [[item.ticket, item.work, item.queue] for item in self._pending],
            "workers": list(self._workers.items()),
            "running": [[worker, i.ticket, i.work, i.queue] for worker, i in self._running.items()],
            "waiters": list(self._waiters),
            "created": dict(self._created),
            "rescuers": list(self._rescuers.items()),
        }

    def load(self, state: Any) -> None:
        """Put saved state back."""
        self._tickets = state["tickets"]
        self._queues = {address: Queue(*rest) for address, *rest in state["queues"]}
        self._pending = deque(Item(*item) for item in state["pending"])
        self._workers = dict(state["workers"])
        self._running = {worker: Item(*item) for worker, *item in state["running"]}
        self._waiters, self._created = list(state["waiters"]), dict(state["created"])
        self._rescuers = dict(state["rescuers"])


def _define_system_queues() -> None:
    def define(symbol: str, name: str, flags: int) -> None:
        @export_data(f"struct workqueue_struct *{symbol}", 1024)
        def system_queue(kernel: KernelCore, address: int) -> None:
            """A workqueue that everybody may use (kernel/workqueue.c); the structure follows the pointer."""
            kernel.memory.write_u64(address, address + 64)
            kernel.workqueues.add(address + 64, name, flags, 0)

    for symbol, (name, flags) in _SYSTEM_QUEUES.items():
        define(symbol, name, flags)


_define_system_queues()


@export("struct workqueue_struct *alloc_workqueue(const char *fmt, unsigned int flags, int max_active, ...)")
def alloc_workqueue(kernel: KernelCore, fmt: bytes, flags: int, max_active: int, args: Arguments) -> int:
    """Create a workqueue (kernel/workqueue.c)."""
    address = kernel.heap.kmalloc(kernel.profile.struct("workqueue_struct").size)
    if address:
        name = vsnprintf(fmt, args, kernel.format_context).decode("utf-8", "surrogateescape")
        kernel.workqueues.add(address, name, flags, max_active)
    return address


@export("void workqueue_free(struct workqueue_struct *wq)")
def workqueue_free(kernel: KernelCore, wq: int) -> None:
    """The end of destroy_workqueue() (guest_kernel_stubs/workqueue.c)."""
    kernel.workqueues.remove(wq)
    kernel.heap.kfree(wq)


@export("void workqueue_set_max_active(struct workqueue_struct *wq, int max_active)")
def workqueue_set_max_active(kernel: KernelCore, wq: int, max_active: int) -> None:
    """Change how many pieces of work may run at a time (kernel/workqueue.c)."""
    kernel.workqueues.set_max_active(wq, max_active)


@export("bool queue_work_on(int cpu, struct workqueue_struct *wq, struct work_struct *work)")
def queue_work_on(kernel: KernelCore, cpu: int, wq: int, work: int) -> bool:
    """Queue a piece of work; false if it is pending (kernel/workqueue.c)."""
    return kernel.workqueues.queue(wq, work)


@export("bool queue_work_node(int node, struct workqueue_struct *wq, struct work_struct *work)")
def queue_work_node(kernel: KernelCore, node: int, wq: int, work: int) -> bool:
    """As queue_work_on (kernel/workqueue.c)."""
    return kernel.workqueues.queue(wq, work)


def _arm(kernel: KernelCore, wq: int, dwork: int, delay: int) -> None:
    view = kernel.view("delayed_work", dwork)
    view.wq = wq
    if not delay:
        kernel.workqueues.insert(wq, dwork)
        return
    kernel.timers.arm(view.addressof("timer"), kernel.clock.jiffies + delay)


@export(
    "bool queue_delayed_work_on(int cpu, struct workqueue_struct *wq, struct delayed_work *dwork,"
    " unsigned long delay)"
)
def queue_delayed_work_on(kernel: KernelCore, cpu: int, wq: int, dwork: int, delay: int) -> bool:
    """Queue a piece of work after a delay; false if it is pending (kernel/workqueue.c)."""
    data = kernel.memory.read_u64(dwork)
    if data & _PENDING:
        return False
    kernel.memory.write_u64(dwork, data | _PENDING)
    _arm(kernel, wq, dwork, delay)
    return True


@export(
    "bool mod_delayed_work_on(int cpu, struct workqueue_struct *wq, struct delayed_work *dwork,"
    " unsigned long delay)"
)
def mod_delayed_work_on(kernel: KernelCore, cpu: int, wq: int, dwork: int, delay: int) -> bool:
    """Change the delay, or queue; true if it was pending (kernel/workqueue.c)."""
    timer = kernel.view("delayed_work", dwork).addressof("timer")
    armed = kernel.timers.disarm(timer)
    pending = kernel.workqueues.grab(dwork)
    _arm(kernel, wq, dwork, delay)
    return armed or pending


@export("void delayed_work_timer_fn(struct timer_list *t)")
def delayed_work_timer_fn(kernel: KernelCore, t: int) -> None:
    """The delay is over (kernel/workqueue.c)."""
    layout = kernel.profile.struct("delayed_work")
    dwork = t - layout.offset("timer")
    kernel.workqueues.insert(kernel.memory.read_u64(dwork + layout.offset("wq")), dwork)


@export("unsigned int work_busy(struct work_struct *work)")
def work_busy(kernel: KernelCore, work: int) -> int:
    """Whether a piece of work is pending (1), running (2) or both (kernel/workqueue.c)."""
    return kernel.workqueues.busy(work)


@export("struct work_struct *current_work(void)")
def current_work(kernel: KernelCore) -> int:
    """The work that the current worker runs (kernel/workqueue.c)."""
    return kernel.workqueues.current(kernel.sched.current.address)


@export("struct work_struct *worker_next(void)")
def worker_next(kernel: KernelCore) -> int:
    """What the current worker is to run (guest_kernel_stubs/workqueue.c)."""
    return kernel.workqueues.take(kernel.sched.current.address)


@export("void worker_done(void)")
def worker_done(kernel: KernelCore) -> None:
    """The current worker has run it."""
    kernel.workqueues.finish(kernel.sched.current.address)


@export("u64 work_ticket(struct work_struct *work)")
def work_ticket(kernel: KernelCore, work: int) -> int:
    """What to wait for; 0 if the work is idle."""
    return kernel.workqueues.ticket(work)


@export("bool work_finished(u64 ticket)")
def work_finished(kernel: KernelCore, ticket: int) -> bool:
    """Whether it is done; if not, the caller is woken to ask again."""
    return not kernel.workqueues.unfinished(ticket)


@export("bool work_grab(struct work_struct *work)")
def work_grab(kernel: KernelCore, work: int) -> bool:
    """Take work off its queue and keep it from being queued; whether it was pending."""
    return kernel.workqueues.grab(work)


@export("void work_release(struct work_struct *work)")
def work_release(kernel: KernelCore, work: int) -> None:
    """It may be queued again."""
    kernel.memory.write_u64(work, kernel.memory.read_u64(work) & ~_PENDING)


@export("u64 workqueue_ticket(struct workqueue_struct *wq)")
def workqueue_ticket(kernel: KernelCore, wq: int) -> int:
    """What to wait for until all that is queued now is done."""
    return kernel.workqueues.last_ticket


@export("bool workqueue_finished(struct workqueue_struct *wq, u64 ticket)")
def workqueue_finished(kernel: KernelCore, wq: int, ticket: int) -> bool:
    """Whether it is; if not, the caller is woken to ask again."""
    return not kernel.workqueues.unfinished(ticket, wq)

"""RCU and SRCU: callbacks after a grace period (kernel/rcu/tree.c, srcutree.c).

A grace period is over at the second tick after it was asked for, once no task is inside a read-side
section. Tasks change only where they give up the processor, so a section is found in progress only if its
task sleeps in it or was preempted in it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from kmod_emu.kernel.activation import to_int
from kmod_emu.kernel.clock import NSEC_PER_SEC
from kmod_emu.kernel.exports import export
from kmod_emu.kernel.softirq import call_softirq

if TYPE_CHECKING:
    from kmod_emu.kernel.kernel import KernelCore
    from kmod_emu.kernel.tasks import Task

_MAX_OFFSET = 4096  # a second argument of kvfree_call_rcu below this is an offset in the object


class Rcu:
    """Callbacks waiting for the end of a grace period."""

    def __init__(self, kernel: KernelCore) -> None:
        self._kernel = kernel
        self._readers: dict[int, int] = {}  # srcu_struct -> how many are inside
        layout = kernel.profile.struct("task_struct")
        self._nesting = layout.members.get("rcu_read_lock_nesting")
        self._looked = (-1, False)  # at which turn, and whether a task that does not run was inside then
        kernel.sched.on("rcu", self._callback)
        kernel.sched.on("srcu", self._srcu_callback)
        kernel.sched.on("kfree_rcu", self._free)

    def after_grace_period(self, kind: str, payload: Any) -> None:
        """Have an event served then."""
        tick = NSEC_PER_SEC // self._kernel.profile.hz
        self._kernel.sched.agenda.post(self._kernel.clock.next_tick_ns + tick, kind, payload)

    def pending(self, head: int) -> bool:
        """Whether the callback of a struct rcu_head is still to be called."""
        return any(place == head for place, _ in self._kernel.sched.agenda.waiting("rcu"))

    async def synchronize(self) -> None:
        """synchronize_rcu() for coroutines: sleep until a grace period is over; others run meanwhile."""
        sched, clock = self._kernel.sched, self._kernel.clock
        while True:
            await sched.sleep(clock.next_tick_ns - clock.now_ns + NSEC_PER_SEC // self._kernel.profile.hz)
            if not self._read_sides():
                return

    def _read_sides(self) -> bool:
        """Whether a task is inside a section."""
        if self._nesting is None:
            return False
        kernel, offset = self._kernel, self._nesting.offset
        memory, running, turn = kernel.memory, kernel.sched.current, kernel.sched.turn
        if self._looked[0] != turn:  # only the task that runs goes in and out
            tasks = (task for task in kernel.tasks.by_pid.values() if task is not running and not task.dead)
            self._looked = turn, any(memory.read_u32(task.address + offset) for task in tasks)
        return self._looked[1] or bool(not running.dead and memory.read_u32(running.address + offset))

    def inside(self, task: Task) -> bool:
        """Whether a task is inside a read-side section."""
        if self._nesting is None:
            return False
        return to_int(self._kernel.memory.read_u32(task.address + self._nesting.offset)) > 0

    def note_context_switch(self, task: Task) -> None:
        """A task that gives up the processor must not be inside a section (rcu_note_context_switch)."""
        if self.inside(task):
            text = "Voluntary context switch within RCU read-side critical section!"
            where = "rcu_note_context_switch+0x4ee/0x650"
            self._kernel.warnings.warn_once("kernel/rcu/tree_plugin.h", 320, text, where)

    async def _callback(self, payload: Any) -> None:
        if self._read_sides():
            self.after_grace_period("rcu", payload)
        else:
            await call_softirq(self._kernel, payload[1], payload[0])

    async def _free(self, address: int) -> None:
        if self._read_sides():
            self.after_grace_period("kfree_rcu", address)
        elif not self._kernel.vmalloc.free(address) and not self._kernel.heap.kfree(address):
            self._kernel.oopses.bad_free("kfree_rcu", address)

    async def _srcu_callback(self, payload: Any) -> None:
        if self._readers.get(payload[2]):
            self.after_grace_period("srcu", payload)
        else:
            await call_softirq(self._kernel, payload[1], payload[0])

    def enter(self, ssp: int, change: int) -> None:
        """A reader of an srcu_struct comes or goes."""
        self._readers[ssp] = self._readers.get(ssp, 0) + change
        if not self._readers[ssp]:
            del self._readers[ssp]

    def readers(self, ssp: int) -> int:
        """How many readers are inside."""
        return self._readers.get(ssp, 0)

    def save(self) -> Any:
        """State for a snapshot or file."""
        return list(self._readers.items())

    def load(self, state: Any) -> None:
        """Put saved state back."""
        self._readers = dict(state)


@export("void call_rcu(struct rcu_head *head, void (*func)(struct rcu_head *head))")
def call_rcu(kernel: KernelCore, head: int, func: int) -> None:
    """Call a function after a grace period (kernel/rcu/tree.c)."""
    kernel.memory.write_u64(head + 8, func)
    kernel.rcu.after_grace_period("rcu", [head, func])


@export("void call_rcu_hurry(struct rcu_head *head, void (*func)(struct rcu_head *head))")
def call_rcu_hurry(kernel: KernelCore, head: int, func: int) -> None:
    """As call_rcu (kernel/rcu/tree.c)."""
    call_rcu(kernel, head, func)


@export("void kvfree_call_rcu(struct rcu_head *head, void *ptr)")
def kvfree_call_rcu(kernel: KernelCore, head: int, ptr: int) -> None:
    """Free an object after a grace period: kfree_rcu() (kernel/rcu/tree.c).

    Up to 6.1 `ptr` is the offset of the head in the object.
    """
    kernel.rcu.after_grace_period("kfree_rcu", head - ptr if head and ptr < _MAX_OFFSET else ptr)


@export("int init_srcu_struct(struct srcu_struct *ssp)")
def init_srcu_struct(kernel: KernelCore, ssp: int) -> int:
    """Prepare an srcu_struct (kernel/rcu/srcutree.c)."""
    return 0


@export("void cleanup_srcu_struct(struct srcu_struct *ssp)")
def cleanup_srcu_struct(kernel: KernelCore, ssp: int) -> None:
    """The end of an srcu_struct; readers inside are a bug (kernel/rcu/srcutree.c)."""
    if kernel.rcu.readers(ssp):
        kernel.warnings.warn("kernel/rcu/srcutree.c", 652, "")


@export("int __srcu_read_lock(struct srcu_struct *ssp)")
def __srcu_read_lock(kernel: KernelCore, ssp: int) -> int:
    """Enter a read-side section (kernel/rcu/srcutree.c)."""
    kernel.rcu.enter(ssp, 1)
    return 0


@export("void __srcu_read_unlock(struct srcu_struct *ssp, int idx)")
def __srcu_read_unlock(kernel: KernelCore, ssp: int, idx: int) -> None:
    """Leave a read-side section (kernel/rcu/srcutree.c)."""
    kernel.rcu.enter(ssp, -1)


@export("void call_srcu(struct srcu_struct *ssp, struct rcu_head *rhp, void (*func)(struct rcu_head *rh))")
def call_srcu(kernel: KernelCore, ssp: int, rhp: int, func: int) -> None:
    """Call a function when all readers that are inside have left (kernel/rcu/srcutree.c)."""
    kernel.rcu.after_grace_period("srcu", [rhp, func, ssp])

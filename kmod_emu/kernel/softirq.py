"""What runs between tasks: softirqs, tasklets, irq_work (kernel/softirq.c, kernel/irq_work.c)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from kmod_emu.kernel.exports import Fidelity, export
from kmod_emu.kernel.preempt import (
    EFLAGS_IF,
    HARDIRQ_OFFSET,
    SOFTIRQ_OFFSET,
    in_interrupt,
    preempt_count_add,
)

if TYPE_CHECKING:
    from kmod_emu.kernel.kernel import KernelCore

_AT_ONCE = 100  # softirqs that one moment has room for; ksoftirqd would run more
_SCHED, _RUN = 1, 2  # TASKLET_STATE_*
_PENDING, _BUSY = 1, 2  # IRQ_WORK_*
_IRQ_WORK_FLAGS, _IRQ_WORK_FUNC = 8, 16  # offsets in struct irq_work, the same in all releases


async def call_softirq(kernel: KernelCore, function: int, *arguments: int) -> int:
    """Call guest code as a softirq does."""
    preempt_count_add(kernel, SOFTIRQ_OFFSET)
    result = await kernel.call_guest(function, *arguments)
    preempt_count_add(kernel, -SOFTIRQ_OFFSET)
    return result


async def call_hardirq(kernel: KernelCore, function: int, *arguments: int) -> int:
    """Call guest code as an interrupt does: with interrupts off."""
    flags = kernel.cpu.read("eflags")
    preempt_count_add(kernel, HARDIRQ_OFFSET)
    kernel.cpu.write("eflags", flags & ~EFLAGS_IF)
    result = await kernel.call_guest(function, *arguments)
    kernel.cpu.write("eflags", flags)
    preempt_count_add(kernel, -HARDIRQ_OFFSET)
    return result


class SoftIrqs:
    """Serves what tasklets and irq_work are scheduled for; their state is in guest memory."""

    def __init__(self, kernel: KernelCore) -> None:
        self._kernel = kernel
        self._moment = self._raised = 0
        kernel.sched.on("tasklet", self._run_tasklet)
        kernel.sched.on("irq_work", self._run_irq_work)

    def raise_now(self, kind: str, address: int) -> None:
        """To be served as soon as interrupts may come; without an end to that, tasks get a turn first."""
        clock = self._kernel.clock
        if clock.now_ns != self._moment:
            self._moment, self._raised = clock.now_ns, 0
        self._raised += 1
        due = self._moment if self._raised <= _AT_ONCE else clock.next_tick_ns
        self._kernel.sched.agenda.post(due, kind, address)

    async def _run_tasklet(self, tasklet: int) -> None:
        """One tasklet; one that is disabled is looked at again at the next tick."""
        kernel = self._kernel
        view = kernel.view("tasklet_struct", tasklet)
        if view.count:
            kernel.sched.agenda.post(kernel.clock.next_tick_ns, "tasklet", tasklet)
            return
        view.state = view.get("state") & ~_SCHED | _RUN
        argument = tasklet if view.get("use_callback") & 1 else view.get("data")
        await call_softirq(kernel, view.get("func"), argument)
        view.state = view.get("state") & ~_RUN

    async def _run_irq_work(self, work: int) -> None:
        memory = self._kernel.memory
        flags = memory.read_u32(work + _IRQ_WORK_FLAGS)
        memory.write_u32(work + _IRQ_WORK_FLAGS, flags & ~_PENDING | _BUSY)
        await call_hardirq(self._kernel, memory.read_u64(work + _IRQ_WORK_FUNC), work)
        flags = memory.read_u32(work + _IRQ_WORK_FLAGS)
        memory.write_u32(work + _IRQ_WORK_FLAGS, flags & ~_BUSY)


@export("void tasklet_init(struct tasklet_struct *t, void (*func)(unsigned long), unsigned long data)")
def tasklet_init(kernel: KernelCore, t: int, func: int, data: int) -> None:
    """Prepare a tasklet whose function gets a number (kernel/softirq.c)."""
    kernel.memory.clear(t, kernel.profile.struct("tasklet_struct").size)
    view = kernel.view("tasklet_struct", t)
    view.func = func
    view.set("data", data)


@export("void tasklet_setup(struct tasklet_struct *t, void (*callback)(struct tasklet_struct *))")
def tasklet_setup(kernel: KernelCore, t: int, callback: int) -> None:
    """Prepare a tasklet whose function gets the tasklet (kernel/softirq.c)."""
    tasklet_init(kernel, t, callback, 0)
    kernel.view("tasklet_struct", t).use_callback = 1


@export("void __tasklet_schedule(struct tasklet_struct *t)")
def __tasklet_schedule(kernel: KernelCore, t: int) -> None:
    """Run a tasklet soon; inlined code has marked it as scheduled (kernel/softirq.c)."""
    kernel.softirqs.raise_now("tasklet", t)


@export("void __tasklet_hi_schedule(struct tasklet_struct *t)", Fidelity.APPROXIMATE)
def __tasklet_hi_schedule(kernel: KernelCore, t: int) -> None:
    """Run a tasklet soon; tasklets run in the order in which they were scheduled (kernel/softirq.c)."""
    kernel.softirqs.raise_now("tasklet", t)


@export("void tasklet_kill(struct tasklet_struct *t)")
async def tasklet_kill(kernel: KernelCore, t: int) -> None:
    """Wait until a tasklet has run, if it is scheduled (kernel/softirq.c)."""
    if in_interrupt(kernel):
        kernel.printk.emit("Attempt to kill tasklet from interrupt\n", 5)
    view = kernel.view("tasklet_struct", t)
    while view.get("state") & (_SCHED | _RUN):
        await kernel.sched.sleep(kernel.clock.next_tick_ns - kernel.clock.now_ns)


def _define_tasklet_waits() -> None:
    for name in ("tasklet_unlock_wait", "tasklet_unlock_spin_wait", "tasklet_unlock"):

        @export(f"void {name}(struct tasklet_struct *t)")
        def wait(kernel: KernelCore, t: int) -> None:
            """Wait until it does not run: with one processor it does not (kernel/softirq.c)."""


_define_tasklet_waits()


@export("void __local_bh_enable_ip(unsigned long ip, unsigned int cnt)")
async def __local_bh_enable_ip(kernel: KernelCore, ip: int, cnt: int) -> None:
    """Softirqs may come again: those that are due do (kernel/softirq.c)."""
    preempt_count_add(kernel, -cnt)
    await kernel.sched.serve_due()


@export("void __local_bh_disable_ip(unsigned long ip, unsigned int cnt)")
def __local_bh_disable_ip(kernel: KernelCore, ip: int, cnt: int) -> None:
    """No softirqs from here on (kernel/softirq.c)."""
    preempt_count_add(kernel, cnt)


@export("void init_irq_work(struct irq_work *work, void (*func)(struct irq_work *))")
def init_irq_work(kernel: KernelCore, work: int, func: int) -> None:
    """Prepare a piece of work (include/linux/irq_work.h)."""
    kernel.memory.clear(work, kernel.profile.struct("irq_work").size)
    kernel.memory.write_u64(work + _IRQ_WORK_FUNC, func)


@export("bool irq_work_queue(struct irq_work *work)")
def irq_work_queue(kernel: KernelCore, work: int) -> bool:
    """Have a function called in interrupt context; false if it is pending already (kernel/irq_work.c)."""
    flags = kernel.memory.read_u32(work + _IRQ_WORK_FLAGS)
    if flags & _PENDING:
        return False
    kernel.memory.write_u32(work + _IRQ_WORK_FLAGS, flags | _PENDING | _BUSY)
    kernel.softirqs.raise_now("irq_work", work)
    return True


@export("bool irq_work_queue_on(struct irq_work *work, int cpu)")
def irq_work_queue_on(kernel: KernelCore, work: int, cpu: int) -> bool:
    """As irq_work_queue: there is one processor (kernel/irq_work.c)."""
    return irq_work_queue(kernel, work)


@export("void irq_work_sync(struct irq_work *work)")
async def irq_work_sync(kernel: KernelCore, work: int) -> None:
    """Wait until it has run (kernel/irq_work.c)."""
    await kernel.sched.serve_due()


@export("void irq_work_run(void)")
async def irq_work_run(kernel: KernelCore) -> None:
    """Run what is pending (kernel/irq_work.c)."""
    await kernel.sched.serve_due()

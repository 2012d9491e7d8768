"""Tasks: giving up the processor, waking up, being born and ending."""

from __future__ import annotations

from typing import TYPE_CHECKING

from kmod_emu.kernel import schedule
from kmod_emu.kernel.activation import Away
from kmod_emu.vmlinux.frontier.table import Frontier

if TYPE_CHECKING:
    from kmod_emu.kernel.kernel import KernelCore
    from kmod_emu.vmlinux.kernel import VmlinuxKernel

frontier = Frontier(__name__)

_SWITCH = "tasks are the machine's, so that Python code can wait in them; they take turns in its scheduler"
_ONE_CPU = "there is one processor"
_TASK_DEAD = 0x80
_SIBLINGS = ("cpu_sibling_map", "cpu_core_map", "cpu_die_map", "cpu_l2c_shared_map", "cpu_llc_shared_map")
_MASK_SIZE = 1024  # bytes of a cpumask of 8,192 processors


@frontier.replace("void __schedule(unsigned int sched_mode)", _SWITCH)
def __schedule(kernel: KernelCore, sched_mode: int) -> None:
    """Let others run; everything that waits comes here (kernel/sched/core.c)."""
    sched, task = kernel.sched, kernel.sched.current
    state = schedule.task_state(kernel, task)
    if state & _TASK_DEAD:
        sched.leave(Away.ENDED)
    elif state and not sched_mode and not schedule.signal_pending_state(kernel, state, task):
        count = task.address + kernel.profile.offset("task_struct", "nvcsw")
        kernel.memory.write_u64(count, kernel.memory.read_u64(count) + 1)  # khungtaskd looks at that
        kernel.clock.advance(schedule.SWITCH_NS)
        sched.leave(Away.ASLEEP)
    else:
        schedule.set_task_state(kernel, task, schedule.TASK_RUNNING)
        sched.offer(schedule.SWITCH_NS, kernel.clock.tick_ns)


@frontier.replace("int try_to_wake_up(struct task_struct *p, unsigned int state, int wake_flags)", _SWITCH)
def try_to_wake_up(kernel: KernelCore, p: int, state: int, wake_flags: int) -> int:
    """Wake a task if it is in one of the states (kernel/sched/core.c)."""
    return schedule.try_to_wake_up(kernel, p, state)


@frontier.replace("void wake_up_new_task(struct task_struct *p)", _SWITCH)
def wake_up_new_task(kernel: VmlinuxKernel, p: int) -> None:
    """copy_process() has made a task: it runs for the first time (kernel/sched/core.c)."""
    kernel.tasks.born(p)


@frontier.replace("void cpu_startup_entry(int state)", _SWITCH)
def cpu_startup_entry(kernel: KernelCore, state: int) -> None:
    """The first task becomes the idle task (kernel/sched/idle.c)."""
    kernel.sched.leave(Away.ENDED)


frontier.nothing(_SWITCH, "resched_curr check_preempt_curr kick_process")


@frontier.replace(
    "unsigned long wait_task_inactive(struct task_struct *p, unsigned int match_state)", _ONE_CPU
)
def wait_task_inactive(kernel: KernelCore, p: int, match_state: int) -> int:
    """With one processor another task does not run (kernel/sched/core.c)."""
    return 1


frontier.nothing(
    _ONE_CPU,
    "smp_init smp_call_function smp_call_function_many native_smp_prepare_boot_cpu sched_init_smp",
)


@frontier.replace("void native_smp_prepare_cpus(unsigned int max_cpus)", _ONE_CPU)
def native_smp_prepare_cpus(kernel: KernelCore, max_cpus: int) -> None:
    """The one processor is described in its per-CPU memory, too, and is its own sibling (smpboot.c)."""
    size = kernel.profile.struct("cpuinfo_x86").size
    own = kernel.percpu.address(kernel.symbol("cpu_info"))
    kernel.memory.write(own, kernel.memory.read(kernel.symbol("boot_cpu_data"), size))
    for name in _SIBLINGS:
        if kernel.symbols.internal(name):
            mask = kernel.heap.kmalloc(_MASK_SIZE)
            kernel.memory.write(mask, b"\1".ljust(_MASK_SIZE, b"\0"))
            kernel.percpu.write(name, mask, 8)

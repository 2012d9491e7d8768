"""Tasks that wait too long and cannot be killed (kernel/hung_task.c), as khungtaskd reports them.

It looks every `hung_task_timeout_secs`. Here that is when nothing else is to come any more: a task that
sleeps then sleeps for ever.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from kmod_emu.kernel import report
from kmod_emu.kernel.clock import NSEC_PER_SEC

if TYPE_CHECKING:
    from kmod_emu.kernel.kernel import KernelCore
    from kmod_emu.kernel.tasks import Task

_UNINTERRUPTIBLE, _WAKEKILL, _NOLOAD = 2, 0x100, 0x400


def check(kernel: KernelCore) -> None:
    """Time passes until khungtaskd has seen the same tasks asleep twice; it reports each."""
    timeout = kernel.sysctl["hung_task_timeout_secs"]
    told = [report["text"] for report in kernel.findings.reports if report["kind"] == "hung task"]
    hung = [task for task in kernel.tasks.by_pid.values() if _is_hung(kernel, task)]
    hung = [task for task in hung if _sentence(kernel, task) not in told]
    if not hung or not timeout:
        return
    kernel.clock.jump(kernel.clock.now_ns + timeout * NSEC_PER_SEC)
    for task in hung:
        _report(kernel, task, timeout)


def _is_hung(kernel: KernelCore, task: Task) -> bool:
    if not (task.asleep or task.blocked):
        return False
    state = kernel.memory.read_u32(task.address + kernel.tasks.state_offset)
    return bool(state & _UNINTERRUPTIBLE) and not state & (_WAKEKILL | _NOLOAD)


def _report(kernel: KernelCore, task: Task, seconds: int) -> None:
    """check_hung_task(), and what sched_show_task() says of a task."""
    profile, view = kernel.profile, kernel.view("task_struct", task.address)
    parent = kernel.view("task_struct", view.real_parent).tgid if view.real_parent else 0
    flags = kernel.memory.read_u64(task.address)  # thread_info comes first
    version = f"{profile.version.split()[0]} {report.build(profile.version)}"
    who = (
        f"task:{task.comm:<15.15} state:D stack:{0:<5} pid:{task.pid:<5} ppid:{parent:<6} flags:{flags:#010x}"
    )
    kernel.printk.say([
        (3, f"INFO: task {task.comm}:{task.pid} blocked for more than {seconds} seconds."),
        (3, f"      {kernel.taint} {profile.release} {version}"),
        (3, '"echo 0 > /proc/sys/kernel/hung_task_timeout_secs" disables this message.'),
        (6, who),
        *((6, line) for _, line in report.trace_lines(kernel, task)),
    ])  # fmt: skip
    kernel.findings.note("hung task", _sentence(kernel, task))


def _sentence(kernel: KernelCore, task: Task) -> str:
    """For a person, with the innermost line of source."""
    line = kernel.findings.caller_of(task)
    return f"{task.comm}[{task.pid}] waits for something that never comes{f', at {line}' if line else ''}"

"""Process identifiers: `struct pid`, and the ways from a number to a task (kernel/pid.c).

Every task has a `struct pid` of one namespace and a `signal_struct`, so that inlined pid_nr(),
for_each_thread() and do_each_pid_task() find what they walk.
"""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING

from kmod_emu.abi import lists
from kmod_emu.kernel.exports import Fidelity, export, export_data

if TYPE_CHECKING:
    from kmod_emu.kernel.kernel import KernelCore
    from kmod_emu.kernel.tasks import Task

_UPID_SIZE = 16  # struct upid: number, namespace
_LINK_SIZE = 16  # an hlist node of task_struct.pid_links
_PIDTYPE_PID, _PIDTYPE_TGID, _PIDTYPE_MAX = 0, 1, 4


def attach(kernel: KernelCore, task: Task) -> None:
    """Give a new task its pid and signal structures (kernel/fork.c: copy_process)."""
    memory, view = kernel.memory, kernel.view("task_struct", task.address)
    layout = kernel.profile.struct("pid")
    pid = kernel.heap.kmalloc(layout.size + _UPID_SIZE)
    memory.write_u32(pid + layout.offset("count"), 1)
    numbers = struct.pack("<iIQ", task.pid, 0, kernel.symbols.address("init_pid_ns"))
    memory.write(pid + layout.offset("numbers"), numbers)
    for kind in range(2):
        head = pid + layout.offset("tasks") + kind * 8
        lists.hlist_add_head(memory, view.addressof("pid_links") + kind * _LINK_SIZE, head)
    signal = kernel.view("signal_struct", kernel.heap.kmalloc(kernel.profile.struct("signal_struct").size))
    lists.init(memory, signal.addressof("thread_head"))
    lists.add_tail(memory, view.addressof("thread_node"), signal.addressof("thread_head"))
    if view.has("thread_group"):
        lists.init(memory, view.addressof("thread_group"))
    signal.nr_threads = 1
    view.thread_pid, view.signal = pid, signal.address


def detach(kernel: KernelCore, task: Task) -> None:
    """The task is gone; its `struct pid` stays while somebody holds it."""
    view = kernel.view("task_struct", task.address)
    for kind in range(2):
        lists.hlist_delete(kernel.memory, view.addressof("pid_links") + kind * _LINK_SIZE)
    kernel.heap.kfree(view.get("signal"))
    put_pid(kernel, view.thread_pid)
    view.thread_pid = 0


def pid_of(kernel: KernelCore, task: Task | None) -> int:
    """Address of a task's `struct pid`, 0 for no task."""
    return kernel.view("task_struct", task.address).thread_pid if task else 0


def task_of(kernel: KernelCore, pid: int) -> Task | None:
    """The task of a `struct pid`, None when it is gone."""
    return kernel.tasks.by_pid.get(number(kernel, pid)) if pid else None


def number(kernel: KernelCore, pid: int) -> int:
    """The number in a `struct pid`, 0 for NULL."""
    return kernel.memory.read_u32(pid + kernel.profile.offset("pid", "numbers")) if pid else 0


def _get_task(kernel: KernelCore, task: Task | None) -> int:
    """Take a reference; the address, 0 for no task."""
    if task is None:
        return 0
    view = kernel.view("task_struct", task.address)
    view.usage += 1
    return task.address


@export_data("struct pid_namespace init_pid_ns", lambda kernel: kernel.profile.struct("pid_namespace").size)
def init_pid_ns(kernel: KernelCore, address: int) -> None:
    """The namespace of all processes (kernel/pid.c)."""
    view = kernel.view("pid_namespace", address)
    view.child_reaper = kernel.tasks.init.address


@export("struct pid *find_vpid(int nr)")
def find_vpid(kernel: KernelCore, nr: int) -> int:
    """The pid of a number (kernel/pid.c)."""
    return pid_of(kernel, kernel.tasks.by_pid.get(nr))


@export("struct pid *find_pid_ns(int nr, struct pid_namespace *ns)")
def find_pid_ns(kernel: KernelCore, nr: int, ns: int) -> int:
    """The pid of a number in a namespace; there is one (kernel/pid.c)."""
    return find_vpid(kernel, nr)


@export("struct pid *find_get_pid(pid_t nr)")
def find_get_pid(kernel: KernelCore, nr: int) -> int:
    """The pid of a number, with a reference (kernel/pid.c)."""
    return _get_pid(kernel, find_vpid(kernel, nr))


def _get_pid(kernel: KernelCore, pid: int) -> int:
    if pid:
        kernel.memory.write_u32(pid, kernel.memory.read_u32(pid) + 1)
    return pid


@export("void put_pid(struct pid *pid)")
def put_pid(kernel: KernelCore, pid: int) -> None:
    """Give a reference back (kernel/pid.c)."""
    if not pid:
        return
    count = kernel.memory.read_u32(pid) - 1
    kernel.memory.write_u32(pid, count)
    if not count:
        kernel.heap.kfree(pid)


@export("struct task_struct *pid_task(struct pid *pid, enum pid_type type)")
def pid_task(kernel: KernelCore, pid: int, type: int) -> int:
    """The task of a pid (kernel/pid.c)."""
    task = task_of(kernel, pid)
    return task.address if task else 0


@export("struct task_struct *get_pid_task(struct pid *pid, enum pid_type type)")
def get_pid_task(kernel: KernelCore, pid: int, type: int) -> int:
    """The task of a pid, with a reference (kernel/pid.c)."""
    return _get_task(kernel, task_of(kernel, pid))


@export("struct task_struct *find_get_task_by_vpid(pid_t nr)")
def find_get_task_by_vpid(kernel: KernelCore, nr: int) -> int:
    """The task of a number, with a reference (kernel/pid.c)."""
    return _get_task(kernel, kernel.tasks.by_pid.get(nr))


@export("struct pid *get_task_pid(struct task_struct *task, enum pid_type type)")
def get_task_pid(kernel: KernelCore, task: int, type: int) -> int:
    """A task's pid, with a reference (kernel/pid.c)."""
    return _get_pid(kernel, kernel.view("task_struct", task).thread_pid)


@export("pid_t pid_nr_ns(struct pid *pid, struct pid_namespace *ns)")
def pid_nr_ns(kernel: KernelCore, pid: int, ns: int) -> int:
    """The number of a pid in a namespace (kernel/pid.c)."""
    return number(kernel, pid)


@export("pid_t pid_vnr(struct pid *pid)")
def pid_vnr(kernel: KernelCore, pid: int) -> int:
    """The number of a pid (kernel/pid.c)."""
    return number(kernel, pid)


@export("pid_t __task_pid_nr_ns(struct task_struct *task, enum pid_type type, struct pid_namespace *ns)")
def __task_pid_nr_ns(kernel: KernelCore, task: int, type: int, ns: int) -> int:
    """The number of a task: all four kinds are one for a task alone in its group (kernel/pid.c)."""
    return kernel.view("task_struct", task).tgid if type else kernel.view("task_struct", task).pid


@export("struct pid_namespace *task_active_pid_ns(struct task_struct *tsk)")
def task_active_pid_ns(kernel: KernelCore, tsk: int) -> int:
    """The namespace of a task (kernel/pid.c)."""
    return kernel.symbols.address("init_pid_ns")


@export("int kill_pid(struct pid *pid, int sig, int priv)")
def kill_pid(kernel: KernelCore, pid: int, sig: int, priv: int) -> int:
    """Send a signal to a process (kernel/signal.c)."""
    from kmod_emu.errors import KernelError
    from kmod_emu.kernel.signal import send_signal
    from kmod_emu.uapi import errno

    task = task_of(kernel, pid)
    if task is None:
        raise KernelError(errno.ESRCH, "the process is gone")
    send_signal(kernel, task, sig)
    return 0


@export("char *__get_task_comm(char *buf, size_t buf_size, struct task_struct *tsk)")
def __get_task_comm(kernel: KernelCore, buf: int, buf_size: int, tsk: int) -> int:
    """Copy a task's name (fs/exec.c)."""
    name = kernel.view("task_struct", tsk).bytes("comm").partition(b"\0")[0]
    kernel.memory.write(buf, name[: buf_size - 1].ljust(buf_size, b"\0"))
    return buf


@export("void __put_task_struct(struct task_struct *tsk)")
def __put_task_struct(kernel: KernelCore, tsk: int) -> None:
    """The last reference is gone (kernel/fork.c)."""
    kernel.tasks.free_task_struct(tsk)


@export("int task_nice(const struct task_struct *p)", Fidelity.APPROXIMATE)
def task_nice(kernel: KernelCore, p: int) -> int:
    """A task's nice value (kernel/sched/core.c)."""
    return kernel.view("task_struct", p).static_prio - 120

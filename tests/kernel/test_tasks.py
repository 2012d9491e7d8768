"""task_struct, credentials and stacks in guest memory."""

import json

import pytest

from kmod_emu.abi import lists
from kmod_emu.kernel.layout import THREAD_SIZE
from kmod_emu.kernel.plain import to_json
from kmod_emu.kernel.tasks import (
    CAP_SYS_ADMIN,
    CAP_SYS_MODULE,
    PF_KTHREAD,
    STACK_END_MAGIC,
)
from kmod_emu.machine.memory import READ, WRITE
from kmod_emu.uapi.capability import ALL_CAPABILITIES


def view(kernel, task):
    return kernel.view("task_struct", task.address)


def every_process(kernel):
    """for_each_process: pids in the order of the guest's list."""
    init = view(kernel, kernel.tasks.init_task)
    offset = init.layout.offset("tasks")
    heads = lists.walk(kernel.memory, init.addressof("tasks"))
    return [kernel.view("task_struct", head - offset).pid for head in heads]


def test_task_struct_says_who_it_is(kernel):
    task = kernel.tasks.create("a long command name", uid=1000, gid=100)
    struct = view(kernel, task)
    assert (struct.pid, struct.tgid) == (task.pid, task.pid)
    assert struct.text("comm") == "a long command "
    assert (struct.prio, struct.static_prio) == (120, 120)
    assert struct.group_leader == task.address
    assert struct.parent == struct.real_parent == kernel.tasks.init.address


def test_credentials(kernel):
    task = kernel.tasks.create("user", uid=1000, gid=100)
    cred = kernel.view("cred", view(kernel, task).cred)
    assert [cred.get(name) for name in ("uid", "euid", "suid", "fsuid")] == [1000] * 4
    assert [cred.get(name) for name in ("gid", "egid", "sgid", "fsgid")] == [100] * 4
    assert cred.cap_effective == 0
    assert cred.cap_bset == ALL_CAPABILITIES


def test_idle_task_is_its_own_parent_and_a_kernel_thread(kernel):
    idle = view(kernel, kernel.tasks.init_task)
    assert idle.address == kernel.symbol("init_task")
    assert (idle.pid, idle.parent) == (0, idle.address)
    assert idle.flags & PF_KTHREAD
    init = view(kernel, kernel.tasks.init)
    assert (init.pid, init.text("comm"), init.parent) == (1, "init", idle.address)


def test_the_process_list_follows_creation_and_exit(kernel):
    first, second = kernel.tasks.create("first"), kernel.tasks.create("second")
    assert every_process(kernel)[-2:] == [first.pid, second.pid]
    kernel.tasks.exit(first)
    assert first.pid not in every_process(kernel)
    assert every_process(kernel)[-1] == second.pid


def test_stack_has_a_magic_end_and_a_guard_page(kernel, guest):
    task = kernel.tasks.create("user")
    assert kernel.memory.read_u64(task.stack) == STACK_END_MAGIC
    assert view(kernel, task).stack == task.stack
    assert task.stack % THREAD_SIZE == 0
    assert task.stack < task.stack_top < task.stack + THREAD_SIZE
    assert not kernel.memory.mapped(task.stack - 1)
    assert not kernel.memory.mapped(task.stack + THREAD_SIZE)


def test_current_is_the_task_that_runs(kernel, guest):
    offset = kernel.percpu.offset("current_task")
    place = guest.code("mov rax, gs:[rdi]; ret")
    for task in (kernel.tasks.create("a"), kernel.tasks.create("b")):
        assert kernel.sched.run(task, kernel.call_guest(place, offset)) == task.address


def test_exit_frees_everything(kernel, guest):
    def used():
        return len(kernel.heap.live), kernel.vmalloc.allocated, sorted(kernel.tasks.by_pid)

    guest.user_task()  # the heap has taken its slabs
    pages, before = kernel.pages.allocated, used()
    task = guest.user_task(pages=3)
    kernel.sched.run(task, kernel.call_guest(kernel.symbol("ktime_get")))
    kernel.tasks.exit(task)
    assert used() == before
    assert kernel.pages.allocated == pages
    assert kernel.sched.current is kernel.tasks.init_task
    assert kernel.memory.user is None


@pytest.mark.parametrize(
    ("options", "capability", "able"),
    [
        ({}, CAP_SYS_MODULE, True),
        ({"uid": 1000}, CAP_SYS_MODULE, False),
        ({"uid": 1000, "capabilities": 1 << CAP_SYS_MODULE}, CAP_SYS_MODULE, True),
        ({"uid": 1000, "capabilities": 1 << CAP_SYS_MODULE}, CAP_SYS_ADMIN, False),
        ({"uid": 0, "capabilities": 0}, CAP_SYS_MODULE, False),
    ],
)
def test_capable(kernel, guest, options, capability, able):
    task = kernel.tasks.create("user", **options)
    assert guest.as_task(task, "capable", capability) == able


def test_the_worker_is_one_kernel_thread(kernel, guest):
    worker = kernel.tasks.worker()
    guest.export("ktime_get")
    assert kernel.tasks.worker() is worker
    assert view(kernel, worker).flags & PF_KTHREAD


def test_current_mm_tells_processes_from_kernel_threads(kernel, guest):
    held = kernel.held()
    task, thread = kernel.tasks.create("process"), kernel.tasks.create_thread("thread")
    mm = kernel.view("mm_struct", view(kernel, task).mm)
    assert (mm.mm_users, view(kernel, thread).mm) == (1, 0)
    child = kernel.tasks.fork(task, share_memory=True)
    assert (view(kernel, child).mm, mm.mm_users) == (mm.address, 2)
    other = kernel.tasks.fork(task)
    assert view(kernel, other).mm not in (0, mm.address)
    for each in (other, child, task, thread):
        kernel.tasks.exit(each)
    assert kernel.held() == held


def test_state_survives_json(kernel, guest):
    task = guest.user_task(uid=7, gid=8)
    memory, tables = kernel.snapshots.take(), json.loads(json.dumps(kernel.save_tables(), default=to_json))
    task.set_ids(0, 0, 0)
    task.comm = "changed"
    task.space.map(0x9000, 0, READ | WRITE)
    later = kernel.tasks.create("later")
    kernel.snapshots.restore(memory)
    kernel.load_tables(tables)
    assert later.pid not in kernel.tasks.by_pid
    assert kernel.tasks.by_pid[task.pid] is task
    assert (task.uid, task.gid, task.comm) == (7, 8, "user")
    assert sorted(task.space.pages) == [0x400, 0x401]
    assert kernel.tasks.create("next").pid == later.pid

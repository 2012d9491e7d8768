"""Tasks: `struct task_struct` by the release's layout, credentials, kernel stacks (kernel/fork.c, cred.c)."""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING, Any

from kmod_emu.abi import lists
from kmod_emu.errors import KernelError, Killed, Unimplemented
from kmod_emu.kernel.activation import Activation, Continue, GuestCall, to_long
from kmod_emu.kernel.cred import IDS, INIT_CRED, boot_cred, copy_cred, put_cred, set_user
from kmod_emu.kernel.exports import export_data
from kmod_emu.kernel.groups import read_groups
from kmod_emu.kernel.layout import TASK_SIZE_MAX, THREAD_SIZE
from kmod_emu.kernel.mm import MemoryMap
from kmod_emu.kernel.pid import attach as attach_pid
from kmod_emu.kernel.pid import detach as detach_pid
from kmod_emu.kernel.preempt import in_interrupt, preempt_count_reset
from kmod_emu.kernel.signal import SIGKILL, send_signal
from kmod_emu.machine.memory import Access, PageFault
from kmod_emu.uapi import errno
from kmod_emu.uapi.capability import ALL_CAPABILITIES

if TYPE_CHECKING:
    from collections.abc import Callable

    from kmod_emu.abi.structs import StructView
    from kmod_emu.kernel.kernel import KernelCore
    from kmod_emu.kernel.spin import Spin
    from kmod_emu.machine.memory import AddressSpace


PF_KTHREAD = 0x0020_0000
PT_REGS_SIZE = 168  # what system call entry leaves at the top of the stack
STACK_END_MAGIC = 0x57AC6E9D

CAP_SYS_MODULE, CAP_SYS_ADMIN, CAP_SYSLOG = 16, 21, 34
KTHREADD, FIRST_PID = 2, 100
_NOBODY = 0xFFFE  # overflowuid


class Task:
    """One thread of execution.

    Attributes:
        address: Of its task_struct.
        stack: Lowest address of its kernel stack.
        mm: User memory, None for a kernel thread.
        activations: What it is doing, innermost last (see sched.py).
        resume: Where guest code that gave up the processor by itself goes on.
        context: Its registers while another task runs; by name if they come from a file.
        page: The argument page of a call that it was interrupted in.
        blocked: A coroutine of it waits to be woken.
        asleep: Guest code of it waits to be woken.
        busy: Processor seconds since it last gave up the processor.
        rounds: How often Python and guest code took turns meanwhile.
        since: Processor time when that was last looked at, None for not yet.
        instructions: That it ran meanwhile, if they are counted.
        spin: What it was found waiting for in a loop.
        spin_ns: Virtual time since when it has been.
        slept_ns: Virtual time since when it sleeps.
        ignored: Signals that it does not get.
        former_cred: Who it was, when it is freed.
        watchers: Called once when its work has ended, however that came.
        takes_signals: It runs a program, which acts on them.
        looks: How often it was looked at because it runs long.
    """

    def __init__(self, kernel: KernelCore, address: int, stack: int, pid: int, comm: str) -> None:
        self.kernel, self.address, self.stack, self.pid, self.comm = kernel, address, stack, pid, comm
        self.former_cred: dict[str, int] = {}
        self.mm: MemoryMap | None = None
        self.activations: list[Activation] = []
        self.resume: Continue | None = None
        self.context: Any = None
        self.page: bytes | None = None
        self.blocked = self.asleep = self.interruptible = False
        self.busy, self.looks = 0.0, 0
        self.slept_ns = 0
        self.spin_ns: int | None = None
        self.rounds, self.instructions = 0, 0
        self.since: float | None = None
        self.spin: Spin | None = None
        self.ignored: set[int] = set()
        self.takes_signals = False
        self.finished = False
        self.watchers: list[Callable[[], object]] = []
        self.dead = False
        self._result: Any = None
        self._error: KernelError | None = None

    @property
    def space(self) -> AddressSpace | None:
        """The page table of its user memory."""
        return self.mm.space if self.mm is not None else None

    @property
    def is_oopsed(self) -> bool:
        """Whether an oops ended it, not a missing function."""
        return isinstance(self._error, Killed) and not isinstance(self._error, Unimplemented)

    @property
    def stack_top(self) -> int:
        """Stack pointer when the kernel is entered."""
        return self.stack + THREAD_SIZE - PT_REGS_SIZE

    # --- who it is: struct cred, which modules change too --------------------------------------------

    @property
    def uid(self) -> int:
        """Its effective user."""
        return self.who("euid")

    @property
    def gid(self) -> int:
        """Its effective group."""
        return self.who("egid")

    @property
    def capabilities(self) -> int:
        """What it may do, a bit each."""
        return self.who("cap_effective")

    @property
    def groups(self) -> tuple[int, ...]:
        """Its supplementary groups."""
        try:
            return read_groups(self.kernel, self._cred.group_info)
        except PageFault:
            return ()

    @property
    def _cred(self) -> StructView:
        kernel = self.kernel
        return kernel.view("cred", kernel.view("task_struct", self.address).cred)

    def who(self, member: str) -> int:
        """A member of its credentials: `uid`, `euid`, `fsuid`, `cap_permitted`, ...

        Whose credentials a module has led astray is nobody.
        """
        if self.former_cred:
            return self.former_cred[member]
        try:
            return int(self._cred.get(member))
        except PageFault:
            return 0 if member.startswith("cap") else _NOBODY

    def in_group(self, gid: int) -> bool:
        """Whether files of that group are its group's."""
        return gid == self.who("fsgid") or gid in self.groups

    def set_ids(self, uid: int, gid: int, capabilities: int) -> None:
        """Who a new task is, in credentials that are its alone."""
        cred = self._cred
        for member in IDS:
            cred.set(member, uid if "uid" in member else gid)
        cred.cap_permitted = cred.cap_effective = capabilities & ALL_CAPABILITIES
        set_user(self.kernel, cred)

    def remember_cred(self) -> None:
        """The task is about to be freed, but its parent may still ask who it was."""
        self.former_cred = {member: self.who(member) for member in ("uid", "euid", "egid", "cap_effective")}

    def capable(self, capability: int) -> bool:
        """Whether the task may do what `capability` allows (kernel/capability.c)."""
        return bool(self.capabilities >> capability & 1)

    def begin(self, activation: Activation) -> None:
        """Start work; what the task was in the middle of is given up."""
        self.activations = [activation]
        self.context = self.page = self.resume = self.spin = None
        self.blocked = self.asleep = False
        self.finished, self._result, self._error = False, None, None
        self.begin_turn()

    def begin_turn(self) -> None:
        """It has slept, or begins: what it uses the processor for is counted anew."""
        self.busy, self.looks, self.spin_ns = 0.0, 0, None
        self.rounds = self.instructions = 0
        self.since = None

    def resume_at(self, rip: int, **registers: int) -> None:
        """Begin in guest code, with registers by name."""
        self.resume, self.context = Continue(rip, self.stack_top - 8), registers
        self.finished = False

    def take_resume(self) -> Continue | None:
        """Where guest code goes on, once."""
        resume, self.resume = self.resume, None
        return resume

    def finish(self, result: Any = None, error: KernelError | None = None) -> None:
        """The work ended."""
        self.activations = []
        self.context = self.page = self.resume = self.spin = None
        self.blocked = self.asleep = False
        self.finished, self._result, self._error = True, result, error
        watchers, self.watchers = self.watchers, []
        for watcher in watchers:
            watcher()

    def take_result(self) -> Any:
        """What the work returned; raises what it raised."""
        if self._error is not None:
            raise self._error
        return self._result


async def _come_back(function: int) -> int:
    """The work of a task that was in guest code when it was saved: the result."""
    return to_long(await GuestCall(function))


class Tasks:
    """All tasks of the machine."""

    kind: type[Task] = Task

    def __init__(self, kernel: KernelCore) -> None:
        self._kernel = kernel
        self._next_pid = FIRST_PID
        self._current_offset = kernel.percpu.offset("current_task")
        self._worker: Task | None = None
        self.by_pid: dict[int, Task] = {}
        self.gone: set[int] = set()  # task_structs that somebody holds though the task has ended
        members = kernel.profile.struct("task_struct").members
        self.state_offset = members["__state" if "__state" in members else "state"].offset
        self._first_tasks()

    def _first_tasks(self) -> None:
        """Those that are there from the start."""
        boot_cred(self._kernel)
        self.init_task = self._create(0, "swapper/0", PF_KTHREAD)
        self.init = self._create(1, "init", 0)
        self._create(KTHREADD, "kthreadd", PF_KTHREAD)

    def check_limit(self) -> None:
        """EAGAIN if there are too many tasks."""
        if not self._kernel.usage.may_start(len(self.by_pid)):
            raise KernelError(errno.EAGAIN, f"there are {len(self.by_pid)} tasks")

    def create_thread(self, name: str) -> Task:
        """A new kernel thread, child of kthreadd."""
        pid, self._next_pid = self._next_pid, self._next_pid + 1
        return self._create(pid, name, PF_KTHREAD)

    def create(self, comm: str, uid: int = 0, gid: int = 0, capabilities: int | None = None) -> Task:
        """A new process, child of init; root has all capabilities, others none unless given."""
        pid, self._next_pid = self._next_pid, self._next_pid + 1
        task = self._create(pid, comm, 0)
        task.set_ids(uid, gid, capabilities if capabilities is not None else 0 if uid else ALL_CAPABILITIES)
        self._give_memory(task, MemoryMap(self._kernel))
        return task

    def fork(self, parent: Task, *, thread: bool = False, share_memory: bool = False) -> Task:
        """A copy of a task: its child, or one more thread of it (kernel/fork.c: copy_process)."""
        assert parent.mm is not None
        pid, self._next_pid = self._next_pid, self._next_pid + 1
        task = self._create(pid, parent.comm, 0, self.view(parent).cred, share_cred=thread)
        if share_memory:
            parent.mm.users += 1
        self._give_memory(task, parent.mm if share_memory else parent.mm.copy())
        view, old = self.view(task), self.view(parent)
        if thread:
            view.tgid, view.group_leader = old.tgid, old.group_leader
            self.adopt(task, self.at(old.real_parent))
        else:
            self.adopt(task, self.at(old.group_leader))
        return task

    def view(self, task: Task) -> StructView:
        """Its task_struct."""
        return self._kernel.view("task_struct", task.address)

    def adopt(self, child: Task, parent: Task) -> None:
        """Make a task the child of another."""
        memory, view = self._kernel.memory, self.view(child)
        view.real_parent = view.parent = parent.address
        lists.delete(memory, view.addressof("sibling"))
        lists.add_tail(memory, view.addressof("sibling"), self.view(parent).addressof("children"))

    def rename(self, task: Task, comm: str) -> None:
        """Set the name (fs/exec.c: __set_task_comm)."""
        raw = comm.encode("utf-8", "surrogateescape")[:15]
        task.comm = raw.decode("utf-8", "surrogateescape")
        self.view(task).set_bytes("comm", raw.ljust(16, b"\0"))

    def enter_memory(self, task: Task, mm: MemoryMap) -> None:
        """Give a task an address space (fs/exec.c: exec_mmap)."""
        self._give_memory(task, mm)
        if self._kernel.sched.current is task:
            self.switched(task)

    def _give_memory(self, task: Task, mm: MemoryMap) -> None:
        """`current->mm` tells processes from kernel threads; of the structure little is filled."""
        kernel = self._kernel
        task.mm = mm
        mm.address = mm.address or kernel.heap.kmalloc(kernel.profile.struct("mm_struct").size)
        struct = kernel.view("mm_struct", mm.address)
        struct.mm_count, struct.mm_users, struct.task_size = 1, mm.users, TASK_SIZE_MAX
        struct.start_brk, struct.brk = mm.brk_start, mm.brk
        view = self.view(task)
        view.mm = view.active_mm = mm.address

    def kill(self, task: Task) -> None:
        """SIGKILL: the task comes back from where it waits in the kernel, if that may be interrupted."""
        send_signal(self._kernel, task, SIGKILL)
        self._kernel.sched.interrupt(task)

    def bury(self, task: Task) -> None:
        """Free a task that has ended, or is about to: as soon as it does not run any more."""
        sched = self._kernel.sched
        if sched.current is task:
            sched.at(self._kernel.clock.now_ns, lambda: self.exit(task))
        else:
            self.exit(task)

    def worker(self) -> Task:
        """A kernel thread for calls from outside; the same one each time while it is alive and idle."""
        worker = self._worker
        if worker is None or worker.dead or worker.activations or self.by_pid.get(worker.pid) is not worker:
            worker = self._worker = self.create_thread("kmod-emu")
        return worker

    def known(self, address: int) -> Task | None:
        """The task whose task_struct is at `address`, or None."""
        return next((task for task in self.by_pid.values() if task.address == address), None)

    def at(self, address: int) -> Task:
        """The task whose task_struct is at `address`.

        Raises:
            PageFault: There is none: the guest's pointer is wrong.
        """
        task = self.known(address)
        if task is None:
            raise PageFault(address, Access.READ)
        return task

    def _create(self, pid: int, comm: str, flags: int, cred: int = 0, *, share_cred: bool = False) -> Task:
        kernel = self._kernel
        stack = kernel.vmalloc.allocate(THREAD_SIZE, align=THREAD_SIZE)
        if pid:
            address = kernel.heap.kmalloc(kernel.profile.struct("task_struct").size)
        else:
            address = kernel.symbols.address("init_task")
        if not stack or not address:
            kernel.vmalloc.free(stack)
            raise KernelError(errno.ENOMEM, "there is no memory for a task")
        task = Task(kernel, address, stack, pid, comm)
        kernel.memory.write_u64(stack, STACK_END_MAGIC)
        view = kernel.view("task_struct", address)
        view.pid = view.tgid = pid
        view.stack, view.flags = stack, flags
        view.prio = view.static_prio = view.normal_prio = 120
        view.cpus_ptr, view.nr_cpus_allowed = view.addressof("cpus_mask"), 1
        view.set_bytes("cpus_mask", b"\1")
        view.set_bytes("comm", comm.encode("utf-8", "surrogateescape")[:15])
        parent = address  # the idle task's own
        if pid:
            parent_pid = 0 if pid <= KTHREADD else KTHREADD if flags & PF_KTHREAD else 1
            parent = self.by_pid[parent_pid].address
        view.real_parent = view.parent = parent
        view.group_leader, view.usage = address, 1
        memory = kernel.memory
        for head in ("children", "sibling", "tasks"):
            lists.init(memory, view.addressof(head))
        if pid:
            offset = view.layout.offset
            lists.add_tail(memory, view.addressof("tasks"), self.init_task.address + offset("tasks"))
            lists.add_tail(memory, view.addressof("sibling"), parent + offset("children"))
        view.nsproxy = kernel.symbols.address("init_nsproxy")
        cred = cred or kernel.symbols.address(INIT_CRED)
        if pid and not share_cred:
            cred = copy_cred(kernel, cred)
            kernel.view("cred", cred).usage = 2
        elif share_cred:
            kernel.view("cred", cred).usage += 2
        view.cred = view.real_cred = cred
        attach_pid(kernel, task)
        self.by_pid[pid] = task
        return task

    def died(self, task: Task) -> None:
        """An oops ended a task; in an interrupt it ends the machine (kernel/exit.c: make_task_dead)."""
        kernel = self._kernel
        if in_interrupt(kernel) and task.is_oopsed and not kernel.panics.text:
            with suppress(Killed):
                kernel.panics.panic("Fatal exception in interrupt")
        preempt_count_reset(kernel)
        if kernel.kthreads.find(task.address):
            kernel.kthreads.ended(task, SIGKILL)
            self.exit(task)

    def exit(self, task: Task) -> None:
        """Free everything a task has; its task_struct when nobody refers to it.

        What a module has led astray stays.
        """
        kernel = self._kernel
        del self.by_pid[task.pid]
        task.remember_cred()
        view = kernel.view("task_struct", task.address)
        for member in ("tasks", "sibling"):
            with suppress(PageFault):
                lists.delete(kernel.memory, view.addressof(member))
        with suppress(PageFault):
            self.leave_memory(task)
        with suppress(PageFault):
            detach_pid(kernel, task)
        kernel.vmalloc.free(task.stack)
        kernel.sched.forget(task)
        task.dead = True
        view.usage -= 1
        self.gone.add(task.address)
        if not view.usage:
            self.free_task_struct(task.address)

    def free_task_struct(self, address: int) -> None:
        """The last reference to a task is gone (kernel/fork.c: __put_task_struct)."""
        kernel = self._kernel
        view = kernel.view("task_struct", address)
        for cred in (view.real_cred, view.cred):
            with suppress(PageFault):
                put_cred(kernel, cred)
        kernel.heap.kfree(address)
        kernel.kthreads.forget(address)
        self.gone.discard(address)

    def leave_memory(self, task: Task) -> None:
        """Give user memory back, unless others share it (kernel/fork.c: mmput)."""
        mm = task.mm
        if mm is not None:
            view = self.view(task)
            view.mm = view.active_mm = 0
            mm.users -= 1
            self._kernel.view("mm_struct", mm.address).mm_users = mm.users
            if not mm.users:
                mm.clear()
                self._kernel.heap.kfree(mm.address)
            task.mm = None

    def switched(self, task: Task) -> None:
        """The processor now runs `task`: `current` and the user address space change."""
        kernel = self._kernel
        kernel.memory.write_u64(kernel.symbols.address("current_pointer"), task.address)
        if self._current_offset is not None:
            kernel.memory.write_u64(kernel.percpu.address(self._current_offset), task.address)
        if kernel.memory.user is not task.space:
            kernel.memory.user = task.space
            kernel.cpu.flush_tlb()

    def save(self) -> Any:
        """State for a snapshot or file. What coroutines are in the middle of is not part of it."""
        self._kernel.sched.park()
        return {
            "next_pid": self._next_pid,
            "gone": sorted(self.gone),
            "tasks": [
                {
                    "address": task.address,
                    "stack": task.stack,
                    "pid": task.pid,
                    "comm": task.comm,
                    "dead": task.dead,
                    "mm": task.mm.save() if task.mm is not None else None,
                    "ignored": sorted(task.ignored),
                    "guest": self._save_guest(task),
                }
                for task in self.by_pid.values()
            ],
        }

    def _save_guest(self, task: Task) -> Any:
        """Registers of guest code that gave up the processor by itself; None if more is needed to go on.

        A coroutine that called it is not saved, nor what it would have done with the result: the guest's own
        code only has to come back, since others may know what lies on its stack.
        """
        if task.resume is None or len(task.activations) > 1:
            return None
        page = task.page.hex() if task.page else None
        called = task.activations[0].called if task.activations else None
        return [*task.resume, self._kernel.cpu.registers_of(task.context), page, task.asleep, called]

    @staticmethod
    def _load_guest(task: Task, saved: Any) -> None:
        if saved is None:
            return
        rip, rsp, context, page, asleep, called = saved
        if called is not None:
            work = _come_back(called)
            work.send(None)  # it is called already
            task.begin(Activation(work, task.stack_top))
            task.activations[0].called = called
        task.resume, task.context, task.asleep = Continue(rip, rsp), context, asleep
        task.page = bytes.fromhex(page) if page else None
        task.finished = False

    def load(self, state: Any) -> None:
        """Put saved state back; `Task` objects of pids that still exist are reused."""
        self._next_pid, self.gone = state["next_pid"], set(state["gone"])
        known, self.by_pid = self.by_pid, {}
        for item in state["tasks"]:
            task = known.get(item["pid"]) or self.kind(
                self._kernel, item["address"], item["stack"], item["pid"], item["comm"]
            )
            task.address, task.stack, task.comm = item["address"], item["stack"], item["comm"]
            task.former_cred = {}
            task.dead, task.ignored = item["dead"], set(item["ignored"])
            task.mm = None
            if item["mm"] is not None:
                task.mm = MemoryMap(self._kernel)
                task.mm.load(item["mm"])
            task.finish()
            self._load_guest(task, item["guest"])
            self.by_pid[task.pid] = task
        self.init_task, self.init = self.by_pid[0], self.by_pid[1]
        self._kernel.sched.reset()


@export_data("struct task_struct init_task", lambda kernel: kernel.profile.struct("task_struct").size)
def init_task(kernel: KernelCore, address: int) -> None:
    """The first task (init/init_task.c), head of the list that for_each_process walks; `Tasks` fills it."""

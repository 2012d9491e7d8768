"""Tasks of the real kernel: its own copy_process() makes them and its do_exit() ends them.

What the scheduler keeps of each is a `Task`, which begins in wake_up_new_task() and ends at the last switch.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from kmod_emu.kernel.percpu import PREEMPT_ENABLED
from kmod_emu.kernel.schedule import TASK_RUNNING, set_task_state
from kmod_emu.kernel.signal import SIGKILL
from kmod_emu.kernel.tasks import Task, Tasks
from kmod_emu.uapi.capability import ALL_CAPABILITIES
from kmod_emu.vmlinux.mm import PageTables, VmlinuxMemory

if TYPE_CHECKING:
    from kmod_emu.kernel.mm import MemoryMap
    from kmod_emu.vmlinux.kernel import VmlinuxKernel

_FRAME_R12, _FRAME_BX = 24, 32  # in struct inactive_task_frame: copy_thread() leaves argument and function
_HELPER = "call_usermodehelper_exec_async"  # the one function of a thread that returns, as a program
_SIGCHLD = 17
_PF_KTHREAD = 0x200000


class VmlinuxTask(Task):
    """A task whose name and memory are the kernel's own business.

    Attributes:
        exit_code: As wait(2) gives it, once it has ended.
    """

    kernel: VmlinuxKernel
    exit_code = 0
    _mm: VmlinuxMemory | None = None

    @property
    def stack_top(self) -> int:
        """Stack pointer when the kernel is entered; some kernels leave room above the registers."""
        return self.stack + self.kernel.stack_room

    @property
    def mm(self) -> MemoryMap | None:
        """What its task_struct says."""
        kernel = self.kernel
        mm = 0 if self.dead else kernel.memory.read_u64(self.address + kernel.mm_offset)
        if not mm:
            return None
        if self._mm is None or self._mm.address != mm:
            self._mm = VmlinuxMemory(self, mm)
        return self._mm

    @mm.setter
    def mm(self, mm: MemoryMap | None) -> None:
        self._mm = None

    @property
    def comm(self) -> str:
        """Its name."""
        offset, size = self.kernel.comm_place
        raw = self.kernel.memory.read(self.address + offset, size)
        return raw.partition(b"\0")[0].decode("utf-8", "backslashreplace")

    @comm.setter
    def comm(self, name: str) -> None:
        """It is in guest memory already."""


class VmlinuxTasks(Tasks):
    """All tasks of the machine."""

    _kernel: VmlinuxKernel
    kind: type[Task] = VmlinuxTask

    def _first_tasks(self) -> None:
        kernel = self._kernel
        self._preempt: dict[int, int] = {}  # preempt counts of those that do not run, by address
        self._last: Task | None = None
        self.init_task = self.init = self._adopt(kernel.symbol("init_task"))

    def _adopt(self, address: int) -> Task:
        """The `Task` of a task_struct."""
        view = self._kernel.view("task_struct", address)
        task = self.kind(self._kernel, address, view.stack, view.pid, view.text("comm"))
        self.by_pid[task.pid] = task
        return task

    def born(self, address: int) -> None:
        """copy_process() has made a task: it begins with the function that it was made for."""
        kernel = self._kernel
        task = self._adopt(address)
        self._preempt.pop(address, None)  # of a dead task that lay there
        self.gone.discard(address)
        set_task_state(kernel, task, TASK_RUNNING)
        if task.pid == 1:
            self.init = task
        frame = kernel.memory.read_u64(
            address
            + kernel.profile.offset("task_struct", "thread")
            + kernel.profile.offset("thread_struct", "sp")
        )
        function = kernel.memory.read_u64(frame + _FRAME_BX)
        if function == kernel.parked:
            task.finish()
            return
        if not function:
            kernel.user_mode.forked(task)
            return
        argument = kernel.memory.read_u64(frame + _FRAME_R12)
        if function == kernel.symbol(_HELPER):
            kernel.sched.start(task, kernel.user_mode.helper(task, function, argument))
            return
        task.resume_at(function, rdi=argument)
        kernel.sched.enqueue(task)

    def create_thread(self, name: str) -> Task:
        """A task without user memory, which does what Python tells it."""
        return self._make(name)

    def create(self, comm: str, uid: int = 0, gid: int = 0, capabilities: int | None = None) -> Task:
        """A new process, child of init."""
        task = self._make(comm)
        self._kernel.sched.run(task, self._become_process(task, uid, gid))
        view = self._kernel.view("cred", self.view(task).cred)
        mask = capabilities if capabilities is not None else 0 if uid else ALL_CAPABILITIES
        view.cap_permitted = view.cap_effective = mask & ALL_CAPABILITIES
        return task

    def _make(self, comm: str) -> Task:
        """What init makes; it does not begin by itself."""
        kernel = self._kernel
        clone = kernel.symbol(
            "user_mode_thread" if kernel.symbols.internal("user_mode_thread") else "kernel_thread"
        )
        pid = kernel.sched.run(self.init, kernel.call_guest_int(clone, kernel.parked, 0, _SIGCHLD))
        task = self.by_pid[pid]
        self.rename(task, comm)
        return task

    async def _become_process(self, task: Task, uid: int, gid: int) -> None:
        """Memory, and who it is: the counts of what users have are kept right."""
        kernel, view = self._kernel, self.view(task)
        for name, number in (("__sys_setresgid", gid), ("__sys_setresuid", uid)):
            if number:
                await kernel.call_guest(kernel.symbol(name), number, number, number)
        view.flags &= ~_PF_KTHREAD  # before there was user_mode_thread() it had that of its parent
        view.mm = view.active_mm = await kernel.call_guest(kernel.symbol("mm_alloc"))
        await kernel.call_guest(kernel.symbol("arch_pick_mmap_layout"), view.mm, view.signal)
        self.switched(task)

    def kill(self, task: Task) -> None:
        """SIGKILL, as on any machine."""
        kernel = self._kernel
        kernel.sched.run(self.init, kernel.call_guest(kernel.symbol("send_sig"), SIGKILL, task.address, 1))
        kernel.sched.interrupt(task)

    def exit(self, task: Task) -> None:
        """The last switch away from a task; or the end of a process, which its own do_exit() brings about."""
        kernel = self._kernel
        if task is self.init_task:
            return
        if not kernel.view("task_struct", task.address).get("exit_state"):
            kernel.sched.run(task, kernel.call_guest(kernel.symbol("do_exit"), 0))
            return
        del self.by_pid[task.pid]
        self.gone.add(task.address)
        self._preempt.pop(task.address, None)
        assert isinstance(task, VmlinuxTask)
        task.exit_code = kernel.view("task_struct", task.address).exit_code
        task.dead = True
        kernel.user_mode.ended(task)
        kernel.sched.forget(task)
        self._use_tables(0)  # its own may be gone
        kernel.sched.agenda.post(kernel.clock.now_ns, "task_dead", task.address)

    async def put(self, address: int) -> None:
        """finish_task_switch() of a task that is dead."""
        kernel = self._kernel
        if kernel.symbols.internal("sched_ext_dead"):  # it is on a list of later kernels' schedulers
            await kernel.call_guest(kernel.symbol("sched_ext_dead"), address)
        await kernel.call_guest(kernel.symbol("put_task_stack"), address)
        await kernel.call_guest(kernel.symbol("put_task_struct_rcu_user"), address)

    def died(self, task: Task) -> None:
        """An oops ended a task."""

    def switched(self, task: Task) -> None:
        """The processor now runs `task`."""
        kernel = self._kernel
        if self._last is not None and self._last is not task:
            if not self._last.dead:
                self._preempt[self._last.address] = kernel.percpu.read("__preempt_count", 4)
            kernel.percpu.write("__preempt_count", self._preempt.pop(task.address, PREEMPT_ENABLED), 4)
        self._last = task
        kernel.percpu.write("current_task", task.address, 8)
        mm = kernel.memory.read_u64(task.address + kernel.mm_offset)
        if mm:  # a kernel thread leaves the tables that are there, as Linux does
            self.use_mm(mm)

    def use_mm(self, mm: int) -> None:
        """The processor walks the page tables of an mm_struct from here on, as the kernel is told, too."""
        kernel = self._kernel
        kernel.percpu.write("cpu_tlbstate", mm, 8)  # its first member is loaded_mm
        self._use_tables(kernel.memory.read_u64(mm + kernel.pgd_offset))

    def _use_tables(self, pgd: int) -> None:
        kernel, user = self._kernel, self._kernel.memory.user
        if (user.pgd if isinstance(user, PageTables) else 0) != pgd:
            kernel.memory.user = PageTables(kernel, pgd) if pgd else None
            kernel.memory.flush_user()

    def save(self) -> Any:
        """State for a snapshot or file."""
        last = self._last.pid if self._last is not None else None
        return {**super().save(), "preempt": list(self._preempt.items()), "last": last}

    def load(self, state: Any) -> None:
        """Put saved state back."""
        self._use_tables(0)
        self._last = None  # what is in the count now is that of the task that ran last when it was saved
        super().load(state)
        self._preempt = dict(state["preempt"])
        self._last = self.by_pid.get(state["last"])

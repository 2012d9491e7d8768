"""Programs that run in ring 3: what their tasks have besides a task_struct (kernel/fork.c, signal_struct)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

from kmod_emu.errors import KernelError, Killed
from kmod_emu.machine.ring3 import SYSRET, Ring3
from kmod_emu.uapi import errno

if TYPE_CHECKING:
    from kmod_emu.kernel.kernel import KernelCore
    from kmod_emu.kernel.tasks import Task
    from kmod_emu.machine.ring3 import UserContext

MAX_TASKS = 512
SIG_DFL, SIG_IGN = 0, 1


class Exited(Killed):
    """The task left for good: exit(2), a signal, or execve(2) past its point of no return.

    Args:
        status: As wait(2) gives it: the exit code times 256, or the signal's number.
    """

    def __init__(self, status: int) -> None:
        super().__init__(status & 0x7F)
        self.status = status


class SigAction(NamedTuple):
    """What a signal does (`struct sigaction`)."""

    handler: int = SIG_DFL
    flags: int = 0
    restorer: int = 0
    mask: int = 0


class AltStack(NamedTuple):
    """Where handlers run that ask for it (`stack_t`); no size: nowhere."""

    base: int = 0
    size: int = 0


class ThreadGroup:
    """A process as others see it: its threads, its parent, how it ended.

    Attributes:
        leader: Its first task, whose pid is the process's.
        threads: All tasks of it that live, the leader too if it does.
        parent: Who waits for it; None is init, which takes no notice.
        session: Session and process group, by the pid of their leader.
        status: As wait(2) gives it, once it has ended.
        waiting: Tasks of it that sleep in wait(2).
        parked: A parent that vfork(2)ed and sleeps until we have memory of our own.
        stopped: The signal that stopped it, 0 while it goes on.
        news: That it stopped or went on, as wait(2) gives it, until the parent knows; 0 for none.
        alarm: Ticket and time of the pending alarm, and its interval in nanoseconds.
    """

    def __init__(self, leader: Task, parent: ThreadGroup | None) -> None:
        self.leader, self.parent = leader, parent
        self.threads: list[Task] = []
        self.children: list[ThreadGroup] = []
        self.pgid: int = parent.pgid if parent else leader.pid
        self.session: int = parent.session if parent else leader.pid
        self.exit_signal = 17
        self.status: int | None = None
        self.killed_by: int | None = None  # the status that all threads are to end with
        self.waiting: list[Task] = []
        self.parked: Task | None = None
        self.stopped = self.news = 0
        self.alarm: tuple[int, int, int] | None = None
        self.executable = ""
        self.arguments: list[bytes] = []
        self.limits: dict[int, tuple[int, int]] = {}

    @property
    def status_signal(self) -> int:
        """The signal that ended it, 0 if it exited."""
        return (self.status or 0) & 0x7F

    @property
    def pid(self) -> int:
        """Process id."""
        return self.leader.pid


class Program:
    """One thread of a program.

    Attributes:
        context: Its registers in ring 3.
        group: The process it is a thread of.
        actions: What signals do, shared by threads.
        siginfo: What is known of a pending signal besides its number: code, sender, address.
        altstack: Of sigaltstack(2).
        clear_tid: Where a zero is written when the thread ends.
        system_call: Number of the call it is in, -1 for none.
        saved_mask: The mask to put back after a handler that sigsuspend(2) waited for.
        restart: What restart_syscall(2) does.
        dying: An oops ended it.
    """

    def __init__(
        self, task: Task, context: UserContext, group: ThreadGroup, actions: dict[int, SigAction]
    ) -> None:
        self.task, self.context, self.group, self.actions = task, context, group, actions
        self.siginfo: dict[int, tuple[int, int, int]] = {}
        self.altstack = AltStack()
        self.clear_tid = 0
        self.system_call = -1
        self.saved_mask: int | None = None
        self.restart: Any = None
        self.dying = False


class Programs:
    """All programs, by the pid of their tasks. None of them outlives a saved machine.

    Attributes:
        foreground: The process group that the terminal's signals go to.
        interrupted: Set from outside: Ctrl-C.
        deadline: Processor time of this host process at which all programs are ended, None for none.
        out_of_time: Whether that happened.
    """

    def __init__(self, kernel: KernelCore) -> None:
        self._kernel = kernel
        self._ring3: Ring3 | None = None
        self.by_pid: dict[int, Program] = {}
        self.groups: dict[int, ThreadGroup] = {}
        self.foreground = 0
        self.interrupted = self.out_of_time = False
        self.deadline: float | None = None

    @property
    def ring3(self) -> Ring3:
        """The processor's ring 3, made when the first program starts."""
        if self._ring3 is None:
            kernel = self._kernel
            kernel.memory.write(kernel.traps.spare_code, SYSRET)
            self._ring3 = Ring3(kernel.cpu, kernel.traps.spare_code)
        return self._ring3

    @property
    def current(self) -> Program:
        """The program whose system call is served.

        Raises:
            KernelError: ENOSYS, the caller is Python and has no registers in ring 3.
        """
        program = self.by_pid.get(self._kernel.sched.current.pid)
        if program is None:
            raise KernelError(errno.ENOSYS, "only a program in ring 3 can do this")
        return program

    def check_limit(self) -> None:
        """EAGAIN if there are too many tasks."""
        self._kernel.tasks.check_limit()
        if len(self.by_pid) >= MAX_TASKS:
            raise KernelError(errno.EAGAIN, f"there are {MAX_TASKS} programs already")

    def add(
        self,
        task: Task,
        context: UserContext,
        group: ThreadGroup | None = None,
        actions: dict[int, SigAction] | None = None,
        parent: ThreadGroup | None = None,
    ) -> Program:
        """A task becomes a program: a thread of `group`, or a process of its own."""
        self.check_limit()
        if group is None:
            group = self.groups[task.pid] = ThreadGroup(task, parent)
            if parent is not None:
                parent.children.append(group)
        program = self.by_pid[task.pid] = Program(
            task, context, group, actions if actions is not None else {}
        )
        task.takes_signals = True
        group.threads.append(task)
        return program

    def save(self) -> None:
        """Nothing: see the class."""

    def load(self, state: Any) -> None:
        """Nothing: see the class."""
        self.by_pid.clear()
        self.groups.clear()

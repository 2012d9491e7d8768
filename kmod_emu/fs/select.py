"""Waiting for files to become ready (fs/select.c) and wait queues of files that Python serves."""

from __future__ import annotations

from typing import TYPE_CHECKING

from kmod_emu.errors import KernelError
from kmod_emu.fs.file import DEFAULT_POLLMASK, EPOLLERR, EPOLLHUP, EPOLLNVAL
from kmod_emu.kernel.poll import PollTable
from kmod_emu.kernel.schedule import TASK_INTERRUPTIBLE, sleep_in_state, try_to_wake_up
from kmod_emu.kernel.signal import signal_pending

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from kmod_emu.fs.file import File
    from kmod_emu.kernel.kernel import KernelCore
    from kmod_emu.kernel.tasks import Task

ERESTARTSYS, ERESTARTNOHAND = 512, 514


class WaitQueue:
    """Tasks that wait for something that Python knows of."""

    def __init__(self) -> None:
        self._tasks: list[Task] = []

    def join(self, task: Task) -> None:
        """Be woken by the next `wake`."""
        if task not in self._tasks:
            self._tasks.append(task)

    def leave(self, task: Task) -> None:
        """No longer."""
        if task in self._tasks:
            self._tasks.remove(task)

    def wake(self, kernel: KernelCore) -> None:
        """Wake all that wait."""
        tasks, self._tasks = self._tasks, []
        for task in tasks:
            try_to_wake_up(kernel, task.address, TASK_INTERRUPTIBLE)

    async def wait(
        self, kernel: KernelCore, ready: Callable[[], bool], timeout_ns: int | None = None
    ) -> bool:
        """Sleep until `ready()`; False if the time was over first.

        Raises:
            KernelError: ERESTARTSYS, a signal came first.
        """
        task = kernel.sched.current
        end = None if timeout_ns is None else kernel.clock.now_ns + timeout_ns
        while not ready():
            if signal_pending(kernel, task):
                raise KernelError(ERESTARTSYS, "a signal interrupted the wait")
            left = None if end is None else end - kernel.clock.now_ns
            if left is not None and left <= 0:
                return False
            self.join(task)
            await sleep_in_state(kernel, TASK_INTERRUPTIBLE, left)
            self.leave(task)
        return True


class Poll:
    """One poll(2) going on: whom its task waits for.

    Attributes:
        waiting: Whether queues met from now on are to be joined.
    """

    def __init__(self, kernel: KernelCore, *, waiting: bool) -> None:
        self._kernel, self.waiting = kernel, waiting
        self._task = kernel.sched.current
        self._queues: list[WaitQueue] = []
        self._tables: dict[int, PollTable] = {}

    def add(self, queue: WaitQueue) -> None:
        """poll_wait() for files that Python serves."""
        if self.waiting:
            self._queues.append(queue)

    def guest(self, events: int) -> int:
        """The poll_table for guest code that is asked for these events."""
        table = self._tables.get(events)
        if table is None:
            table = self._tables[events] = PollTable(self._kernel, events)
        if not self.waiting:
            table.stop_waiting()
        return table.address

    def stay(self) -> None:
        """All queues are known now: what is asked from here on only asks."""
        self.waiting = False
        for queue in self._queues:
            queue.join(self._task)

    def free(self) -> None:
        """Leave all queues."""
        for queue in self._queues:
            queue.leave(self._task)
        for table in self._tables.values():
            table.free()


async def poll_files(
    kernel: KernelCore, wanted: Sequence[tuple[File | None, int]], timeout_ns: int | None
) -> list[int]:
    """What each file is ready for of what is wanted; waits until one is, or the time is over.

    Args:
        kernel: The machine.
        wanted: Files with the events of interest, EPOLL*; None stands for a bad descriptor.
        timeout_ns: None waits for ever, 0 only looks.

    Raises:
        KernelError: ERESTARTNOHAND, a signal came first.
    """
    poll = Poll(kernel, waiting=timeout_ns != 0)
    end = None if timeout_ns is None else kernel.clock.now_ns + timeout_ns
    while True:
        results = [await _poll_one(file, events, poll) for file, events in wanted]
        left = None if end is None else end - kernel.clock.now_ns
        if any(results) or (left is not None and left <= 0):
            break
        if signal_pending(kernel, kernel.sched.current):
            poll.free()
            raise KernelError(ERESTARTNOHAND, "a signal interrupted the wait")
        poll.stay()
        await sleep_in_state(kernel, TASK_INTERRUPTIBLE, left)
    poll.free()
    return results


async def _poll_one(file: File | None, events: int, poll: Poll) -> int:
    if file is None:
        return EPOLLNVAL
    wanted = events | EPOLLERR | EPOLLHUP
    if not file.op.can(file, "poll"):
        return DEFAULT_POLLMASK & wanted
    return await file.op.poll(file, poll, wanted) & wanted

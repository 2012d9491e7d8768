"""Tasks running: coroutines in Python, functions in the guest, and the way between them.

A task is a chain of activations. Each is a coroutine (a system call, a handler that waits) and, except for
the first, the place in guest code that called it. A coroutine that awaits a `GuestCall` makes the processor
run; guest code that traps into a handler that waits puts a new activation on top. `Scheduler._execute` is
the only caller of `Cpu.run`: guest code calling Python calling guest code nests in this chain, never in the
processor. Scheduling is cooperative, in order of arrival; time is virtual and jumps to the next timer when
every task sleeps.
"""

from __future__ import annotations

import heapq
import struct
import time
from collections import deque
from typing import TYPE_CHECKING, Any, NamedTuple

from kmod_emu.errors import KernelError, Killed, SleepsForever
from kmod_emu.kernel.clock import NSEC_PER_SEC
from kmod_emu.machine.cpu import StopReason
from kmod_emu.machine.memory import PageFault

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Generator

    from kmod_emu.kernel.kernel import KernelCore
    from kmod_emu.kernel.tasks import Task

    Work = Coroutine[Any, Any, Any]

_EFLAGS = 0x246  # interrupts on, as in process context
_PATIENCE = 0.1  # seconds of processor time after which running code is looked at
_TICK_INSTRUCTIONS = 1_000_000  # how many instructions a tick then is
_LONG_RUN = (StopReason.PATIENCE, StopReason.COUNT)
INTERRUPTED = object()  # what `Block` returns when a signal ends it
_ARGUMENT_REGISTERS = ("rdi", "rsi", "rdx", "rcx", "r8", "r9")


class GuestCall:
    """Awaitable: call a guest function with integer arguments; the result is RAX, unsigned."""

    __slots__ = ("address", "arguments")

    def __init__(self, address: int, *arguments: int) -> None:
        self.address = address
        self.arguments = arguments

    def __await__(self) -> Generator[GuestCall, int, int]:
        """Ask the scheduler."""
        return (yield self)


class Block:
    """Awaitable: leave the run queue until somebody wakes the task; the result is what they send.

    Args:
        interruptible: A signal ends the wait too; the result is then `INTERRUPTED`.
    """

    __slots__ = ("interruptible",)

    def __init__(self, *, interruptible: bool = False) -> None:
        self.interruptible = interruptible

    def __await__(self) -> Generator[Block, Any, Any]:
        """Ask the scheduler."""
        return (yield self)


class Continue(NamedTuple):
    """Go on in guest code behind a trap."""

    rip: int
    rsp: int


class Activation:
    """One coroutine of a task and where its result goes.

    Attributes:
        work: The coroutine.
        rsp: Guest calls made by the coroutine use the stack below it.
        deliver: Leaves the result where the trap's tail reads it; None for the first of a task.
        rip: Where guest code goes on, for the others.
    """

    __slots__ = ("deliver", "rip", "rsp", "work")

    def __init__(self, work: Work, rsp: int, deliver: Callable[[Any], None] | None = None) -> None:
        self.work, self.rsp, self.deliver, self.rip = work, rsp, deliver, 0


class Scheduler:
    """The run queue, the timers and the loop."""

    def __init__(self, kernel: KernelCore) -> None:
        self._kernel = kernel
        self._cpu = kernel.cpu
        self._ready: deque[tuple[Task, Any]] = deque()
        self._timers: list[tuple[int, int, Callable[[], None]]] = []
        self._timer_count = 0
        self._loaded: Task | None = None  # whose registers the processor holds
        self._returned: int | None = None
        self._request: GuestCall | Block | None = None
        self.in_guest = False  # whether guest code runs, or has trapped into Python and waits for it
        self.called = 0  # the guest function that a coroutine called last
        self.handler_fault: PageFault | None = None  # a handler followed a bad pointer of the guest's
        self.current: Task = kernel.tasks.init_task

    # --- starting, sleeping, waking -----------------------------------------------------------------

    def start(self, task: Task, work: Work) -> None:
        """Make a coroutine the work of an idle task."""
        task.begin(Activation(work, task.stack_top))
        self._ready.append((task, None))

    def wake(self, task: Task, value: Any = None) -> None:
        """Put a task that awaited `Block` back on the run queue; `value` is what it gets."""
        if task.blocked:
            task.blocked = False
            self._ready.append((task, value))

    def interrupt(self, task: Task) -> None:
        """A signal for a task: ends an interruptible wait, and nothing else."""
        if task.interruptible:
            self.wake(task, INTERRUPTED)

    def at(self, time_ns: int, action: Callable[[], None]) -> None:
        """Call `action` when virtual time reaches `time_ns`."""
        self._timer_count += 1
        heapq.heappush(self._timers, (time_ns, self._timer_count, action))

    async def sleep(self, duration_ns: int) -> None:
        """Let the current task sleep; costs no real time."""
        task = self.current
        self.at(self._kernel.clock.now_ns + duration_ns, lambda: self.wake(task))
        await Block()

    # --- the loop -----------------------------------------------------------------------------------

    def run(self, task: Task, work: Work) -> Any:
        """Run a coroutine on an idle task until it ends, and whatever else is ready meanwhile.

        Raises:
            KernelError: What the coroutine raised.
            Killed: The task died of an oops.
            SleepsForever: Every task sleeps and no timer is armed.
        """
        self.start(task, work)
        return self.wait_for(task)

    def wait_for(self, task: Task) -> Any:
        """Run whatever is ready until the work that a task was started with ends; as `run`."""
        while not task.finished:
            if self._ready:
                self._resume(*self._ready.popleft())
            elif self._timers:
                time_ns, _, action = heapq.heappop(self._timers)
                self._kernel.clock.jump(time_ns)
                action()
            else:
                raise SleepsForever(task.comm)
        return task.take_result()

    def _resume(self, task: Task, value: Any) -> None:
        """Run one task until it blocks, ends or dies."""
        self._load(task)
        self.in_guest = False
        try:
            request = self._send(task, value)
            while request is not None and not isinstance(request, Block):
                request = self._execute(task, request) or self._send(task, self._returned)
            task.blocked = request is not None
            task.interruptible = request is not None and request.interruptible
        except Killed as death:
            task.finish(error=death)

    def _send(self, task: Task, value: Any) -> GuestCall | Block | Continue | None:
        """Give `value` to the top coroutine; what it asks for next, or None when the task is done."""
        activation = task.activations[-1]
        try:
            request: GuestCall | Block = activation.work.send(value)
            return request
        except StopIteration as done:
            result = done.value
        except PageFault as fault:
            self._kernel.faults.in_handler(task, fault)
        except Killed:
            raise
        except KernelError as error:
            if activation.deliver is None:
                task.finish(error=error)
                return None
            result = -error.errno
        task.activations.pop()
        if activation.deliver is None:
            task.finish(result)
            return None
        activation.deliver(result)
        return Continue(activation.rip, activation.rsp)

    def _execute(self, task: Task, request: GuestCall | Continue) -> GuestCall | Block | None:
        """Run guest code until it returns to Python (None) or enters a coroutine that has to wait."""
        cpu = self._cpu
        if isinstance(request, GuestCall):
            rsp = (task.activations[-1].rsp & ~15) - 8  # as at a function's first instruction
            self._kernel.memory.write_u64(rsp, self._kernel.traps.return_address)
            for name, value in zip(_ARGUMENT_REGISTERS, request.arguments, strict=False):
                cpu.write(name, value)
            rip = self.called = request.address
        else:
            rip, rsp = request
        cpu.write("rsp", rsp)
        self._returned, self.in_guest = None, True
        started, began_ns, count = time.process_time(), self._kernel.clock.now_ns, 0
        while True:
            stop = cpu.run(rip, count, _PATIENCE)
            if stop.reason in _LONG_RUN and not self._locked_up(started):
                rip, count = stop.rip, self._let_time_pass()
                continue
            if stop.reason in _LONG_RUN:
                stop = stop._replace(reason=StopReason.LOCKUP)
                self._kernel.clock.jump(began_ns + int((cpu.watchdog.limit or 0) * NSEC_PER_SEC))
            if stop.reason is not StopReason.TRAP or self.handler_fault is not None:
                rip = self._kernel.faults.handle(task, stop)
                continue
            return self._take_request(task, stop.rip)

    def _let_time_pass(self) -> int:
        """Guest code runs long. If it keeps looking at jiffies it waits for time to pass, so a tick does.

        Returns:
            How many instructions the next tick is; 0 if nobody looks, and code runs at full speed.
        """
        kernel = self._kernel
        waiting = kernel.memory.page_arrived
        if waiting:
            kernel.clock.advance(NSEC_PER_SEC // kernel.profile.hz)
        kernel.memory.await_page(kernel.symbols.address("jiffies"))
        return _TICK_INSTRUCTIONS if waiting else 0

    def _locked_up(self, started: float) -> bool:
        """Whether guest code that began at `started` used up the watchdog's limit."""
        limit = self._cpu.watchdog.limit
        return limit is not None and time.process_time() - started >= limit

    def _take_request(self, task: Task, rip: int) -> GuestCall | Block | None:
        """What a coroutine that the guest has just entered waits for; None if the guest returned."""
        request, self._request, self.in_guest = self._request, None, False
        if request is not None:
            task.activations[-1].rip = rip
        return request

    # --- called from traps --------------------------------------------------------------------------

    def returned(self, value: int) -> None:
        """A function that Python called has returned."""
        self._returned = value
        self._cpu.stop_at_trap()

    def entered(self, activation: Activation, request: GuestCall | Block) -> None:
        """A handler that guest code called has to wait for `request`."""
        self.current.activations.append(activation)
        self._request = request
        self._cpu.stop_at_trap()

    def faulted(self, fault: PageFault) -> None:
        """A handler that guest code called followed a bad pointer."""
        self.handler_fault = fault
        self._cpu.stop_at_trap()

    # --- switching ----------------------------------------------------------------------------------

    def forget(self, task: Task) -> None:
        """The task is gone: nothing of it may be left in the processor."""
        if self._loaded is task:
            self._loaded = None
            self.current = self._kernel.tasks.init_task
            self._kernel.tasks.switched(self.current)

    def reset(self) -> None:
        """A saved machine was loaded: no task is in the middle of anything."""
        self._ready.clear()
        self._timers.clear()
        self._loaded = None
        self.current = self._kernel.tasks.init_task
        self._kernel.tasks.switched(self.current)

    def _load(self, task: Task) -> None:
        """Switch the processor to `task`."""
        previous = self._loaded
        if previous is task:
            return
        if previous is not None and previous.activations:
            previous.context = self._cpu.save()
        if task.context is not None:
            self._cpu.restore(task.context)
            task.context = None
        else:  # the task before may have died with string operations going backwards
            self._cpu.write("eflags", _EFLAGS)
        self._loaded = self.current = task
        self._kernel.tasks.switched(task)


def to_int(value: int) -> int:
    """RAX of a guest function that returns `int`.

    >>> to_int(0xFFFFFFEA)
    -22
    """
    return int(struct.unpack("<i", struct.pack("<I", value & 0xFFFF_FFFF))[0])

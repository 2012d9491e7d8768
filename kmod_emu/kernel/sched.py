"""Tasks running: coroutines in Python, functions in the guest, and the way between them.

A task is a chain of activations. Each is a coroutine (a system call, a handler that waits) and, except for
the first, the place in guest code that called it. A coroutine that awaits a `GuestCall` makes the processor
run; guest code that traps into a handler that waits puts a new activation on top. `Scheduler._execute` is
the only caller of `Cpu.run`: guest code calling Python calling guest code nests in this chain, never in the
processor.

Guest code that sleeps by itself (`schedule`, see schedule.py) needs no activation: all that is left of it
is its registers, so that kernel threads survive in a saved machine. Tasks run in order of arrival. Time
is virtual: it jumps to the next event of the agenda when every task sleeps, and also when all that run
only wait in a loop (see spin.py). What is due is served as an interrupt, on top of the task that runs or
of the idle task.
"""

from __future__ import annotations

import math
from collections import deque
from types import NoneType
from typing import TYPE_CHECKING, Any

from kmod_emu.errors import KernelError, Killed, SleepsForever
from kmod_emu.kernel import hung_task
from kmod_emu.kernel.activation import (
    INTERRUPTED,
    Activation,
    Away,
    Block,
    Continue,
    GuestCall,
    RunInRing3,
)
from kmod_emu.kernel.agenda import PYTHON, Agenda
from kmod_emu.kernel.clock import NSEC_PER_SEC
from kmod_emu.kernel.internal import internal_error, is_outside
from kmod_emu.kernel.panic import confused
from kmod_emu.kernel.patience import LONG_RUN, Patience
from kmod_emu.kernel.preempt import EFLAGS_IF, in_interrupt, preempt_count
from kmod_emu.machine.cpu import StopReason
from kmod_emu.machine.memory import PageFault

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Iterable

    from kmod_emu.kernel.clock import Clock
    from kmod_emu.kernel.kernel import KernelCore
    from kmod_emu.kernel.tasks import Task
    from kmod_emu.machine.cpu import Stop
    from kmod_emu.machine.watchdog import Watchdog

    Work = Coroutine[Any, Any, Any]

_EFLAGS = 0x246  # interrupts on, as in process context
_SETTLE_NS = NSEC_PER_SEC // 250  # how long other tasks may go on after a system call
_TURN_NS = NSEC_PER_SEC // 250  # how long a task goes on that offers the processor and that nobody wants
_RESTLESS = "sleeps and wakes again and again"
_FORGOTTEN_NS = 300 * NSEC_PER_SEC  # after so long a sleep without a timer nobody is believed to come
_FRAME_SIZE = 192  # struct pt_regs, and some


class _Standstill:
    """Watches a machine on which tasks run and time may stand still."""

    def __init__(self, watchdog: Watchdog, clock: Clock) -> None:
        self._watchdog, self._clock = watchdog, clock
        self._since, self._tick = 0.0, -1

    def seen(self) -> bool:
        """One more task ran; whether that has gone on for too long without a tick."""
        if self._watchdog.limit is None:
            return False
        now, tick = self._watchdog.now(), self._clock.jiffies
        if tick != self._tick:
            self._since, self._tick = now, tick
        return now - self._since > self._watchdog.limit


class Scheduler:
    """The run queue, the agenda and the loop."""

    def __init__(self, kernel: KernelCore) -> None:
        self._kernel = kernel
        self._cpu = kernel.cpu
        self.agenda = Agenda()
        self._interrupts: dict[str, Callable[[Any], Work]] = {}
        self._fresh = kernel.cpu.save()  # control registers as at boot, whatever modules did to them since
        self._ready: deque[tuple[Task, Any]] = deque()
        self._spinning: deque[Task] = deque()
        self._progress = False  # something happened that those who spin may be waiting for
        self._loaded: Task | None = None  # whose registers the processor holds
        self._returned: int | None = None
        self._awaited: Task | None = None  # whose work is waited for; None: time passes for everybody
        self._tick_seen = False  # guest code has just seen `jiffies` change
        self._until: int | None = None  # how far time may pass
        self._slice_end = 0  # when the task that runs has had its turn
        self._turns = 0  # how often tasks gave up the processor for nothing since one slept
        self._request: GuestCall | Block | None = None
        self._away: Away | None = None
        self.in_guest = False  # whether guest code runs, or has trapped into Python and waits for it
        self.called = 0  # the guest function that the coroutine below the code that runs called
        self.handler_fault: PageFault | None = None  # a handler followed a bad pointer of the guest's
        self.current: Task = kernel.tasks.init_task
        self.on_death: Callable[[Task, Killed], Work | None] = lambda task, death: None
        self.timers_of_programs: Callable[[], Iterable[range]] = tuple  # where they may lie
        self.sleeping: list[Callable[[Task], None]] = []  # told when a task is about to sleep
        self.turn = 0  # how often a task has got the processor
        self.patience = Patience(kernel, self)
        self.running = False  # whether a task runs: Python code that asks was called by it
        self.run_guest = self._cpu.run  # a debugger stands in between
        kernel.clock.moved = self.poke

    # --- starting, sleeping, waking -----------------------------------------------------------------

    def start(self, task: Task, work: Work) -> None:
        """Make a coroutine the work of an idle task."""
        task.begin(Activation(work, task.stack_top))
        self._ready.append((task, None))

    def enqueue(self, task: Task) -> None:
        """Guest code of a task that is away may go on."""
        task.asleep = False
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

    def at(self, time_ns: int, action: Callable[[], object]) -> int:
        """Call `action` when virtual time reaches `time_ns`; returns a ticket for `agenda.cancel`."""
        return self.agenda.post(time_ns, PYTHON, action)

    def on(self, kind: str, serve: Callable[[Any], Work]) -> None:
        """Say what serves events of a kind: a coroutine function that gets the payload."""
        self._interrupts[kind] = serve

    async def sleep(self, duration_ns: int) -> None:
        """Let the current task sleep; costs no real time."""
        task = self.current
        self.at(self._kernel.clock.now_ns + duration_ns, lambda: self.wake(task))
        await Block()

    async def delay(self, duration_ns: int) -> None:
        """Keep the processor busy; interrupts that are due meanwhile come, if they may."""
        clock = self._kernel.clock
        end = clock.now_ns + duration_ns
        while self.interruptible() and (due := self.agenda.next_ns) is not None and due <= end:
            clock.jump(due)
            await self._serve()
        clock.jump(end)

    async def serve_due(self) -> None:
        """From a coroutine: interrupts may come again; those that are due do."""
        if self.event_due() and self.interruptible():
            await self._serve()

    @property
    def contended(self) -> bool:
        """Whether another task could run now."""
        return bool(self._ready)

    @property
    def expects(self) -> bool:
        """Whether something else comes if the code that runs only waits in a loop."""
        others = self._awaited is not self.current or bool(self._spinning)
        return others or self.agenda.next_ns is not None

    # --- the loop -----------------------------------------------------------------------------------

    def run(self, task: Task, work: Work) -> Any:
        """Run a coroutine on an idle task until it ends, and whatever else is ready meanwhile.

        Afterwards other tasks go on until they sleep, for one tick at most.

        Raises:
            KernelError: What the coroutine raised.
            Killed: The task died of an oops.
            SleepsForever: Every task sleeps and no event is to come, or the work goes on sleeping and waking
                for longer than the watchdog allows.
        """
        self._kernel.usage.begin_call()
        self.start(task, work)
        try:
            return self.wait_for(task, self._cpu.watchdog.limit)
        except SleepsForever:
            from inspect import CORO_CREATED, getcoroutinestate

            if getcoroutinestate(work) == CORO_CREATED:  # its turn never came
                self.forget(task)
                task.finish()
                work.close()
            raise

    def wait_for(
        self, task: Task, limit: float | None = None, meanwhile: Callable[[bool], None] | None = None
    ) -> Any:
        """Run whatever is ready until the work that a task was started with ends; as `run`.

        Args:
            task: Whose work.
            limit: Seconds of processor time after which it counts as sleeping for ever.
            meanwhile: Called again and again; gets whether nothing can run now, and may make things run.
        """
        end = math.inf
        while not task.finished:
            if meanwhile is not None:
                meanwhile(not self._ready and not self._spinning and not self.event_due())
            self._awaited, self._until = task, None
            if not self._step(None):
                hung_task.check(self._kernel)
                late = (self.agenda.next_ns or 0) > self._kernel.usage.end_ns
                raise SleepsForever(task.comm, self._kernel.usage.hint("virtual") if late else "")
            forgotten = meanwhile is None and self._kernel.clock.now_ns - task.slept_ns > _FORGOTTEN_NS
            if task.asleep and forgotten:
                if not self._has_timer(task):
                    minutes = _FORGOTTEN_NS // NSEC_PER_SEC // 60
                    raise SleepsForever(task.comm, f"{task.comm} has slept for {minutes} minutes")
                task.slept_ns = self._kernel.clock.now_ns
            if limit is not None and not task.finished:  # most work is done in one step
                now = self._cpu.watchdog.now()
                end = min(end, now + limit)
                if now > end:
                    others = len(self._ready) - 1
                    does = f"waits for the processor with {others} others" if others > 0 else _RESTLESS
                    why = f"{task.comm} {does}, for {limit:g} s ({self._kernel.usage.hint('time')})"
                    raise SleepsForever(task.comm, why)
        self._note_progress()
        if self._ready or self._spinning or self.event_due():
            self.advance(_SETTLE_NS, idle=False)
        return task.take_result()

    def _has_timer(self, task: Task) -> bool:
        """Whether a timer on its own stack is to wake a task, as schedule_timeout() puts one there.

        What a program waits for may be another program, and its timer.
        """
        places = (range(task.stack, task.stack_top), *self.timers_of_programs())
        payloads = [payload for payload in self.agenda.payloads() if isinstance(payload, int)]
        return any(payload in place for payload in payloads for place in places)

    def advance(self, duration_ns: int, *, idle: bool = True) -> None:
        """Let all tasks run and events happen for some virtual time.

        If not `idle`, only while tasks are ready.
        """
        clock, usage = self._kernel.clock, self._kernel.usage
        end = clock.now_ns + duration_ns
        if end > usage.end_ns:
            usage.exceeded("virtual", "would let time pass beyond the machine's last moment")
            end = max(int(usage.end_ns), clock.now_ns)
        self._awaited, self._until = None, end
        standstill = _Standstill(self._cpu.watchdog, clock)
        while clock.now_ns < end and self._step(end if idle else clock.now_ns):
            if standstill.seen():
                limit = self._cpu.watchdog.limit
                usage.exceeded("time", f"and others ran for {limit:g} s and let no time pass")
                return
        if idle:
            clock.jump(end)

    def advance_once(self) -> bool:
        """Run one task, or let time jump to the next event; False if there is neither."""
        return self._step(None)

    def _step(self, until_ns: int | None) -> bool:
        """Run one task, or let the next event happen if it is due by `until_ns`.

        False if there is neither.
        """
        due = self.agenda.next_ns
        if due is not None and due <= self._kernel.clock.now_ns:
            self._interrupt_idle()
        elif self._ready:
            self._note_progress()
            self._resume(*self._ready.popleft())
        elif self._spinning and self._progress:
            self._progress = False
            for _ in range(len(self._spinning)):
                self._resume(self._spinning.popleft(), None)
        else:
            return self._idle(until_ns)
        return True

    def _idle(self, until_ns: int | None) -> bool:
        """Nothing to run now: time jumps."""
        clock, due = self._kernel.clock, self.agenda.next_ns
        if until_ns is not None and (due is None or due > until_ns):
            return False
        if due is not None and due > self._kernel.usage.end_ns:
            self._kernel.usage.exceeded("virtual", "waits longer than the machine's time goes on")
            return False
        if due is not None:
            clock.jump(due)
        elif not self._spinning:
            return False
        else:  # nothing is to come: until the watchdog ends it
            for task in self._spinning:
                task.spin = None
        self._progress = True
        return True

    def _note_progress(self) -> None:
        """Something happens that those who spin may be waiting for."""
        self._progress = True
        for task in self._spinning:
            task.busy = 0.0

    def _interrupt_idle(self) -> None:
        """Serve what is due while no task runs: the idle task is interrupted."""
        idle = self._kernel.tasks.init_task
        self._note_progress()
        idle.begin(Activation(self._serve(), idle.stack_top))
        self._resume(idle, None)

    async def _serve(self) -> None:
        """What an interrupt does, from entry to exit."""
        while entry := self.agenda.take(self._kernel.clock.now_ns):
            if entry.kind == PYTHON:
                entry.payload()
            else:
                await self._interrupts[entry.kind](entry.payload)

    def _resume(self, task: Task, value: Any) -> None:
        """Run one task until it blocks, ends or dies."""
        self._load(task)
        self.turn += 1
        nested, self.in_guest, self.running = self.running, False, True
        turn = self._kernel.clock.now_ns + _TURN_NS
        self._slice_end = turn if self._until is None else min(turn, self._until)
        try:
            request: GuestCall | Block | Continue | Away | RunInRing3 | None
            request = task.take_resume() or self._send(task, value)
            while not isinstance(request, (Block, Away, NoneType)):
                if isinstance(request, (GuestCall, Continue)):
                    request = self._execute(task, request) or self._send(task, self._returned)
                else:
                    request = self._send(task, request.run())
            if isinstance(request, Block):
                self.about_to_sleep(task)
                task.blocked, task.interruptible = True, request.interruptible
        except Killed as death:
            self._died(task, death)
        except Exception as error:
            if nested:
                raise
            self._died(task, internal_error(self._kernel, task, error))
            if is_outside(error):
                raise
        finally:
            self.running = False

    def about_to_sleep(self, task: Task) -> None:
        """Tell those who want to know."""
        self._turns = 0
        task.slept_ns = self._kernel.clock.now_ns
        task.begin_turn()
        for listener in self.sleeping:
            listener(task)

    def _died(self, task: Task, death: Killed) -> None:
        """An oops ended the task; in an interrupt it ends the machine (kernel/exit.c: make_task_dead).

        A program then does what it does at every end: close its files, tell its parent.
        """
        task.finish(error=death)
        self._kernel.tasks.died(task)
        last_steps = self.on_death(task, death)
        if last_steps is not None:
            self.start(task, last_steps)

    def _send(self, task: Task, value: Any) -> GuestCall | Block | Continue | RunInRing3 | None:
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
        except activation.confusing as error:
            confused(self._kernel, getattr(activation.work, "__name__", "a function"), error)
        task.activations.pop()
        if activation.deliver is None:
            task.finish(result)
            return None
        activation.deliver(result)
        return Continue(activation.rip, activation.stack)

    def _execute(self, task: Task, request: GuestCall | Continue) -> GuestCall | Block | Away | None:
        """Run guest code until it returns to Python (None), has to wait, or gives up the processor.

        None is also the answer when an interrupt came: its coroutine is then the task's top activation.
        """
        if isinstance(request, GuestCall):
            self.called = task.activations[-1].called = request.address
            rip = self._kernel.traps.begin_call(request.address, task.activations[-1].rsp, request.arguments)
        else:
            rip = self._continue(task, request)
        self._nothing_yet()
        count, patience = self.patience.begin(task)
        while True:
            stop = self.run_guest(rip, count, patience)
            if self._returned is None and self._request is None:  # it goes on, or is about to be looked at
                task.busy += self._cpu.watchdog.elapsed
            self.patience.account(task, stop, count)
            if stop.reason in LONG_RUN:
                looked = self.patience.look(task, stop, others=bool(self._ready))
                stop, count, patience = looked.stop, looked.instructions, looked.patience
                self._away = looked.away or self._away
            if stop.reason is StopReason.TRAP and self.handler_fault is None:
                if self._away is not None:
                    return self._leave(task, stop)
                if self._returned is not None or self._request is not None:
                    task.busy, task.spin, task.spin_ns = 0.0, None, None
                    return self._take_request(task, stop.rip)
            elif stop.reason not in LONG_RUN:
                answer = self._kernel.faults.handle(task, stop)
                if not isinstance(answer, int):
                    self._divert(task, stop, answer)
                    return None
                rip = answer
                continue
            if self.event_due() and self.interruptible():
                self._interrupt(task, stop)
                return None
            if self._tick_seen and self._ready and self.preemptible():
                self._away = Away.READY
                return self._leave(task, stop)
            self._tick_seen = False
            rip = stop.rip

    def _continue(self, task: Task, request: Continue) -> int:
        """Guest code that was left goes on: where."""
        self._cpu.write("rsp", request.rsp)
        if task.activations:
            self.called = task.activations[-1].called
        return request.rip

    def _nothing_yet(self) -> None:
        """Guest code is about to run: it has neither returned nor asked for anything."""
        self._returned = self._request = self._away = None
        self._tick_seen = False
        self.in_guest = True

    # --- interrupts -----------------------------------------------------------------------------------

    def preemptible(self) -> bool:
        """Whether the processor may be taken from the task that runs."""
        return not preempt_count(self._kernel) and bool(self._cpu.read("eflags") & EFLAGS_IF)

    def interruptible(self) -> bool:
        """Whether an interrupt and its softirqs may come now."""
        return bool(self._cpu.read("eflags") & EFLAGS_IF) and not in_interrupt(self._kernel)

    def event_due(self) -> bool:
        """Whether something is to happen now, or should have."""
        due = self.agenda.next_ns
        return due is not None and due <= self._kernel.clock.now_ns

    def _interrupt(self, task: Task, stop: Stop) -> None:
        """An interrupt comes: on top of what the task does, which then goes on as if nothing had been."""
        context, page = self._cpu.save(), self._kernel.traps.save_page()

        def back(_: object) -> None:
            self._cpu.restore(context)
            self._kernel.traps.restore_page(page)

        activation = Activation(self._serve(), self._cpu.read("rsp"), back)
        activation.rip = stop.rip
        task.activations.append(activation)
        self._returned = None

    def _divert(self, task: Task, stop: Stop, work: Work) -> None:
        """A coroutine runs where guest code stopped; it returns where that goes on, with the registers then.

        It has room for a struct pt_regs at its `rsp`.
        """

        def back(rip: Any) -> None:
            activation.rip, activation.stack = rip, self._cpu.read("rsp")

        stack = self._cpu.read("rsp")
        activation = Activation(work, (stack - _FRAME_SIZE) & ~15, back)
        activation.rip, activation.stack = stop.rip, stack
        task.activations.append(activation)
        self._returned = None

    def _leave(self, task: Task, stop: Stop) -> Away:
        """The task's guest code gives up the processor; it goes on behind this place."""
        assert self._away is not None
        away, self._away = self._away, None
        if away is Away.ENDED:
            task.finish()
            self._kernel.tasks.exit(task)
            return away
        page = self._kernel.traps.save_page() if away is not Away.ASLEEP else None
        task.resume = Continue(stop.rip, self._cpu.read("rsp"))
        task.page = page
        if away is Away.SPINNING:
            self._spinning.append(task)
            return away
        task.spin, task.spin_ns, task.looks, task.busy = None, None, 0, 0.0
        if away is Away.READY:
            task.since = None
            self._ready.append((task, None))
        else:
            self.about_to_sleep(task)
            task.asleep = True
        return away

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

    def leave(self, away: Away) -> None:
        """Guest code that called a handler gives up the processor when the handler returns."""
        self._away = away
        self._cpu.stop_at_trap()

    def poke(self) -> None:
        """The clock moved, or something was posted: if an event is due, guest code is interrupted."""
        if self.event_due():
            self._cpu.stop_at_trap()

    def offer(self, step_ns: int, most_ns: int) -> bool:
        """The task that runs would let others run, and does so if there are any or its turn is over.

        That takes time, more and more while nobody sleeps, but never past the next event: code that goes
        round and round like this lets time pass, and is not stuck.

        Returns:
            Whether it gives up the processor.
        """
        clock, due = self._kernel.clock, self.agenda.next_ns
        self._turns += 1
        if not self.event_due():  # else interrupts are off, and it may be stuck after all
            self.current.busy, self.current.looks = 0.0, 0
            step = min(step_ns << min(self._turns >> 6, 24), most_ns)
            then = min(clock.now_ns + step, self._slice_end)
            clock.jump(then if due is None else min(then, due))
        if not self._ready and clock.now_ns < self._slice_end:
            return False
        self.leave(Away.READY)
        return True

    def tick_seen(self) -> None:
        """Code that goes on has seen that a tick is over: others that are ready get their turn."""
        if self._ready:
            self._tick_seen = True
            self._cpu.stop_at_trap()

    def faulted(self, fault: PageFault) -> None:
        """A handler that guest code called followed a bad pointer."""
        self.handler_fault = fault
        self._cpu.stop_at_trap()

    # --- switching ----------------------------------------------------------------------------------

    def forget(self, task: Task) -> None:
        """The task is gone: nothing of it may be left in the processor or a queue."""
        if self._loaded is task:
            self._loaded = None
            self.current = self._kernel.tasks.init_task
            self._kernel.tasks.switched(self.current)
        if task in self._spinning:
            self._spinning.remove(task)
        self._ready = deque(item for item in self._ready if item[0] is not task)

    def park(self) -> None:
        """Take the registers of the task that ran last out of the processor."""
        loaded = self._loaded
        if loaded is not None and (loaded.activations or loaded.resume):
            loaded.context = self._cpu.save()
        self._loaded = None

    def reset(self) -> None:
        """A saved machine was loaded: no coroutine is in the middle of anything."""
        self._ready.clear()
        self._spinning.clear()
        self._loaded = None
        self.current = self._kernel.tasks.init_task
        self._kernel.tasks.switched(self.current)

    def _load(self, task: Task) -> None:
        """Switch the processor to `task`."""
        if self._loaded is task:
            return
        self.park()
        if task.context is not None:
            self._restore(task.context)
            task.context = None
        else:
            self._cpu.restore(self._fresh)
            self._cpu.write("eflags", _EFLAGS)
        if task.page is not None:
            self._kernel.traps.restore_page(task.page)
            task.page = None
        self._loaded = self.current = task
        self._kernel.tasks.switched(task)

    def _restore(self, context: Any) -> None:
        """Registers of a task: as the processor saved them, or by name."""
        if isinstance(context, dict):
            self._cpu.restore(self._fresh)
            self._cpu.write("eflags", _EFLAGS)
            for name, value in context.items():
                self._cpu.write(name, value)
        else:
            self._cpu.restore(context)

    # --- state --------------------------------------------------------------------------------------

    def save(self) -> Any:
        """State for a snapshot or file: events, and the order of kernel threads that are ready."""
        self.park()
        return {
            "agenda": self.agenda.save(),
            "ready": [task.pid for task, _ in self._ready if task.resume],
            "spinning": [task.pid for task in self._spinning],
            "turns": self._turns,
        }

    def load(self, state: Any) -> None:
        """Put saved state back, after the tasks."""
        self.agenda.load(state["agenda"])
        self._turns = state["turns"]
        by_pid = self._kernel.tasks.by_pid
        self._ready.extend((by_pid[pid], None) for pid in state["ready"])
        self._spinning.extend(by_pid[pid] for pid in state["spinning"])

"""Guest code that runs under a debugger's eyes: where it is in time, and where it pauses.

This is the side of the thread that runs the work: it stands in for the processor where the scheduler runs
guest code, cuts the run into bursts that end where something has to be looked at, and keeps count (place.py).

Real time decides when the scheduler looks at code that runs long. Such code is followed here first, and the
scheduler looks only where that has a consequence; where it did is part of the record, so that it does again.
"""

from __future__ import annotations

import math
import time
from contextlib import nullcontext
from typing import TYPE_CHECKING, Any

from kmod_emu.debug.goal import Edit, Event, Goal
from kmod_emu.debug.place import Armed, Mark, Place
from kmod_emu.debug.runner import Runner
from kmod_emu.debug.watching import Watching
from kmod_emu.kernel.spin import Following
from kmod_emu.machine.cpu import Stop, StopReason
from kmod_emu.machine.memory import Access

if TYPE_CHECKING:
    from collections.abc import Callable

    from kmod_emu.api import Kernel

_PATIENCE = 0.1  # seconds between looks at code that runs long, as the scheduler's own
_COMPUTING_LOOKS = 16  # after so many, the scheduler lets events come to code that computes
_JUMP_TO_NEXT = b"\xeb\x00"
_HOT = 100_000  # instructions that are run with a limit after an access to a watched page: code that was
# translated with one stays, and the next access is near, mostly
_NEVER = 1 << 62
_ENDS_STRETCH = (StopReason.FAULT, StopReason.EXCEPTION)
_NO_EVENT = (StopReason.TRAP, StopReason.COUNT, StopReason.HALT, StopReason.PATIENCE)


class Execution:
    """One run of `work` on a machine, to be resumed goal by goal; `Timeline` does so.

    Attributes:
        stretch, steps, mark: The place, see place.py.
        rip: The instruction that would run next.
        event: The event that it paused at, None if it paused at its goal.
        looks: Places where the scheduler looked at code that ran long, with a consequence.
        edits: What the user changed, in order.
        caught: What to catch: kinds of catchpoints that are armed; modules' inits always are.
        frontier: The last stretch that is known: before it, code that runs long is looked at in `looks` only.
        was_interrupted: Whether it paused because somebody asked.
    """

    def __init__(self, kernel: Kernel, work: Callable[[], Any]) -> None:
        self.kernel, self._work, self._cpu = kernel, work, kernel.cpu
        self.stretch = self.steps = self.rip = 0
        self.mark: Mark | None = None
        self.event: Event | None = None
        self.looks: set[tuple[int, int]] = set()
        self.edits: list[Edit] = []
        self.caught: set[str] = set()
        self.goal = Goal()
        self.lengths: dict[int, int] = {}
        self._counts: dict[int, tuple[int, int]] = {}  # where a run with a limit began, and where it ended
        self._count_end: tuple[int, int] | None = None
        self.chunks = 0
        self._watching = Watching(kernel)
        self._hooks: dict[int, Callable[[], None]] = {}
        self._armed = Armed()
        self._pending: list[tuple[str, str]] = []
        self._interrupted = self._inexact = self.was_interrupted = False
        self.frontier = 0
        self._stop_listening = kernel.events.listen(self.listener)
        self._limit = kernel.cpu.watchdog.limit
        kernel.cpu.watchdog.limit = None  # code under a debugger may take as long as it likes
        kernel.sched.run_guest = self._run
        kernel.cpu.after_traps(self._after_trap)

    @property
    def place(self) -> Place:
        """Where the run is."""
        return Place(self.stretch, self.steps, self.mark)

    @property
    def runner(self) -> Runner:
        """What runs the work."""
        return self._runner

    def interrupt(self) -> None:
        """Ask the run to pause soon; from any thread."""
        self._interrupted = True
        self._alert = 0

    def _launch(self) -> None:
        self.stretch = self.steps = self.rip = 0
        self.mark = None
        self._edited = 0
        self._base, self._events, self._at_base, self._passed = Place(0), 0, True, False
        self._hit_address: int | None = None
        self._skip: int | None = None
        self._active = self._mine = self._hot = False
        self._entered, self._alert, self._due = 0, _NEVER, _NEVER
        self._following: Following | None = None
        self._looked = self._seen = self._spent = 0
        self._pending = []
        self._coming: tuple[int, str] | None = None  # a module: its init is about to be called
        self._told = False
        self._started = 0.0
        self._counting: Callable[[], int] | None = None
        self._runner = Runner(self._work)

    def _busy_stretches(self) -> set[int]:
        """Where something has to be done again at an exact place."""
        busy = {stretch for stretch, _ in self.looks} | {edit.stretch for edit in self.edits[self._edited :]}
        return busy if self._count_end is None else busy | {self._count_end[0]}

    def _apply_edits(self) -> None:
        here = (self.stretch, self.steps)
        while self.mark is None and self._edited < len(self.edits) and self.edits[self._edited][:2] == here:
            kind, what, value = self.edits[self._edited].change
            self._edited += 1
            if kind == "memory":
                self.kernel.memory.write(what, bytes.fromhex(value))
            elif what == "rip":
                self.rip = value
            else:
                self._cpu.write(what, value)

    def _let_go(self) -> None:
        """Guest code runs without this from here on."""
        self._stop_listening()
        self.kernel.cpu.after_traps(None)
        self.kernel.sched.run_guest = self.kernel.cpu.run
        self.kernel.cpu.watchdog.limit = self._limit

    # --- on the runner's thread ----------------------------------------------------------------------------

    def _run(self, rip: int, count: int = 0, patience: float = math.inf) -> Stop:
        """Stands in for `Cpu.run` where the scheduler runs guest code."""
        try:
            return self._run_stretches(rip, count)
        finally:
            self._watching.on = False  # nobody else's runs stop at guarded pages

    def _run_stretches(self, rip: int, count: int) -> Stop:
        self._runner.check()
        self._begin_stretch()
        self._following, self._looked, begun, spent = None, 0, self.stretch, 0
        self._count_end = self._counts.get(begun) if count > 1 else None
        if self.goal.listens:
            self._watching.compare()
        while True:
            rip = self._look_around(rip)
            if self.mark is None and (self.stretch, self.steps) in self.looks:
                return Stop(StopReason.PATIENCE, rip)
            if self._count_end == (self.stretch, self.steps) and self.mark is None:
                return Stop(StopReason.COUNT, rip)
            if count and self._count_end is None and spent >= count:
                self._counts[begun] = self.stretch, self.steps
                return Stop(StopReason.COUNT, rip)
            left = count - spent if count and self._count_end is None else 0
            stop, executed = self._burst(rip, self._budget(left), counted=left > 1)
            spent += self._spent
            self._passed = False
            answer = self._after_burst(stop, executed)
            if answer is not None:
                return answer
            rip = self.rip

    def _begin_stretch(self) -> None:
        """Something happened that is counted: here a stretch begins."""
        if self.mark is None:
            self.lengths[self.stretch] = self.steps
        self.stretch += 1
        self._enter_stretch()

    def _enter_stretch(self) -> None:
        """The stretch is another one: nothing of it was run."""
        if self._entered == self.stretch:
            return
        self._entered = self.stretch
        self.frontier = max(self.frontier, self.stretch)
        self.steps, self.mark = 0, None
        self._base, self._events, self._at_base, self._passed = Place(self.stretch), 0, True, False
        self._started = time.process_time()

    def _budget(self, left: int) -> int:
        """How many instructions to run at most; 0: no limit. `left` is what the scheduler's limit leaves."""
        goal, ends = self.goal, []
        if goal.steps is not None or self._following is not None or self._coming is not None:
            return 1
        if left:
            ends.append(self.steps + left)
        if self._count_end is not None and self._count_end[0] == self.stretch:
            ends.append(self._count_end[1])
        ends += [steps for stretch, steps in self.looks if stretch == self.stretch and steps > self.steps]
        if self._edited < len(self.edits) and self.edits[self._edited].stretch == self.stretch:
            ends.append(self.edits[self._edited].steps)
        if goal.target is not None and goal.target.stretch == self.stretch:
            ends.append(goal.target.steps)
        if ends:
            return max(min(ends) - self.steps, 1)
        return goal.chunk

    def _burst(self, rip: int, budget: int, *, counted: bool) -> tuple[Stop, int | None]:
        """Run; how it ended, and how many instructions were completed in this stretch, if that is known."""
        cpu, goal, listens = self._cpu, self.goal, self.goal.listens
        counted = counted or (goal.counted and goal.leave in (None, self.stretch))
        if budget > 1 and listens and not goal.chunk and self._armed != Armed():
            counted = counted or bool(self._armed.watched) or not goal.again
        self._seen = self._events
        self._skip = rip if rip in self._hooks else None
        self._hit_address, self._mine = None, False
        self._watching.on = listens
        before, self._due = self.stretch, 0 if budget or goal.counted else self._next_due()
        self._alert = 0 if self._watching.on else self._due
        if self._interrupted or self._pending:
            self._alert = 0
        patience = _PATIENCE if goal.judge is not None and not (budget or goal.again) else math.inf
        limit = budget or (_HOT if self._hot else 0)
        self._hot = False
        with cpu.counting() if counted else nullcontext(None) as executed:
            self._counting, self._active = executed, listens
            try:
                stop = cpu.run(rip, limit, patience)
            finally:
                self._active, self._counting = False, None
        if stop.reason is StopReason.TRAP and self._hit_address is None:
            stop = self._behind_trap(stop)
        if executed is not None:
            self._spent = executed() - (stop.reason in _ENDS_STRETCH)
        else:
            self._spent = limit if stop.reason in (StopReason.COUNT, StopReason.TRAP) else 0
        if self.stretch != before:
            self._enter_stretch()
            return stop, 0 if stop.reason is StopReason.TRAP and self._hit_address is None else None
        if executed is not None:
            return stop, self._spent
        if budget == 1 and stop.reason is not StopReason.COUNT:
            return stop, 0
        return stop, limit if stop.reason is StopReason.COUNT else None

    def _next_due(self) -> int:
        """The next stretch at whose beginning the run has to be stopped."""
        goal = self.goal
        stretches = self._busy_stretches()
        if goal.target is not None:
            stretches.add(goal.target.stretch)
        return min((stretch for stretch in stretches if stretch > self.stretch), default=_NEVER)

    def _behind_trap(self, stop: Stop) -> Stop:
        """The jump behind a trap's `out` was run or not, as the code was translated: from here on, it was."""
        if self.kernel.memory.read(stop.rip, len(_JUMP_TO_NEXT)) != _JUMP_TO_NEXT:
            return stop
        self._cpu.write("rip", stop.rip + len(_JUMP_TO_NEXT))
        return stop._replace(rip=stop.rip + len(_JUMP_TO_NEXT))

    def _after_burst(self, stop: Stop, executed: int | None) -> Stop | None:
        """Act on how a burst ended; what the scheduler has to act on, or None."""
        goal = self.goal
        self.rip = stop.rip
        if self._watching.guards(stop):
            return self._watched(stop, executed)
        if self._broken_at(stop):
            self._moved(executed)
            return None
        if stop.reason not in _NO_EVENT and self._hit_address is None:
            self._events += 1
        self._moved(executed)
        if self._hit_address is not None:
            self._passed = True
            self._judge(Event(stop.rip))
            return None
        if stop.reason is StopReason.TRAP:
            self._stepped()
            if self._mine:
                self._follow()
            return None if self._mine else stop
        if stop.reason is StopReason.COUNT or (stop.reason is StopReason.HALT and executed):
            self.chunks += bool(goal.chunk)
            self._stepped()
            self._follow()
            return None
        if stop.reason is StopReason.PATIENCE:
            self._ran_long(stop)
            return None
        caught = self._meaning(stop)
        if caught is not None or goal.event is not None:
            self._judge(Event(stop.rip, caught=caught))
        self._stepped()
        return stop

    def _broken_at(self, stop: Stop) -> bool:
        """Whether code that cannot be fetched has a breakpoint: gdb puts one on the stack under its calls."""
        fault = stop.fault  # whose address is that of the page, or more
        fetched = fault is not None and fault.access is Access.FETCH and not (fault.address ^ stop.rip) >> 12
        return fetched and self.goal.listens and stop.rip in self._hooks and self._skip != stop.rip

    def _moved(self, executed: int | None) -> None:
        if executed is None:
            self.mark, self.steps = Mark(self._base, self._armed, self._events), 0
        else:
            self.steps += executed
        self._at_base = self._at_base and executed == 0

    def _stepped(self) -> None:
        if self.goal.steps is not None:
            self.goal.steps -= 1

    def _look_around(self, rip: int) -> int:
        """At a place between two instructions: is this where to pause? Returns where to go on."""
        self.rip = rip
        self._apply_edits()
        goal = self.goal
        if self._pending:
            pending, self._pending = self._pending, []
            for caught in pending:
                self._judge(Event(self.rip, caught=caught))
        if self._coming is not None and self.rip == self._coming[0]:
            caught, self._coming = ("load", self._coming[1]), None
            self._judge(Event(self.rip, caught=caught))
        if change := self._watching.take():
            self._judge(Event(self.rip, change=change))
        if goal is self.goal and goal.listens and self.rip in self._hooks and not self._passed:
            self._events += not self._at_base
            self._passed = True
            self._judge(Event(self.rip))
        if goal is self.goal and self._reached():
            self._pause(None)
        return self.rip

    def _reached(self) -> bool:
        goal = self.goal
        if goal.target is not None and self.mark is None:
            return (self.stretch, self.steps) >= goal.target[:2]
        if goal.steps is not None and goal.steps <= 0:
            return True
        if goal.leave is not None and self.stretch > goal.leave:
            return True
        if goal.task is not None and goal.task is self.kernel.sched.current:
            return True
        return self._interrupted and goal.judge is not None and self.mark is None

    def _judge(self, event: Event) -> None:
        """An event: pause at it, if it is wanted."""
        goal = self.goal
        if self.mark is not None and not self._at_base:
            self.mark, self.steps = Mark(self._base, self._armed, self._events), 0
        if goal.event is not None:
            wanted = self._events == goal.event
        else:
            wanted = goal.judge is not None and goal.judge(event)
        if wanted:
            self._pause(event)

    def _pause(self, event: Event | None) -> None:
        self.event, self._watching.on = event, False
        self._cpu.write("rip", self.rip)
        self._runner.pause()
        self._watching.refresh()
        self._base, self._events, self._at_base, self._passed = self.place, 0, True, True
        self._following, self._started, self._looked = None, time.process_time(), 0

    def _hit(self, address: int) -> None:
        """Called by the processor before an instruction with a breakpoint."""
        if not self._active:
            return
        if self._skip == address:  # where the burst began: it was looked at
            self._skip = None
            return
        self._enter_stretch()
        self._events += 1
        goal = self.goal
        if goal.again and goal.judge is not None:  # it only takes notes: the count of the burst goes on
            steps, mark = self.steps, self.mark
            self.steps, self.mark = 0, Mark(self._base, self._armed, self._events)
            goal.judge(Event(address))
            self.steps, self.mark = steps, mark
        elif not goal.chunk or self._events == goal.event:
            self._hit_address = address
            self._cpu.stop_at_trap()

    def _after_trap(self) -> None:
        """Called by the processor when the handler of a trap has returned."""
        self.stretch += 1
        if self.stretch >= self._alert:
            if self._counting is not None:
                self.lengths[self._entered] = self.steps + self._counting()
            self._enter_stretch()
            if self._watching.on:
                self._watching.compare()
            wanted = self._interrupted or self._pending or self._watching.changed
            if wanted or self.stretch >= self._due:
                self._mine = not self._cpu.stopping
                self._cpu.stop_at_trap()

    # --- watched bytes, things that are caught -------------------------------------------------------------

    def _watched(self, stop: Stop, executed: int | None) -> Stop | None:
        """An instruction touches a page with watched bytes: run it alone."""
        done, change = self._watching.step(stop)
        self._hot = True
        if done.reason is not StopReason.COUNT:
            self._moved(executed)
            return self._after_burst(done, 0)
        self.rip = done.rip
        if change is not None:
            self._events += 1
        if executed is None and change is None:
            self.mark = self.mark or Mark(self._base, self._armed, -1)
        elif executed is None:
            self.mark, self.steps = Mark(self._base, self._armed, self._events), 0
        else:
            self.steps += executed + 1
        self._at_base = False
        self._stepped()
        if change is not None:
            self._judge(Event(done.rip, change=change))
        return None

    def listener(self, event: Any) -> None:
        """Listens to the kernel: some events are stops, at the next place."""
        if event.name == "do_one_initcall":
            module = event.detail["symbol"].rpartition("[")[2].rstrip("]")
            self._coming = event.detail["address"], module
        elif event.name == "syscall" and "syscall" in self.caught:
            self._notice(("syscall", event.detail["name"]))
        elif event.name == "unimplemented" and "unimplemented" in self.caught and not self._told:
            self._notice(("unimplemented", event.detail["name"]))
        elif event.name in ("oops", "panic", "soft lockup") and "oops" in self.caught and not self._told:
            self._notice(("oops", event.detail["text"]))

    def _notice(self, caught: tuple[str, str]) -> None:
        self._pending.append(caught)
        self._alert = 0

    def _meaning(self, stop: Stop) -> tuple[str, str] | None:
        """What a fault will come to, if that can be caught."""
        meaning = self.kernel.faults.meaning(stop)
        self._told = meaning is not None and meaning[0] in self.caught
        return meaning if self._told else None

    # --- code that runs long -------------------------------------------------------------------------------

    def _ran_long(self, stop: Stop) -> None:
        """No trap for a while: stop if somebody asked, else see whether the scheduler would do something."""
        if self._interrupted:
            self._leave_inexact()
        if self.stretch == self.frontier:
            self._looked += 1
            self._following = Following(self.kernel, stop.rip)

    def _follow(self) -> None:
        """One more instruction of code that is looked at."""
        following = self._following
        if following is None or not following.step(self.rip):
            return
        self._following = None
        sched = self.kernel.sched
        computes = not following.repeats and self._looked < _COMPUTING_LOOKS
        if sched.contended or following.looks_at_jiffies or (sched.expects and not computes):
            if self.mark is not None:
                self._leave_inexact()
            self.looks.add((self.stretch, self.steps))

    def _leave_inexact(self) -> None:
        self._inexact = True
        self._pause(None)

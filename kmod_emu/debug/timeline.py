"""One run of guest code that can be stopped anywhere, and done again up to any place.

Python coroutines stand between a system call and the guest code that it calls, so a machine in the middle of
init cannot be restored. It can be run again: execution is deterministic, and takes milliseconds. Going back
is restoring the machine from before the run and running forward to one instruction less.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

from kmod_emu.debug.execution import Execution
from kmod_emu.debug.goal import Edit, Event, Goal
from kmod_emu.debug.place import Armed, Mark, Place

if TYPE_CHECKING:
    from collections.abc import Callable

    from kmod_emu.api import Kernel

_RATE = 50_000_000  # instructions a second, for a place near to where code was interrupted
_NEAREST, _FARTHEST = 1_000, 10_000_000
_CHUNK = 1 << 15  # instructions that are counted one by one, at most, when a place is looked for


class Timeline(Execution):
    """A run that is controlled: forwards, and again up to any place."""

    def __init__(self, kernel: Kernel, work: Callable[[], Any]) -> None:
        super().__init__(kernel, work)
        self._origin, self._registers = kernel.snapshot(), kernel.cpu.save()
        self._launch()

    def close(self) -> None:
        """Let go of the machine: it is what it was before the run."""
        self._runner.abandon()
        self.arm(Armed())
        self._restore()
        self._let_go()

    def detach(self) -> None:
        """Let the work go on to its end, with nobody watching."""
        self.arm(Armed())
        self.caught = set()
        self.resume(Goal())
        self._let_go()

    def arm(self, armed: Armed) -> None:
        """Say what makes events."""
        for address in self._hooks.keys() - armed.addresses:
            self._hooks.pop(address)()
        for address in armed.addresses - self._hooks.keys():
            self._hooks[address] = self._cpu.before(address, lambda a=address: self._hit(a))  # type: ignore[misc]
        self._watching.watch(armed.watched)
        self._armed = armed

    def resume(self, goal: Goal) -> Event | None:
        """Run until the goal is reached, an event stops it, or the work ends."""
        self.event = None
        while not self._runner.ended:
            if self.mark is not None and self.stretch in self._busy_stretches():
                self.resolve()
            self.goal, self.event, self._inexact, self.chunks = goal, None, False, 0
            self._runner.resume()
            self._wait()
            if not self._inexact:
                break
            self._come_near()
            if self._interrupted:
                break
        self.was_interrupted, self._interrupted = self._interrupted and self.event is None, False
        return self.event

    def _wait(self) -> None:
        while True:
            try:
                return self._runner.wait()
            except KeyboardInterrupt:
                self.interrupt()

    def _restore(self) -> None:
        for task in self.kernel.tasks.by_pid.values():
            for activation in reversed(task.activations):  # nobody will resume them
                activation.work.close()
            task.activations = []
        self.kernel.restore(self._origin)
        self._cpu.restore(self._registers)

    def restart(self) -> None:
        """Be at the beginning again, nothing run."""
        self._runner.abandon()
        self._restore()
        self._launch()

    # --- going to places -----------------------------------------------------------------------------------

    def go(self, place: Place) -> None:
        """Make `place` the present; nobody is told what happens on the way."""
        with self.kernel.events.only(self.listener):
            self._go(place)

    def _go(self, place: Place) -> None:
        armed, links = self._armed, []
        while place.mark is not None:
            links.append((place.mark, place.steps))
            place = place.mark.base
        if not self.place.exact or self.place[:2] > place[:2] or self._runner.ended:
            self.restart()
        if self.place != place or not self.rip:
            self.resume(Goal(target=place))
        for mark, steps in reversed(links):
            self.arm(mark.armed)
            self._go_to_event(mark)
            if steps:
                self.resume(Goal(target=self.place._replace(steps=self.steps + steps)))
        self.arm(armed)

    def _go_to_event(self, mark: Mark) -> None:
        """From the exact place where a mark begins to the event that it tells of, counting the way."""
        if mark.armed.watched:
            self.resume(Goal(event=mark.events, counted=True))
            return
        start = self.place
        self.resume(Goal(event=mark.events, chunk=_CHUNK))
        if self.mark is not None or self.stretch != start.stretch:
            chunks, seen = self.chunks, self._seen
            self._go(start._replace(steps=start.steps + chunks * _CHUNK))
            self.resume(Goal(event=mark.events - seen, counted=True))

    def resolve(self) -> Place:
        """Find out how many instructions lie between here and the beginning of the stretch."""
        if self.mark is not None:
            self.go(self.place)
        return self.place

    def before(self, place: Place) -> Place | None:
        """The place one instruction before an exact one, None at the very beginning."""
        if place.steps:
            return place._replace(steps=place.steps - 1)
        for stretch in range(place.stretch - 1, 0, -1):
            if length := self._length(stretch):
                return Place(stretch, length - 1)
        return None

    def _length(self, stretch: int) -> int:
        """Instructions of a stretch."""
        if stretch not in self.lengths:
            with self.kernel.events.only(self.listener):
                self._go(Place(stretch))
                self.resume(Goal(leave=stretch, counted=True))
        return self.lengths.get(stretch, 0)

    def _come_near(self) -> None:
        """Code that ran long was stopped anywhere: go to a known place near there, a little earlier."""
        interrupted, seconds = self._interrupted, time.process_time() - self._started
        base, goal = self._base, self.goal
        distance = min(max(int(seconds * _RATE), _NEAREST), _FARTHEST)
        with self.kernel.events.only(self.listener):
            self.restart()
            self._go(base)
            self.resume(Goal(target=Place(self.stretch, self.steps + distance)))
        if not interrupted:
            self.looks.add((self.stretch, self.steps))
        self.goal, self._interrupted = goal, interrupted

    def edit(self, *change: Any) -> None:
        """Change the machine here and now; what was known of the future is forgotten."""
        here = self.resolve()
        self.looks = {look for look in self.looks if look <= here[:2]}
        self.lengths = {stretch: n for stretch, n in self.lengths.items() if stretch < here.stretch}
        self._counts = {begun: end for begun, end in self._counts.items() if end <= here[:2]}
        del self.edits[self._edited :]
        self.edits.append(Edit(here.stretch, here.steps, change))
        self.frontier = here.stretch
        self._apply_edits()

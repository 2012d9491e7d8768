r"""A debugger for code on the machine: stop, look, step, and go back.

    >>> from kmod_emu import Kernel, samples
    >>> from kmod_emu.debug.debugger import Debugger
    >>> debugger = Debugger(Kernel())
    >>> stop = debugger.start(samples.path("hello"))      # at the first instruction of init
    >>> stop.reason.name, debugger.kernel.describe(stop.address)
    ('STARTED', 'hello_init+0x0/0x1000 [hello]')
    >>> point = debugger.break_at(debugger.kernel.symbol("_printk"))
    >>> stop = debugger.continue_()
    >>> stop.points == (point,), point.hits
    (True, 1)
    >>> debugger.memory.read_text(debugger.registers()["rdi"])[2:]   # behind its level
    'Hello world!\n'
    >>> debugger.reverse_stepi().reason.name
    'STEPPED'
    >>> debugger.delete(point)
    >>> debugger.continue_().reason.name, debugger.kernel.dmesg()[-1]
    ('ENDED', 'Cleaning up module.')
    >>> debugger.close()                                  # the machine is what it was before

Everything here is called by one thread; only `interrupt` may come from any.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from kmod_emu.debug.goal import Goal
from kmod_emu.debug.place import Armed, Place, WatchedRange
from kmod_emu.debug.points import Breakpoint, Catchpoint, Point, Reason, Stopped, Watchpoint
from kmod_emu.debug.recording import Recording, from_bytes, is_recording
from kmod_emu.debug.timeline import Timeline
from kmod_emu.errors import KernelError
from kmod_emu.kernel.unwind import callers
from kmod_emu.machine.memory import PAGE_SIZE, PageFault
from kmod_emu.module.modules import Modules

if TYPE_CHECKING:
    import os
    from collections.abc import Callable

    from kmod_emu.api import Kernel
    from kmod_emu.debug.goal import Event
    from kmod_emu.kernel.tasks import Task

_LONGEST_INSTRUCTION = 15
_CALL_SIZES = (5, 2, 3, 6, 7)


class Debugger:
    """Debugs one run of a module on `kernel`.

    Attributes:
        stop: The latest stop.
        points: Breakpoints, watchpoints and catchpoints by number.
        source: What the run was started with, if that is the load of a module and nothing else.
        error: What the load ended with, None if it went well or goes on.
    """

    def __init__(self, kernel: Kernel) -> None:
        self.kernel, self.memory = kernel, kernel.memory
        self.points: dict[int, Point] = {}
        self._internal: list[Point] = []
        self._number = 0
        self.source: Recording | None = None
        self._timeline: Timeline | None = None
        self._found: Stopped | None = None
        self._starting = False
        self._beginning = Place(0)
        self.stop = Stopped(Reason.ENDED, 0, kernel.tasks.init_task)

    # --- the run -------------------------------------------------------------------------------------------

    def start(
        self,
        module: str | os.PathLike[str] | bytes,
        params: str = "",
        *,
        uid: int = 0,
        remove: bool = True,
        then: Callable[[], Any] | None = None,
    ) -> Stopped:
        """Load a module; stops at the first instruction of its init, or when the load has ended.

        Args:
            module: Path of a .ko file on the host, or its bytes; or a recording, which brings all the rest.
            params: "name=value name=value".
            uid: Who loads it.
            remove: After a load that went well, also unload it, so that its exit can be debugged.
            then: Called between the two; it must do the same whenever it is called.

        Raises:
            OSError: The file cannot be read.
        """
        contents = module if isinstance(module, bytes) else Path(module).read_bytes()
        if is_recording(contents):
            return self.replay(from_bytes(contents))
        source = Recording(self.kernel.profile.release, contents, params, uid, remove)
        self.start_work(lambda: self._load(source, then))
        self.source = source if then is None else None
        return self.stop

    def replay(self, recording: Recording) -> Stopped:
        """As `start`, of a run that was recorded on a machine like this one."""
        self._begin(lambda: self._load(recording))
        timeline = self.timeline
        timeline.looks, timeline.edits = set(recording.looks), list(recording.edits)
        timeline.frontier = recording.stretches
        self.source = recording
        return self._run_to_beginning()

    def start_work(self, work: Callable[[], Any]) -> Stopped:
        """As `start`, of anything that runs guest code; it must do the same whenever it is called."""
        self._begin(work)
        return self._run_to_beginning()

    def _begin(self, work: Callable[[], Any]) -> None:
        if self._timeline is not None:
            self.close()
        self._timeline, self.source = Timeline(self.kernel, work), None

    def _run_to_beginning(self) -> Stopped:
        self._starting = True
        self._resume(Goal(self._judge))
        self._starting = False
        self._beginning = self.timeline.place
        return self.stop

    def _load(self, source: Recording, then: Callable[[], Any] | None = None) -> None:
        kernel = self.kernel
        with kernel.process(uid=source.uid, comm="insmod") as process:
            process.init_module(source.image, source.params)
        module = kernel[Modules].loaded_by(process.pid)
        if then is not None:
            then()
        if source.remove and module is not None:
            kernel.rmmod(module.name)

    @property
    def timeline(self) -> Timeline:
        """The run; RuntimeError before `start`."""
        if self._timeline is None:
            raise RuntimeError("nothing is being debugged: call start() first")
        return self._timeline

    @property
    def ended(self) -> bool:
        """Whether the work has come to its end."""
        return self._timeline is None or self._timeline.runner.ended

    @property
    def error(self) -> KernelError | None:
        """What the work ended with."""
        error = self._timeline.runner.error if self._timeline is not None else None
        if error is None or isinstance(error, KernelError):
            return error
        raise error

    def close(self) -> None:
        """End the run; the machine is what it was before."""
        if self._timeline is not None:
            self._timeline.close()
            self._timeline = None

    def detach(self) -> None:
        """Let the run go on to its end without stops, and let go of the machine."""
        self.timeline.detach()
        self._timeline = None

    def interrupt(self) -> None:
        """Stop what runs, soon; from any thread."""
        if self._timeline is not None:
            self._timeline.interrupt()

    # --- looking and changing ------------------------------------------------------------------------------

    @property
    def task(self) -> Task:
        """The task that runs."""
        return self.kernel.sched.current

    @property
    def tasks(self) -> list[Task]:
        """All tasks that are alive."""
        return [task for task in self.kernel.tasks.by_pid.values() if not task.dead]

    def registers(self, task: Task | None = None) -> dict[str, int]:
        """General registers, rip, eflags, fs_base and gs_base of a task (None: the one that runs)."""
        bases = {"fs_base": 0, "gs_base": self.kernel.percpu.base}
        if task is None or task is self.task:
            return self.kernel.cpu.registers() | {"rip": self.timeline.rip} | bases
        registers = dict.fromkeys(self.kernel.cpu.registers(), 0)
        if task.context is not None:
            registers.update(self.kernel.cpu.registers_of(task.context))
        if task.resume is not None:
            registers.update(rip=task.resume.rip, rsp=task.resume.rsp)
        elif task.activations and task.activations[-1].deliver is not None:
            registers.update(rip=task.activations[-1].rip, rsp=task.activations[-1].stack)
        else:  # it is in Python, or has not begun
            registers.update(rip=self.kernel.traps.return_address, rsp=task.stack_top)
        return registers | bases

    def vector_reader(self, task: Task) -> Callable[[int], Any]:
        """Reads x87 and SSE registers of a task by Unicorn's numbers."""
        if task is self.task or task.context is None or isinstance(task.context, dict):
            return self.kernel.cpu.read_number
        reader: Callable[[int], Any] = task.context.reg_read
        return reader

    def set_register(self, name: str, value: int) -> None:
        """Change a register of the task that runs; that is recorded, and the known future forgotten."""
        self.timeline.edit("register", name, value)

    def read(self, address: int, size: int) -> bytes:
        """Guest memory; raises PageFault where nothing is mapped."""
        return self.memory.read(address, size)

    def write(self, address: int, data: bytes) -> None:
        """Change guest memory; that is recorded, and the known future forgotten.

        Raises:
            PageFault: Nothing is mapped there.
        """
        self.memory.read(address, len(data))
        self.timeline.edit("memory", address, data.hex())

    def callers(self, task: Task | None = None) -> list[tuple[int, int]]:
        """Innermost first: the stack slot of each return address, and the address."""
        return callers(self.kernel, task or self.task)

    def instruction(self, address: int | None = None) -> tuple[int, str]:
        """Size and mnemonic of an instruction, by default the next one; (0, "") where there is none."""
        from kmod_emu.machine.asm import disassemble

        where = self.stop.address if address is None else address
        for size in (_LONGEST_INSTRUCTION, PAGE_SIZE - where % PAGE_SIZE):
            try:
                code = self.memory.read(where, min(size, _LONGEST_INSTRUCTION))
            except PageFault:
                continue
            for instruction in disassemble(code, where):
                return instruction.size, instruction.mnemonic
        return 0, ""

    # --- points --------------------------------------------------------------------------------------------

    def break_at(
        self,
        address: int,
        text: str = "",
        *,
        temporary: bool = False,
        condition: Callable[[], bool] | None = None,
    ) -> Breakpoint:
        """Stop before the instruction at an address, which need not be there yet."""
        point = Breakpoint(self._next(), address, text, temporary=temporary)
        point.condition = condition
        self.points[point.number] = point
        return point

    def break_on_call(self, export: str, *, condition: Callable[[], bool] | None = None) -> Breakpoint:
        """Stop when guest code calls a function of the base kernel.

        Raises:
            LookupError: There is none of that name.
        """
        address = self.kernel.symbol(export)
        return self.break_at(address, f"call of {export}", condition=condition)

    def watch(
        self,
        address: int,
        size: int,
        kind: str = "change",
        text: str = "",
        *,
        condition: Callable[[], bool] | None = None,
    ) -> Watchpoint:
        """Stop behind instructions that touch some bytes; kinds are those of `Watchpoint`."""
        point = Watchpoint(self._next(), address, size, kind, text)
        point.condition = condition
        self.points[point.number] = point
        return point

    def catch(self, kind: str, name: str = "") -> Catchpoint:
        """Stop when something happens; kinds are those of `Catchpoint`."""
        point = Catchpoint(self._next(), kind, name)
        self.points[point.number] = point
        return point

    def delete(self, point: Point) -> None:
        """Remove a point."""
        self.points.pop(point.number, None)

    def _next(self) -> int:
        self._number += 1
        return self._number

    # --- forwards ------------------------------------------------------------------------------------------

    def continue_(self) -> Stopped:
        """Run until something stops it."""
        return self._resume(Goal(self._judge))

    def stepi(self, count: int = 1) -> Stopped:
        """Run instructions of the task that runs now; others may run in between."""
        task = self.task
        self._resume(Goal(self._judge, steps=count))
        if self.stop.reason is Reason.STEPPED and self.task is not task and not task.finished:
            self._resume(Goal(self._judge, task=task))
        return self.stop

    def run_task(self, task: Task) -> Stopped:
        """Run until another task has its turn."""
        return self._resume(Goal(self._judge, task=task))

    def step_range(self, start: int, end: int) -> Stopped:
        """Step instructions until this task is outside of a range of addresses."""
        task = self.task
        while self.stepi().reason is Reason.STEPPED and self.task is task:
            if not start <= self.stop.address < end:
                break
        return self.stop

    def nexti(self) -> Stopped:
        """As `stepi`, but run a call as a whole."""
        size, mnemonic = self.instruction()
        if not mnemonic.startswith(("call", "rep")):
            return self.stepi()
        return self.run_to(self.stop.address + size, self.registers()["rsp"])

    def run_to(self, address: int, rsp: int = 0) -> Stopped:
        """Run until this task gets to an address, its stack pointer at `rsp` or above, or a point stops."""
        point = Breakpoint(0, address)
        point.task, point.rsp = self.task, rsp
        return self._resume(Goal(self._judge), point)

    def finish(self) -> Stopped:
        """Run until the current function has returned.

        Raises:
            LookupError: Nobody knows who called it.
        """
        frames = self.callers()
        if not frames:
            raise LookupError("the outermost function: nothing to return to")
        slot, address = frames[0]
        return self.run_to(address, slot + 8)

    # --- backwards -----------------------------------------------------------------------------------------

    def reverse_stepi(self) -> Stopped:
        """Undo one instruction; not before the place where `start` stopped."""
        timeline = self.timeline
        before = timeline.before(timeline.resolve())
        if before is None or before[:2] < self._beginning[:2]:
            return self._go(self._beginning, Reason.BEGINNING)
        return self._go(before, Reason.STEPPED)

    def reverse_continue(self) -> Stopped:
        """Go back to the latest place before this one where a point would have stopped.

        A watchpoint stops before the instruction that it saw.
        """
        return self._reverse_to(list(self.points.values()))

    def reverse_nexti(self) -> Stopped:
        """As `reverse_stepi`, but undo a call as a whole."""
        here, rsp = self.stop.address, self.registers()["rsp"]
        self.reverse_stepi()
        registers = self.registers()
        if self.instruction()[1].startswith("ret") and registers["rsp"] == rsp - 8:
            return self._reverse_to_call(rsp - 8, here)
        return self.stop

    def reverse_finish(self) -> Stopped:
        """Go back to the call of the current function.

        Raises:
            LookupError: Nobody knows who called it.
        """
        frames = self.callers()
        if not frames:
            raise LookupError("the outermost function: nobody called it")
        return self._reverse_to_call(*frames[0])

    def last_write(self, address: int, size: int) -> Stopped:
        """Go back to before the latest instruction that wrote some bytes, the same value too."""
        return self._reverse_to([Watchpoint(0, address, size, "write")])

    def go_to_beginning(self) -> Stopped:
        """Make the place where `start` stopped the present."""
        return self._go(self._beginning, Reason.STARTED)

    def go(self, place: Place) -> Stopped:
        """Make a place of the past, or of the future that is known, the present."""
        return self._go(place, Reason.STEPPED)

    @property
    def place(self) -> Place:
        """Where the run is, for `go`."""
        return self.timeline.resolve()

    def _reverse_to_call(self, slot: int, address: int) -> Stopped:
        """Back to the call whose return address lies in a stack slot."""
        points: list[Point] = []
        for size in _CALL_SIZES:
            if self.instruction(address - size) == (size, "call"):
                point = Breakpoint(0, address - size)
                point.task, point.rsp = self.task, slot + 8
                points.append(point)
        stop = self._reverse_to(points)
        if stop.reason is Reason.BREAKPOINT:
            self.stop = stop._replace(reason=Reason.STEPPED, points=())
        return self.stop

    def _reverse_to(self, points: list[Point]) -> Stopped:
        timeline = self.timeline
        here = timeline.resolve()
        found: tuple[Place, Stopped] | None = None

        def note(event: Event) -> bool:
            nonlocal found
            passed = event.change is not None  # it is told behind the instruction, which is to be undone
            if passed or timeline.place[:2] != here[:2] or not timeline.place.exact:
                hit = tuple(point for point in points if self._concerns(point, event))
                if hit:
                    found = timeline.place, self._stopped(event, hit)
            return False

        self._arm(points)
        with self.kernel.events.only(timeline.listener):
            timeline.go(self._beginning)
            timeline.resume(Goal(note, target=here, again=True))
            if found is None:
                return self._go(self._beginning, Reason.BEGINNING)
            place, stop = found
            timeline.go(place)
            if stop.reason is Reason.WATCHPOINT and (before := timeline.before(timeline.resolve())):
                timeline.go(before)
        self.stop = stop._replace(address=timeline.rip, task=self.task)
        return self.stop

    def _go(self, place: Place, reason: Reason) -> Stopped:
        self.timeline.go(place)
        self.stop = Stopped(reason, self.timeline.rip, self.task)
        return self.stop

    # --- stopping ------------------------------------------------------------------------------------------

    def _resume(self, goal: Goal, *internal: Point) -> Stopped:
        timeline = self.timeline
        self._internal, self._found = list(internal), None
        self._arm([*self.points.values(), *internal])
        timeline.resume(goal)
        if found := self._take_found():
            self.stop = found
            for point in self.stop.points:
                if point.temporary:
                    self.delete(point)
        elif timeline.runner.ended:
            error = self.error
            detail = "" if error is None else error.explanation or str(error.strerror)
            self.stop = Stopped(Reason.ENDED, 0, self.kernel.tasks.init_task, detail=detail)
        else:
            reason = Reason.INTERRUPTED if timeline.was_interrupted else Reason.STEPPED
            self.stop = Stopped(reason, timeline.rip, self.task)
        return self.stop

    def _take_found(self) -> Stopped | None:
        found, self._found = self._found, None
        return found

    def _arm(self, points: list[Point]) -> None:
        wanted = [point for point in points if point.enabled]
        addresses = frozenset(point.address for point in wanted if isinstance(point, Breakpoint))
        watched = dict.fromkeys(_range(point) for point in wanted if isinstance(point, Watchpoint))
        self.timeline.caught = {point.kind for point in wanted if isinstance(point, Catchpoint)}
        self.timeline.arm(Armed(addresses, tuple(watched)))

    def _judge(self, event: Event) -> bool:
        """Whether to stop at an event; counts hits."""
        if self._starting and event.caught is not None and event.caught[0] == "load":
            self._found = Stopped(Reason.STARTED, event.address, self.task, detail=event.caught[1])
            return True
        hit = [point for point in self.points.values() if self._concerns(point, event)]
        for point in hit:
            point.hits += 1
        wanted = tuple(point for point in hit if not _ignored(point))
        if wanted:
            self._found = self._stopped(event, wanted)
        elif any(self._concerns(point, event) for point in self._internal):
            self._found = Stopped(Reason.STEPPED, event.address, self.task)
        return self._found is not None

    def _concerns(self, point: Point, event: Event) -> bool:
        """Whether a point is hit by an event."""
        if not point.enabled:
            return False
        if isinstance(point, Breakpoint):
            mine = event.caught is None and event.change is None and point.address == event.address
            mine = mine and (point.task is None or point.task.pid == self.task.pid)
            mine = mine and self.kernel.cpu.read("rsp") >= point.rsp
        elif isinstance(point, Watchpoint):
            mine = event.change is not None and _range(point) in event.change.ranges
        elif isinstance(point, Catchpoint):
            caught = event.caught
            mine = caught is not None and caught[0] == point.kind and point.name in ("", caught[1])
        else:
            mine = False
        return mine and (point.condition is None or bool(point.condition()))

    def _stopped(self, event: Event, points: tuple[Point, ...]) -> Stopped:
        if event.change is not None:
            change = event.change
            where = Reason.WATCHPOINT, event.address, self.task, points
            return Stopped(*where, old=change.old, new=change.new)
        reason = Reason.BREAKPOINT if event.caught is None else Reason.CATCHPOINT
        return Stopped(
            reason, event.address, self.task, points, detail=event.caught[1] if event.caught else ""
        )


def _range(point: Watchpoint) -> WatchedRange:
    return WatchedRange(point.address, point.size, point.kind)


def _ignored(point: Point) -> bool:
    if point.ignore > 0:
        point.ignore -= 1
        return True
    return False


__all__ = [
    "Breakpoint",
    "Catchpoint",
    "Debugger",
    "Place",
    "Point",
    "Reason",
    "Stopped",
    "Watchpoint",
]

"""The machine as it was at each step of a run, to look at when the run is over.

At a step, memory gets a snapshot, which costs the pages that are written afterwards. When the run is over
nothing runs on the machine any more, and looking is going back to the step's snapshot.
"""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING, Any, NamedTuple

from kmod_emu.kernel.unwind import call_trace
from kmod_emu.machine.memory import PAGE_SHIFT, PAGE_SIZE, AddressSpace, PageFault
from kmod_emu.module.modules import STATE_NAMES, Modules
from kmod_emu.observe.report.model import MAX_STEPS
from kmod_emu.observe.steps import describe

if TYPE_CHECKING:
    from collections.abc import Iterator

    from kmod_emu.api import Kernel
    from kmod_emu.kernel.events import Event
    from kmod_emu.machine.snapshot import MemorySnapshot
    from kmod_emu.observe.steps import Step

MAX_SIZE = 4096
WORD = 8
_MAX_CHANGES = 40
_CACHED = 256
_ADDRESSES = 1 << 64
_LONGEST_NAME = 200
_STOPPED = ("oops", "soft lockup", "unimplemented")  # guest code has just been stopped when these are told


class NoMoment(LookupError):
    """What was asked for is not there; the text says why."""


class Moment(NamedTuple):
    """What is kept of a step.

    Attributes:
        step: In words.
        memory: The snapshot.
        modules: What `Modules` had to save.
        user: Pages of the process.
        aliases: Pages shown at other addresses.
        registers: By name; None while no guest code is in the middle of something.
        callers: Return addresses in words, innermost first.
        task: Which.
        time_ns: Virtual time since boot.
    """

    step: Step
    memory: MemorySnapshot
    modules: Any
    user: dict[int, tuple[int, int]]
    aliases: dict[int, int]
    registers: dict[str, int] | None
    callers: list[str]
    task: str
    time_ns: int


class Moments:
    """A listener to one run. Steps count from 1, as the page does; 0 is the machine before the run.

    Args:
        kernel: Before the run; afterwards nobody else may use it.
    """

    def __init__(self, kernel: Kernel) -> None:
        self._kernel = kernel
        self._moments: list[Moment] = []
        self._before = kernel.snapshots.take()
        self._stop = kernel.events.listen(self._event)
        self.step = lru_cache(_CACHED)(self._step)
        self.memory = lru_cache(_CACHED)(self._memory)

    def __len__(self) -> int:
        """How many steps are kept."""
        return len(self._moments)

    def finish(self) -> None:
        """The run is over."""
        self._stop()

    def _event(self, event: Event) -> None:
        step = describe(event)
        if step is None or len(self) >= MAX_STEPS:
            return
        kernel = self._kernel
        memory, task = kernel.memory, kernel.sched.current
        running = kernel.sched.in_guest or event.name in _STOPPED
        self._moments.append(
            Moment(
                step,
                kernel.snapshots.take(),
                kernel[Modules].save(),
                dict(memory.user.pages) if memory.user else {},
                dict(memory.aliases),
                kernel.cpu.registers() if running else None,
                [frame.text(kernel).strip() for frame in call_trace(kernel, task) if frame.reliable],
                f"{task.comm} ({task.pid})",
                kernel.clock.now_ns,
            )
        )

    # --- looking ------------------------------------------------------------------------------------

    def _go(self, number: int) -> Moment:
        """Make the machine what it was at a step.

        Raises:
            NoMoment: There is no such step.
        """
        if not 1 <= number <= len(self):
            raise NoMoment(f"there is no step {number}: steps 1 to {len(self)} are kept")
        moment, kernel = self._moments[number - 1], self._kernel
        kernel.snapshots.restore(moment.memory)
        kernel[Modules].load(moment.modules)
        kernel.memory.aliases = dict(moment.aliases)
        kernel.memory.user = AddressSpace()
        kernel.memory.user.pages = dict(moment.user)
        return moment

    def _step(self, number: int) -> dict[str, Any]:
        """What there is to say about the machine at a step, besides its memory.

        Raises:
            NoMoment: There is no such step.
        """
        moment, kernel = self._go(number), self._kernel
        changes = list(self._changes(moment.memory))
        return {
            "step": number,
            "title": moment.step.title,
            "name": moment.step.name,
            "detail": moment.step.detail,
            "task": moment.task,
            "time": f"{moment.time_ns / 1e9:.6f}",
            "callers": moment.callers,
            "registers": [
                {"name": name, "value": f"{value:#x}", "meaning": self._name(value)}
                for name, value in (moment.registers or {}).items()
            ],
            "modules": [
                {
                    "name": module.name,
                    "address": f"{module.address:#x}",
                    "size": module.size,
                    "refcnt": module.refcnt,
                    "state": STATE_NAMES.get(module.state, "Unformed"),
                    "used_by": [user.name for user in module.users],
                }
                for module in kernel[Modules]
            ],
            "changes": [
                {"address": f"{start:#x}", "size": size, "meaning": self._name(start)}
                for start, size in changes[:_MAX_CHANGES]
            ],
            "more_changes": max(len(changes) - _MAX_CHANGES, 0),
        }

    def _changes(self, snapshot: MemorySnapshot) -> Iterator[tuple[int, int]]:
        """(address, size) of the pieces of kernel memory that differ from what they were at the step before.

        Pieces are whole words; memory that is not mapped any more counts as nothing.
        """
        run: tuple[int, int] | None = None
        for (number, index), before in sorted(snapshot.pages.before.items()):
            arena = self._kernel.memory.arenas[number]
            if not arena.perms[index]:
                continue
            now, base = arena.page(index), arena.base + (index << PAGE_SHIFT)
            for offset in range(0, PAGE_SIZE, WORD) if now != before else ():
                if now[offset : offset + WORD] == before[offset : offset + WORD]:
                    continue
                if run and sum(run) == base + offset:
                    run = run[0], run[1] + WORD
                    continue
                if run:
                    yield run
                run = base + offset, WORD
        if run:
            yield run

    def _memory(self, number: int, place: str, size: int) -> dict[str, Any]:
        """Memory at a step, a word a line.

        Args:
            number: The step.
            place: An address or a symbol's name.
            size: Bytes, at most `MAX_SIZE`; what lies behind the end of mapped memory is left out.

        Raises:
            NoMoment: There is no such step, or no such symbol, or nothing is mapped there.
            ValueError: The size is none.
        """
        if not 1 <= size <= MAX_SIZE:
            raise ValueError(f"the size must be between 1 and {MAX_SIZE} bytes")
        moment = self._go(number)
        address = self._address(place)
        start = address & -WORD
        now = self._read(start, address + size)
        if not now:
            raise NoMoment(f"{address:#x} is not mapped at step {number}")
        before = self._before if number == 1 else self._moments[number - 2].memory
        self._kernel.snapshots.restore(before)
        old = self._read(start, start + len(now))
        self._kernel.snapshots.restore(moment.memory)
        return {
            "step": number,
            "address": f"{address:#x}",
            "size": size,
            "lines": [
                {
                    "address": f"{start + at:#x}",
                    "name": self._name(start + at),
                    "bytes": now[at : at + WORD].hex(" ").split(),
                    "text": "".join(chr(c) if 32 <= c < 127 else "." for c in now[at : at + WORD]),
                    "changed": [
                        at + i >= len(old) or old[at + i] != now[at + i]
                        for i in range(len(now[at : at + WORD]))
                    ],
                    "meaning": self._name(int.from_bytes(now[at : at + WORD], "little")),
                }
                for at in range(0, len(now), WORD)
            ],
        }

    def _address(self, place: str) -> int:
        try:
            address = int(place, 0) if len(place) <= _LONGEST_NAME else -1
        except ValueError:
            address = self._kernel.lookup_name(place)
            if not address:
                raise NoMoment("there is no symbol of that name at this step") from None
        if not 0 <= address < _ADDRESSES:
            raise ValueError("an address is a number below 2 to the 64th, or a symbol's name")
        return address

    def _read(self, start: int, end: int) -> bytes:
        """What is mapped from `start` on, whole words, at most to `end`."""
        pieces = []
        while start < end:
            stop = min((start | PAGE_SIZE - 1) + 1, -(-end // WORD) * WORD)
            try:
                pieces.append(self._kernel.memory.read(start, stop - start))
            except (PageFault, LookupError):
                break
            start = stop
        return b"".join(pieces)

    def _name(self, address: int) -> str:
        """A kernel address in words: its symbol, or a module's section; "" for others."""
        if address < 1 << 63:
            return ""
        location = self._kernel.locate(address)
        if location is not None:
            return str(location)
        for module in self._kernel[Modules]:
            for name, start, size in module.sections:
                if start <= address < start + size:
                    return f"{name}+{address - start:#x} [{module.name}]"
        return ""

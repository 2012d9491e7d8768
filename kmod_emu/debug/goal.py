"""What a debugged run is asked to do, and what it meets on the way."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Callable

    from kmod_emu.debug.place import Place
    from kmod_emu.debug.watching import Change
    from kmod_emu.kernel.tasks import Task


class Event(NamedTuple):
    """Something that a debugger may want to stop for.

    Attributes:
        address: Of the instruction that would run next.
        change: What happened to watched bytes, if that is it.
        caught: Kind and detail, if something was caught.
    """

    address: int
    change: Change | None = None
    caught: tuple[str, str] | None = None


class Goal:
    """How far to run, and what to stop for.

    Args:
        judge: Asked at each event whether to stop there; None: events do not matter.
        steps: Pause after so many instructions.
        target: Pause at an exact place, or behind it if it is not there.
        event: Pause at this event of the stretch, whatever the judge says.
        task: Pause when this task runs.
        leave: Pause when this stretch is over.
        counted: Count all instructions, slowly.
        chunk: Count them in chunks: `Timeline.chunks` tells how many are complete.
        again: It is all known: there is no need to look at code that runs long.
    """

    def __init__(
        self,
        judge: Callable[[Event], bool] | None = None,
        *,
        steps: int | None = None,
        target: Place | None = None,
        event: int | None = None,
        task: Task | None = None,
        leave: int | None = None,
        counted: bool = False,
        chunk: int = 0,
        again: bool = False,
    ) -> None:
        self.again = again
        self.judge, self.steps, self.target, self.event = judge, steps, target, event
        self.task, self.leave, self.counted, self.chunk = task, leave, counted, chunk

    @property
    def listens(self) -> bool:
        """Whether events matter."""
        return self.judge is not None or self.event is not None


class Edit(NamedTuple):
    """A change that the user made: at an exact place, what."""

    stretch: int
    steps: int
    change: tuple[Any, ...]  # ("memory", address, hex digits) or ("register", name, value)

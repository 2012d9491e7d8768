"""What a task is made of while it runs, and what it may ask of the scheduler (see sched.py)."""

from __future__ import annotations

import struct
from enum import Enum
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Generator

    Work = Coroutine[Any, Any, Any]

INTERRUPTED = object()  # what `Block` returns when a signal ends it


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


class Activation:
    """One coroutine of a task and where its result goes.

    Attributes:
        work: The coroutine.
        rsp: Guest calls made by the coroutine use the stack below it.
        deliver: Leaves the result where the trap's tail reads it; None for the first of a task.
        rip: Where guest code goes on, for the others.
        stack: Stack pointer of that code: `rsp`, unless something was put on its stack.
        called: The guest function that the coroutine called last.
        confusing: Exceptions that mean that the guest gave it nonsense.
    """

    __slots__ = ("called", "confusing", "deliver", "rip", "rsp", "stack", "work")

    def __init__(
        self,
        work: Work,
        rsp: int,
        deliver: Callable[[Any], None] | None = None,
        confusing: tuple[type[Exception], ...] = (),
    ) -> None:
        self.work, self.rsp, self.deliver, self.rip, self.stack = work, rsp, deliver, 0, rsp
        self.confusing = confusing
        self.called = 0


class Continue(NamedTuple):
    """Guest code goes on behind a trap."""

    rip: int
    rsp: int


class RunInRing3(Protocol):
    """Awaitable: a program runs in ring 3 until it enters the kernel."""

    def run(self) -> Any:
        """What the scheduler does; the result goes to the coroutine."""


class Away(Enum):
    """How guest code gave up the processor without a coroutine that waits."""

    ASLEEP = "until it is woken"
    READY = "others may run first"
    SPINNING = "it waits in a loop for what others do"
    ENDED = "for good"


def to_int(value: int) -> int:
    """RAX of a guest function that returns `int`.

    >>> to_int(0xFFFFFFEA)
    -22
    """
    return int(struct.unpack("<i", struct.pack("<I", value & 0xFFFF_FFFF))[0])


def to_long(value: int) -> int:
    """RAX of a guest function that returns `long` or `ssize_t`.

    >>> to_long(0xFFFF_FFFF_FFFF_FFEA)
    -22
    """
    return value - (1 << 64) if value >> 63 else value

"""What makes a debugged machine stop: breakpoints, watchpoints, catchpoints."""

from __future__ import annotations

from enum import Enum
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Callable

    from kmod_emu.kernel.tasks import Task


class Reason(Enum):
    """Why the machine stopped."""

    STARTED = "at the first instruction of init"
    BREAKPOINT = "breakpoint"
    WATCHPOINT = "watchpoint"
    CATCHPOINT = "catchpoint"
    STEPPED = "step done"
    INTERRUPTED = "interrupted"
    BEGINNING = "the beginning of the recording"
    ENDED = "the work has ended"


class Point:
    """Common to all kinds.

    Attributes:
        number: As `info breakpoints` counts.
        enabled: Whether it stops.
        temporary: It is deleted when it stops.
        hits: How often it stopped, or would have but for `ignore`.
        ignore: How many more hits do not stop.
        condition: Asked at each hit, with the machine stopped there; None: always.
        text: What the user called it, for listings.
    """

    def __init__(self, number: int, text: str, *, temporary: bool = False) -> None:
        self.number, self.text, self.temporary = number, text, temporary
        self.enabled = True
        self.hits = self.ignore = 0
        self.condition: Callable[[], bool] | None = None


class Breakpoint(Point):
    """Stops before the instruction at `address`.

    Attributes:
        task: Only when this task gets there.
        rsp: Only when its stack pointer is at least this: not in a deeper call of the same function.
    """

    def __init__(self, number: int, address: int, text: str = "", *, temporary: bool = False) -> None:
        super().__init__(number, text or f"*{address:#x}", temporary=temporary)
        self.address = address
        self.task: Task | None = None
        self.rsp = 0


class Watchpoint(Point):
    """Stops behind an instruction that touches watched bytes.

    Attributes:
        kind: "change" (a write that changes the value), "write" (any), "read", or "access" (both).
        old: The bytes before.
    """

    KINDS = ("change", "write", "read", "access")

    def __init__(self, number: int, address: int, size: int, kind: str, text: str = "") -> None:
        super().__init__(number, text or f"{kind} *{address:#x}, {size} bytes")
        self.address, self.size, self.kind = address, size, kind
        self.old = b""


class Catchpoint(Point):
    """Stops when something happens.

    Attributes:
        kind: "load" (before a module's init), "oops", "warn", "unimplemented" or "syscall".
        name: Of the module or system call; "" for any.
    """

    KINDS = ("load", "oops", "warn", "unimplemented", "syscall")

    def __init__(self, number: int, kind: str, name: str = "") -> None:
        super().__init__(number, f"catch {kind} {name}".rstrip())
        self.kind, self.name = kind, name


class Stopped(NamedTuple):
    """A stop of the debugged machine.

    Attributes:
        address: The instruction that would run next.
        task: Whose it is.
        points: What was hit.
        old: For a watchpoint: the bytes before.
        new: And after.
        detail: What a catchpoint saw; how the work ended.
    """

    reason: Reason
    address: int
    task: Task
    points: tuple[Point, ...] = ()
    old: bytes = b""
    new: bytes = b""
    detail: str = ""

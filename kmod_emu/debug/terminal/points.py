"""Breakpoints, watchpoints and catchpoints as the user numbers them; each may be several of the machine's."""

from __future__ import annotations

from typing import TYPE_CHECKING

from kmod_emu.debug.c.values import DebugError, Value
from kmod_emu.debug.frames import frames_of
from kmod_emu.debug.names import Names
from kmod_emu.debug.points import Breakpoint, Point

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from kmod_emu.debug.c.types import CType
    from kmod_emu.debug.locations import Location
    from kmod_emu.debug.terminal.session import Session
    from kmod_emu.debug.terminal.watching import Block

__all__ = ["PointTable", "UserPoint"]

_NEAR = 4  # frames that a condition can look at: its own, and for entry values its callers


class UserPoint:
    """One line of `info breakpoints`.

    Attributes:
        kind: "breakpoint", "watchpoint" (by stepping), "hw watchpoint", "read watchpoint",
            "acc watchpoint" or "catchpoint".
        text: The expression that is watched; what is caught.
        spec: Of a breakpoint: the location as the user gave it.
        places: Of a breakpoint: where it is; empty while it waits for a module.
        points: The machine's points, as long as it is enabled.
        condition: C, "" for always.
        commands: What is done at each stop.
        type: Of what is watched.
        block: Where it is valid, if it has locals.
    """

    def __init__(self, number: int, kind: str, text: str = "", *, temporary: bool = False) -> None:
        self.number, self.kind, self.text, self.temporary = number, kind, text, temporary
        self.spec = self.condition = ""
        self.places: list[Location] = []
        self.points: list[Point] = []
        self.commands: list[str] = []
        self.enabled = True
        self.hits = self.ignore = 0
        self.type: CType | None = None
        self.block: Block | None = None
        self.address = 0

    @property
    def pending(self) -> bool:
        """Whether it waits for a module that has such a place."""
        return self.kind == "breakpoint" and not self.places


class PointTable:
    """All points of a session."""

    def __init__(self, session: Session) -> None:
        self._session = session
        self._last = 0
        self.by_number: dict[int, UserPoint] = {}

    def new(self, kind: str, text: str = "", *, temporary: bool = False) -> UserPoint:
        """A point with the next number; nothing stops for it yet."""
        self._last += 1
        point = UserPoint(self._last, kind, text, temporary=temporary)
        self.by_number[point.number] = point
        return point

    def find(self, number: str) -> UserPoint:
        """A point by its number; DebugError if there is none."""
        if not number.isdigit():
            raise DebugError(f"Bad breakpoint argument: '{number}'")
        point = self.by_number.get(int(number))
        if point is None:
            raise DebugError(f"No breakpoint number {number}.")
        return point

    def numbers(self, text: str) -> list[UserPoint]:
        """Points by their numbers and ranges, `1 3-5`."""
        found = []
        for word in text.replace(",", " ").split():
            first, dash, last = word.partition("-")
            if dash and first.isdigit() and last.isdigit():
                found += [self.find(str(number)) for number in range(int(first), int(last) + 1)]
            else:
                found.append(self.find(word))
        return found

    def owner(self, point: Point) -> UserPoint | None:
        """Whose a point of the machine is."""
        return next((user for user in self.by_number.values() if point in user.points), None)

    # --- arming ---------------------------------------------------------------------------------------

    def place(self, point: UserPoint, places: list[Location]) -> None:
        """Say where a breakpoint is."""
        point.places = places
        self._arm(
            point,
            [
                self._session.debugger.break_at(place.address, point.spec)
                for place in places
                if place.address is not None
            ],
        )

    def watch(self, point: UserPoint, value: Value) -> None:
        """Say what a watchpoint watches."""
        kinds = {"hw watchpoint": "change", "read watchpoint": "read", "acc watchpoint": "access"}
        assert value.address is not None
        address, size = value.address, value.type.size
        point.type, point.address = value.type, address
        watched = self._session.debugger.watch(address, size, kinds[point.kind], point.text)
        self._arm(point, [watched])
        if point.block is not None:
            left = self._session.debugger.break_at(point.block.return_address, f"end of {point.text}")
            left.rsp = point.block.cfa
            left.task = self._session.debugger.task
            left.enabled = point.enabled
            point.points.append(left)

    def catch(self, point: UserPoint, kind: str, name: str) -> None:
        """Say what a catchpoint catches."""
        self._arm(point, [self._session.debugger.catch(kind, name)])

    def _arm(self, user: UserPoint, points: Iterable[Point]) -> None:
        for point in points:
            point.condition = self._condition(user, point)
            point.enabled = user.enabled
            user.points.append(point)

    def enable(self, user: UserPoint, on: bool) -> None:
        """Let a point stop, or not."""
        user.enabled = on
        for point in user.points:
            point.enabled = on

    def delete(self, user: UserPoint) -> None:
        """Remove a point."""
        for point in user.points:
            self._session.debugger.delete(point)
        self.by_number.pop(user.number, None)

    def set_condition(self, user: UserPoint, text: str) -> None:
        """Say when a point stops; "" for always."""
        user.condition = text

    def _condition(self, user: UserPoint, point: Point) -> Callable[[], bool]:
        """Asked by the machine at each hit: counts it, and says whether to stop."""
        return lambda: self.holds(user, point)

    def holds(self, user: UserPoint, point: Point | None = None) -> bool:
        """Whether a hit stops: the condition holds, and it is not to be ignored. Counts it."""
        if user.condition and not self._true(user, point):
            return False
        if not self._session.backwards:
            user.hits += 1
            if user.ignore:
                user.ignore -= 1
                return False
        return True

    def _true(self, user: UserPoint, point: Point | None) -> bool:
        """Whether a condition holds where the machine is; an error stops too, as in gdb."""
        session = self._session
        names = Names(session.program)
        names.convenience, names.history = session.names.convenience, session.names.history
        try:
            registers = session.debugger.registers()
            if isinstance(point, Breakpoint):
                registers["rip"] = point.address
            frames = frames_of(session.program, session.debugger.task, registers, limit=_NEAR)
            names.frame = frames[0]
            return bool(names.evaluate(user.condition).number())
        except DebugError as error:
            session.write(f"Error in testing condition for breakpoint {user.number}:\n{error}")
            return True

    def settle(self) -> None:
        """After a module came: breakpoints that waited for it may have their places now."""
        for user in self.by_number.values():
            if user.pending:
                try:
                    self.place(user, self._session.locator.find(user.spec))
                except DebugError:
                    continue

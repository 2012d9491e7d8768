"""Stepping by source lines, over and into calls, forwards and backwards."""

from __future__ import annotations

from typing import TYPE_CHECKING

from kmod_emu.debug.dwarf.dies import covers
from kmod_emu.debug.frames import call_line, frames_of
from kmod_emu.debug.points import Reason

if TYPE_CHECKING:
    from collections.abc import Sequence

    from kmod_emu.debug.c.types import CType
    from kmod_emu.debug.debugger import Debugger
    from kmod_emu.debug.dwarf.info import FunctionScope
    from kmod_emu.debug.dwarf.lines import LineRange
    from kmod_emu.debug.frames import Frame
    from kmod_emu.debug.points import Stopped
    from kmod_emu.debug.program import Program

__all__ = ["Stepper"]

_THUNKS = ("__x86_indirect_thunk_", "__x86_return_thunk")  # code that only jumps on
_LONGEST_THUNK = 16


class Stepper:
    """One movement from where the machine stopped.

    Args:
        debugger: The machine.
        program: Its names and lines.
        frames: The frames now.

    Attributes:
        reveal: How many inlined functions that begin at the end of the movement it has entered.
    """

    def __init__(self, debugger: Debugger, program: Program, frames: Sequence[Frame]) -> None:
        self._debugger, self._program, self._frames = debugger, program, frames
        frame = frames[0]
        self._frame = frame
        self._cfa = frame.physical.cfa
        self._line = frame.line
        self._range = (frame.line.start, frame.line.end) if frame.line is not None else (0, 0)
        self._origin = frame.scope.die.offset if frame.scope is not None else -1
        self._left = False  # the function that it began in has returned
        self._entered = False  # a call has led to a function with lines
        self.reveal = 0

    def stays_in(self, frame: Frame) -> bool:
        """Whether the movement ended in the frame that it was in when it last looked."""
        if frame.scope is None or self._frame.scope is None or frame.physical.scope is None:
            return False
        function = self._frame.physical.scope
        same = function is not None and function.die.offset == frame.physical.scope.die.offset
        here = frame.scope.die.offset, frame.physical.cfa
        return same and here == (self._origin, self._cfa) and frame.info is self._frame.info

    # --- by instruction -------------------------------------------------------------------------------

    def stepi(self) -> Stopped:
        """One instruction."""
        return self._debugger.stepi()

    def nexti(self) -> Stopped:
        """One instruction, a call as a whole."""
        return self._debugger.nexti()

    def reverse_stepi(self) -> Stopped:
        """Undo one instruction."""
        return self._debugger.reverse_stepi()

    def reverse_nexti(self) -> Stopped:
        """Undo one instruction, a call as a whole."""
        return self._debugger.reverse_nexti()

    # --- by line --------------------------------------------------------------------------------------

    def step(self) -> Stopped:
        """To another line, also one of a function that is called."""
        return self._to_line(into=True)

    def next(self) -> Stopped:
        """To another line of this function or its caller."""
        return self._to_line(into=False)

    def until(self) -> Stopped:
        """As `next`, but not back to an earlier one."""
        if self._frame.scope is not None:
            self._range = (
                self._frame.physical.scope.entry if self._frame.physical.scope else 0,
                self._range[1],
            )
        return self._to_line(into=False)

    def _to_line(self, *, into: bool) -> Stopped:
        if self._line is None:
            return self._out_of_unknown()
        while True:
            stop = self._over(into=into)
            if stop.reason is not Reason.STEPPED or self._debugger.ended:
                return stop
            if stop.address == self._debugger.kernel.traps.return_address:
                return stop
            if self._arrived(stop.address, into=into):
                return stop

    def _over(self, *, into: bool) -> Stopped:
        """One instruction; a call as a whole unless it leads to lines."""
        debugger = self._debugger
        size, mnemonic = debugger.instruction()
        if not mnemonic.startswith("call"):
            return self._plain(mnemonic)
        here, rsp = debugger.stop.address, debugger.registers()["rsp"]
        if not into:
            return debugger.run_to(here + size, rsp)
        stop = debugger.stepi()
        for _ in range(_LONGEST_THUNK):
            if stop.reason is not Reason.STEPPED or not self._in_thunk(stop.address):
                break
            stop = debugger.stepi()
        if stop.reason is Reason.STEPPED and self._program.line_at(stop.address) is None:
            return debugger.run_to(here + size, rsp)
        self._entered = True
        return stop

    def _plain(self, mnemonic: str) -> Stopped:
        """Any other instruction; a jump to another function without lines is followed to its return."""
        debugger = self._debugger
        if mnemonic.startswith("rep"):
            return debugger.nexti()
        cfa = self._cfa
        stop = debugger.stepi()
        if stop.reason is not Reason.STEPPED:
            return stop
        rsp = debugger.registers()["rsp"]
        if cfa is not None and rsp >= cfa:
            self._left, self._cfa = True, None
        elif mnemonic.startswith("j") and self._program.line_at(stop.address) is None and cfa is not None:
            if self._in_thunk(stop.address):
                return stop
            return debugger.run_to(debugger.kernel.memory.read_u64(cfa - 8), cfa)
        return stop

    def _arrived(self, pc: int, *, into: bool) -> bool:
        """Whether this is where a step ends, as gdb decides it: at a statement of another line."""
        if self._entered:
            return True
        changed, self._left = self._left, False
        beginning, scopes = self._program.beginning(pc), self._program.scopes(pc)
        shown = scopes[len(beginning) :]
        current = shown[0].die.offset if shown else -1
        same = not changed and current == self._origin
        if same and self._range[0] <= pc < self._range[1]:
            return False
        if same and beginning:
            return self._at_inlined_call(pc, beginning, into=into)
        around = [scope.die.offset for scope in shown[1:]]
        if not changed and shown and shown[0].is_inlined and self._origin in around:
            return into  # in the middle of an inlined function
        line = self._program.line_at(pc)
        if line is None:
            return True
        if pc == line.start and not _same_line(line, self._line):
            if line.is_statement:
                return True
            if same:
                return False
        self._line, self._range, self._origin = line, (line.start, line.end), current
        if changed:
            self._cfa = self._current_cfa()
        return False

    def _at_inlined_call(self, pc: int, beginning: Sequence[FunctionScope], *, into: bool) -> bool:
        """An inlined function begins here: `step` stops at its call, or enters from the same line."""
        info, line = self._program.info_at(pc), self._program.line_at(pc)
        for scope in beginning:
            line = call_line(info, scope, line)
        same = line is not None and _same_line(line, self._line)
        if into and same:
            self.reveal = 1
        return into or not same

    def _current_cfa(self) -> int | None:
        debugger = self._debugger
        frames = frames_of(self._program, debugger.task, debugger.registers(), limit=1)
        return frames[0].physical.cfa if frames else None

    def _in_thunk(self, address: int) -> bool:
        found = self._program.locate(address)
        return found is not None and found[0].startswith(_THUNKS)

    def _out_of_unknown(self) -> Stopped:
        """Code without lines: run until it returns; from where Python is entered, to the next stop."""
        if self._frame.pc == self._debugger.kernel.traps.return_address:
            return self._debugger.continue_()
        if self._cfa is None:
            return self._debugger.stepi()
        return self._debugger.run_to(self._debugger.kernel.memory.read_u64(self._cfa - 8), self._cfa)

    # --- out of functions -----------------------------------------------------------------------------

    def returns(self, frame: Frame) -> CType | None:
        """What the function of a frame returns; None for nothing, or if nobody knows."""
        from kmod_emu.debug.c.types import Function, Void

        if frame.scope is None or frame.info is None or frame.is_inlined:
            return None
        kind = frame.info.types.read(frame.scope.die)
        if not isinstance(kind, Function) or isinstance(kind.returns.bare, Void):
            return None
        return kind.returns

    def finish(self, frame: Frame) -> Stopped:
        """Until the function of a frame has returned.

        Raises:
            LookupError: Nobody knows where to.
        """
        if frame.is_inlined and frame.scope is not None:
            ranges = frame.scope.ranges
            while True:
                stop = self._over(into=False)
                if stop.reason is not Reason.STEPPED or not covers(ranges, stop.address):
                    return stop
        cfa = frame.physical.cfa
        if cfa is None:
            raise LookupError("nobody knows who called it")
        return self._debugger.run_to(self._debugger.kernel.memory.read_u64(cfa - 8), cfa)

    def advance(self, addresses: Sequence[int]) -> Stopped:
        """To the first of some places, or until the current function has returned."""
        debugger, cfa = self._debugger, self._cfa
        points = [debugger.break_at(address, temporary=True) for address in addresses]
        try:
            if cfa is None:
                stop = debugger.continue_()
            else:
                stop = debugger.run_to(debugger.kernel.memory.read_u64(cfa - 8), cfa)
        finally:
            for point in points:
                debugger.delete(point)
        if stop.points and all(point in points for point in stop.points):
            return stop._replace(reason=Reason.STEPPED, points=())
        return stop

    # --- backwards ------------------------------------------------------------------------------------

    def reverse_step(self) -> Stopped:
        """To the beginning of this line, or of the one before, also in a function that was called."""
        return self._back(into=True)

    def reverse_next(self) -> Stopped:
        """As `reverse_step`, calls as a whole."""
        return self._back(into=False)

    def _back(self, *, into: bool) -> Stopped:
        """Back to where a line begins: the current one, or if that is here, the one that ran before."""
        target = self._line
        if target is None:
            return self._debugger.reverse_nexti()
        entry = self._debugger.place if self._frame.pc != target.start else None
        while True:
            stop = self._back_one(into=into)
            if stop.reason is not Reason.STEPPED:
                return stop
            line = self._program.line_at(stop.address)
            same = line is not None and _same_line(line, target)
            if line is not None and entry is None and not same and line.is_statement:
                target, same = line, True
                entry = self._debugger.place
            elif entry is not None and same:
                entry = self._debugger.place if line is not None and line.is_statement else entry
            elif entry is not None and line is not None and line.is_statement:
                return self._debugger.go(entry)  # one too far: that is where the line was entered

    def _back_one(self, *, into: bool) -> Stopped:
        if not into:
            return self._debugger.reverse_nexti()
        before = self._debugger.place
        stop = self._debugger.reverse_stepi()
        if stop.reason is Reason.STEPPED and self._program.line_at(stop.address) is None:
            self._debugger.go(before)
            return self._debugger.reverse_nexti()
        return stop


def _same_line(one: LineRange, other: LineRange | None) -> bool:
    return other is not None and (one.file, one.line) == (other.file, other.line)

"""A debugging session: a stopped machine, the frame that is looked at, and what commands remember."""

from __future__ import annotations

import os
from collections import deque
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from kmod_emu.debug.c.types import POINTER_SIZE, Function
from kmod_emu.debug.c.values import DebugError, Value
from kmod_emu.debug.calling import call_guest
from kmod_emu.debug.examine import Examiner
from kmod_emu.debug.frames import Frame, frames_of
from kmod_emu.debug.locations import Locator
from kmod_emu.debug.names import Names
from kmod_emu.debug.program import Program
from kmod_emu.debug.source import Sources
from kmod_emu.debug.terminal.commands import commands
from kmod_emu.debug.terminal.points import PointTable
from kmod_emu.debug.terminal.stops import report
from kmod_emu.debug.terminal.table import split_name
from kmod_emu.machine.memory import PageFault
from kmod_emu.text import tame

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from kmod_emu.debug.c.types import CType
    from kmod_emu.debug.debugger import Debugger
    from kmod_emu.kernel.tasks import Task

__all__ = ["Quit", "Session"]


class Quit(Exception):
    """The user has had enough."""


class _Edited:
    """Guest memory; changes are told to the debugger, which keeps them when it goes back and forth."""

    def __init__(self, debugger: Debugger) -> None:
        self._debugger = debugger

    def read(self, address: int, size: int, /) -> bytes:
        return self._debugger.kernel.memory.read(address, size)

    def write(self, address: int, data: bytes, /) -> None:
        self._debugger.write(address, bytes(data))


def _no_line() -> str:
    raise EOFError


@contextmanager
def refusals() -> Iterator[None]:
    """What goes wrong while a command runs is a refusal: a session outlives it.

    Raises:
        DebugError: Instead of anything else.
    """
    try:
        yield
    except PageFault as fault:
        raise DebugError(f"Cannot access memory at address {fault.address:#x}") from None
    except (DebugError, Quit, EOFError):
        raise
    except Exception as error:
        if os.environ.get("KMOD_EMU_DEBUG"):
            raise
        if isinstance(error, LookupError) and error.args:
            raise DebugError(str(error.args[0])) from None
        text = f"{type(error).__name__}: {error}"
        raise DebugError(f"internal error: {text}; please report it (KMOD_EMU_DEBUG=1 shows more)") from None


class Session:
    """One user's view of a machine.

    Args:
        debugger: The machine.
        write: Prints a line.
        module: Path of the module.
        params: Its parameters.
        then: Lines for the machine's shell, to be done while the module is loaded.
        options: More, for `Debugger.start`.

    Attributes:
        frames: The current task's, innermost first; empty if nothing runs.
        selected: Which frame is looked at.
        listed: File and first and last line that `list` showed last.
        settings: What `set` changes.
        redraw: Told after every stop and change of frame: draws panels.
        ask_user: Asks a question on the terminal; None where nobody can answer.
        read_line: Gets one more line for `commands`; raises EOFError.
        from_terminal: Commands come from somebody who reads the answers.
        backwards: It goes back: hits do not count.
        prefix: Printed before the next line, in the same one.
        task: Which is looked at.
        told_missing: Source files that were said not to be there.
        told_pid: Of the task that the latest stop was told of.
        title: What is debugged, in messages.
    """

    def __init__(
        self,
        debugger: Debugger,
        write: Callable[[str], None],
        module: Path | str,
        params: str = "",
        then: Sequence[str] = (),
        **options: Any,
    ) -> None:
        self.debugger, self._write = debugger, write
        self._module, self._params, self._options = Path(module), params, options
        self._shell_lines = tuple(then)
        self._output: list[bytes] = []
        self._shown = 0
        self.title = self._module.stem
        self.program = Program(debugger.kernel)
        self.program.memory = _Edited(debugger)
        self.names = Names(self.program)
        self.names.call_guest = self._call
        self.locator = Locator(self.program, self.names)
        self.examiner = Examiner(self.program.memory, self.names.printer)
        self.sources = Sources(debugger.kernel.profile.release, self._module.resolve().parent)
        self.points = PointTable(self)
        self.displays: dict[int, tuple[str, str]] = {}
        self.listed: tuple[str, int, int] | None = None
        self.settings: dict[str, Any] = {
            "listsize": 10,
            "confirm": True,
            "pagination": True,
            "pending": False,
        }
        self.from_terminal = self.backwards = False
        self.redraw: Callable[[], None] = lambda: None
        self.ask_user: Callable[[str], str] | None = None
        self.prefix = ""
        self.told_missing: set[str] = set()
        self.told_pid: int | None = None
        self.selected = 0
        self.task: Task | None = None
        self._frames: list[Frame] | None = None
        self._reveal = 0
        self._lines: deque[str] = deque()
        self.read_line: Callable[[], str] = _no_line
        self._logged = 0
        self._last_line = self._partial = ""

    # --- starting -------------------------------------------------------------------------------------

    def start(self) -> None:
        """Load the module, up to the first instruction of its init; OSError if the file cannot be read."""
        self._logged = len(self.debugger.kernel.dmesg())
        self._output, self._shown, self.told_pid = [], 0, None
        options = self._options | ({"then": self._use} if self._shell_lines else {})
        stop = self.debugger.start(self._module, self._params, **options)
        self.moved()
        report(self, stop)

    def _use(self) -> None:
        """What happens between the load and the removal; done again whenever the run goes back."""
        self._output.clear()
        for line in self._shell_lines:
            result = self.debugger.kernel.exec("/bin/sh", ["-c", line])
            self._output.append(result.stdout + result.stderr)

    def restart(self, params: str) -> None:
        """The same again, from the machine as it was before."""
        self._params = params or self._params
        self.debugger.close()
        self.start()

    def started(self) -> None:
        """DebugError if nothing was started, or it was killed."""
        try:
            _ = self.debugger.timeline
        except RuntimeError:
            raise DebugError("The program is not being run.") from None

    # --- frames ---------------------------------------------------------------------------------------

    @property
    def frames(self) -> list[Frame]:
        """The frames where the machine stopped."""
        if self._frames is None:
            self._frames = []
            if not self.debugger.ended and self.task is not None:
                self._frames = self.frames_of(self.task)
        return self._frames

    def frames_of(self, task: Task) -> list[Frame]:
        """The frames of any task; none if it runs in Python only."""
        registers = self.debugger.registers(task)
        if registers["rip"] == self.debugger.kernel.traps.return_address and task is not self.debugger.task:
            return []
        frames = frames_of(self.program, task, registers, reveal=self._reveal)
        if task is self.debugger.task:
            for frame in frames:
                if not frame.called:
                    frame.store = self._set_register
        return frames

    def _stopped_in(self) -> int:
        """Of inlined functions that begin here, how many a breakpoint stopped in."""
        stop = self.debugger.stop
        owners = [self.points.owner(point) for point in stop.points]
        places = [place for owner in owners if owner is not None for place in owner.places]
        wanted = {place.function for place in places if place.address == stop.address}
        beginning = self.program.beginning(stop.address) if wanted else []
        return next((len(beginning) - i for i, scope in enumerate(beginning) if scope.name in wanted), 0)

    def enter_inlined(self) -> bool:
        """Enter an inlined function that begins here, if there is one that is not entered yet."""
        pc = self.running().pc
        if self.frames[0].called or len(self.program.beginning(pc)) <= self._reveal:
            return False
        self.moved(self._reveal + 1)
        return True

    def look_at(self, task: Task) -> None:
        """Look at another task."""
        self.task, self._frames, self.selected = task, None, 0
        self.names.frame = None
        if self.frames:
            self.select(0)

    @property
    def frame(self) -> Frame:
        """The frame that is looked at; DebugError if nothing runs."""
        if not self.frames:
            raise DebugError("No frame selected.")
        return self.frames[self.selected]

    @property
    def pc(self) -> int | None:
        """The instruction that would run next in the selected frame."""
        return self.frames[self.selected].pc if self.frames else None

    def running(self) -> Frame:
        """The innermost frame; DebugError if nothing runs."""
        if not self.frames:
            raise DebugError("The program is not being run.")
        return self.frames[0]

    def select(self, level: int) -> None:
        """Look at another frame."""
        self.selected = level
        frame = self.frames[level]
        self.names.frame = frame
        if frame.line is not None:
            self.locator.default = frame.line.file, frame.line.line
            self.listed = None

    def moved(self, reveal: int | None = None) -> None:
        """The machine ran, or was changed: what was known of its frames is not true any more.

        Args:
            reveal: How many inlined functions that begin here have been entered.
        """
        self._reveal = self._stopped_in() if reveal is None else reveal
        self.look_at(self.debugger.task)

    def memory_of(self, text: str) -> tuple[int, int]:
        """Address and size of what an expression names; a number, or a pointer, is an address itself."""
        value = self.names.evaluate(text)
        if value.address is not None and not isinstance(value.bare, Function):
            return value.address, max(value.type.size, 1)
        return value.integer() & (1 << 64) - 1, POINTER_SIZE

    def returned(self, kind: CType) -> None:
        """After `finish`: print what was returned."""
        raw = self.frames[0].registers["rax"].to_bytes(8, "little")[: kind.size]
        value = Value(kind, raw.ljust(kind.size, b"\0"), memory=self.names.memory)
        self.write(f"Value returned is ${self.names.record(value)} = {self.names.printer.show(value)}")

    def tell_log(self) -> None:
        """Print the kernel log's new lines, as a program's output comes."""
        lines = self.debugger.kernel.dmesg()
        for line in lines[self._logged :]:
            self.write(tame(line))
        self._logged = len(lines)
        for text in self._output[self._shown :]:
            for line in text.decode("utf-8", "backslashreplace").splitlines():
                self.write(tame(line))
        self._shown = max(self._shown, len(self._output))

    def _call(self, function: int, arguments: list[int | bytes]) -> int:
        level = self.selected
        try:
            return call_guest(self.debugger, function, arguments)
        finally:
            self.tell_log()
            self.moved()
            if level < len(self.frames):
                self.select(level)

    def _set_register(self, name: str, value: int) -> None:
        self.debugger.set_register(name, value)
        level = self.selected
        self.moved()
        if level < len(self.frames):
            self.select(level)

    # --- commands -------------------------------------------------------------------------------------

    def execute(self, line: str) -> None:
        """Do one line.

        Raises:
            DebugError: It is refused.
            Quit: The session is over.
        """
        line = line.strip()
        if not line or line.startswith("#"):
            return
        word, rest = split_name(line)
        command = commands.find(word)
        self._last_line = line if command.repeats else ""
        with refusals():
            command.run(self, rest)

    def repeat(self) -> None:
        """Do what an empty line means: the last line again, where that makes sense."""
        line = self._last_line
        if not line:
            return
        word, _ = split_name(line)
        if commands.find(word).name in ("list", "x"):
            line = word  # goes on behind what it showed
        self.execute(line)
        self._last_line = line

    def queue(self, line: str) -> None:
        """Do a line when the command that runs is done."""
        self._lines.append(line)

    def run_queue(self) -> None:
        """Do the lines that commands have put off."""
        while self._lines:
            self.execute(self._lines.popleft())

    def block(self) -> list[str]:
        """The lines up to `end`, for `commands`."""
        lines: list[str] = []
        while True:
            try:
                line = self._lines.popleft() if self._lines else self.read_line()
            except EOFError:
                return lines
            if line.strip() == "end":
                return lines
            lines.append(line.strip())

    def ask(self, question: str, *, default: bool) -> bool:
        """A question; where nobody can answer, the default is taken and told."""
        if self.ask_user is not None and self.settings["confirm"]:
            return self.ask_user(question).strip().lower().startswith("y")
        letter = "Y" if default else "N"
        if self.settings["confirm"]:
            self.write(f"{question}[answered {letter}; input not from terminal]")
        return default

    def write(self, text: str) -> None:
        """Print a line."""
        if self.prefix and text:
            text, self.prefix = self.prefix + text, ""
        self._write(text)

    def put(self, text: str) -> None:
        """Print text that may end in the middle of a line."""
        self._partial += text
        if "\n" in self._partial:
            whole, _, self._partial = self._partial.rpartition("\n")
            self.write(whole)

    def flush(self) -> None:
        """Print what `put` keeps back."""
        if self._partial:
            partial, self._partial = self._partial, ""
            self.write(partial)

    def complain(self, error: DebugError) -> None:
        """Print why a command was refused."""
        self.write(str(error))

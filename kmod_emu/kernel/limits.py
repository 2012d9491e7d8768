"""What modules may use of a machine, and what comes of using more.

Limits are on what grows: a machine does not let go of the host whatever runs on it. Each breach is reported
once, as a sentence that names who, what and the option that gives more; what the module gets is what Linux
gives when the same runs out.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, NamedTuple

from kmod_emu.kernel.clock import BOOT_NS, NSEC_PER_SEC

if TYPE_CHECKING:
    from kmod_emu.kernel.kernel import KernelCore
    from kmod_emu.kernel.tasks import Task

_UNITS = {"": 1, "K": 1 << 10, "M": 1 << 20, "G": 1 << 30}
KIND = "limit"  # of the reports
RESERVE = 1 << 20  # bytes of each kind that modules do not get
_OBJECTS = 1 << 19  # entries of a table of Python's: each takes of the host, however small it is in the guest


def size(text: str | int) -> int:
    """A number as people write it, with K, M or G for powers of 1024.

    >>> size("64M"), size(4096)
    (67108864, 4096)

    Raises:
        ValueError: It is none.
    """
    text = str(text).strip().upper().removesuffix("B")
    number, unit = (text[:-1], text[-1:]) if text[-1:] in _UNITS else (text, "")
    if not number.isdigit():
        raise ValueError(f"{text!r} is no size, such as 64M")
    return int(number) * _UNITS[unit]


class Limits(NamedTuple):
    """What a machine may use; None is no limit.

    Attributes:
        time: Processor seconds that kernel code may run without sleeping, and that a system call may take.
            Where it ends depends on the host; it costs nothing.
        instructions: Of guest code without sleeping, in chunks. It ends alike everywhere, and makes code five
            times slower.
        virtual: Seconds after boot at which the machine's time ends: what waits longer waits for ever.
        memory: Bytes that are handed out, as pages, by vmalloc() and for modules, beyond what booting took.
            The machine has no more than 128, 128 and 192 MiB of them.
        dmesg: Bytes that one system call prints to the log, with 64 for each message; it loses further ones.
        files: Open files of all processes: ENFILE.
        tasks: Threads and processes: EAGAIN.

    >>> limits = Limits.parse("memory=64M,instructions=100K,time=none")
    >>> limits.memory, limits.instructions, limits.time
    (67108864, 102400, None)
    """

    time: float | None = 20.0
    instructions: int | None = None
    virtual: float | None = 3.2e9  # a hundred years
    memory: int | None = None
    dmesg: int | None = 16 << 20
    files: int | None = 8192
    tasks: int | None = 1024  # as Linux allows with this memory

    @classmethod
    def parse(cls, text: str) -> Limits:
        """The defaults but for what `NAME=VALUE,...` says; a value of "none" is no limit.

        Raises:
            ValueError: There is no such limit, or that is no value.
        """
        given: dict[str, Any] = {}
        for word in text.split(","):
            name, equals, value = word.strip().partition("=")
            if name not in cls._fields or not equals:
                raise ValueError(f"{word!r} is not one of {', '.join(cls._fields)} with =VALUE")
            if value == "none":
                given[name] = None
            elif name in ("time", "virtual"):
                given[name] = _seconds(value)
            else:
                given[name] = size(value)
        return cls()._replace(**given)


def _seconds(text: str) -> float:
    value = float(text)
    if not 0 < value < 1e12:  # nan is not
        raise ValueError(f"{text!r} is no number of seconds")
    return value


class Usage:
    """What a machine has used of its limits.

    Attributes:
        end_ns: When virtual time ends.
        instructions: The limit of that name; a debugger takes it away, as that of the watchdog.
    """

    def __init__(self, kernel: KernelCore) -> None:
        self._kernel = kernel
        self._memory = self._printed = 0
        self._told: set[str] = set()
        self.emergency = False  # reserves may be used: what is done makes room
        self._limits = Limits(None, None, None, None, None, None, None)  # while it boots
        self.instructions: int | None = None
        self.end_ns = math.inf

    @property
    def limits(self) -> Limits:
        """What is obeyed from now on; memory counts from here."""
        return self._limits

    @limits.setter
    def limits(self, limits: Limits) -> None:
        self._limits = limits
        self._memory = 0
        self._told.clear()
        self._obey()

    def _obey(self) -> None:
        limits = self._limits
        self._kernel.cpu.watchdog.limit, self.instructions = limits.time, limits.instructions
        self.end_ns = math.inf if limits.virtual is None else BOOT_NS + limits.virtual * NSEC_PER_SEC

    @property
    def for_module(self) -> bool:
        """Whether a module asks, not the kernel for a system call: that may use reserves (PF_MEMALLOC)."""
        sched = self._kernel.sched
        return sched.running and sched.in_guest and not self.emergency

    def take_memory(self, size: int, left: int, *, for_module: bool = False) -> bool:
        """Somebody wants so many bytes of as many as are left; whether they may be had."""
        most, used = self._limits.memory, self._memory + size
        if (left - size < RESERVE or (most is not None and used > most)) and (for_module or self.for_module):
            self.exceeded("memory", f"asks for {size} bytes where {self._memory} are in use")
            return False
        if left < size:
            return False
        self._memory = used
        return True

    def may_have(self, count: int) -> bool:
        """Whether a table that is the host's memory may have one more entry than so many."""
        if count < _OBJECTS:
            return True
        self.exceeded("memory", f"has {count} objects, and no machine has more")
        return False

    def give_memory(self, size: int) -> None:
        """So many bytes came back."""
        self._memory -= size

    def begin_call(self) -> None:
        """A system call begins."""
        self._printed = 0

    def may_print(self, size: int) -> bool:
        """Whether a message of so many bytes is kept."""
        self._printed += size
        most = self._limits.dmesg
        if most is not None and self._printed > most:
            self.exceeded("dmesg", f"prints more than {most} bytes to the log; further messages are dropped")
            return False
        return True

    def may_open(self, used: int) -> bool:
        """Whether there may be one more open file (fs/file_table.c: alloc_empty_file)."""
        most = self._limits.files
        if most is None or used < most:
            return True
        if self.exceeded("files", f"opens a file more than the {most} there are"):
            self._kernel.printk.emit(f"VFS: file-max limit {most} reached\n", 6)
        return False

    def may_start(self, used: int) -> bool:
        """Whether there may be one more task (kernel/fork.c: copy_process)."""
        most = self._limits.tasks
        if most is None or used < most:
            return True
        self.exceeded("tasks", f"starts a task more than the {most} there are")
        return False

    def exceeded(self, name: str, what: str) -> bool:
        """Report a breach, the first time; whether it is."""
        if name in self._told:
            return False
        self._told.add(name)
        task = self._kernel.sched.current
        self._kernel.findings.note(KIND, f"{task.comm}[{task.pid}] {what} ({self.hint(name)})")
        return True

    def story(self, task: Task) -> str:
        """Which limit ends code that never returned."""
        kernel, time = self._kernel, self._kernel.cpu.watchdog.limit or 0
        if kernel.clock.now_ns > self.end_ns:
            return f"went on after the machine's last moment ({self.hint('virtual')})"
        if self.instructions is not None and task.instructions >= self.instructions:
            return f"ran {self.instructions} instructions ({self.hint('instructions')})"
        return f"ran for {time:g} s ({self.hint('time')})"

    @staticmethod
    def hint(name: str) -> str:
        """How more is given."""
        return f"--limits {name}=... gives more"

    def save(self) -> Any:
        """State for a snapshot or file."""
        return [list(self._limits), self._memory, self._printed, sorted(self._told)]

    def load(self, state: Any) -> None:
        """Put saved state back."""
        limits, self._memory, self._printed, told = state
        self._told = set(told)
        if Limits(*limits) != self._limits:
            self._limits = Limits(*limits)
            self._obey()

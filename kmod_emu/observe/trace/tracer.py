"""The tracer: calls and events, filtered, as records for whoever writes them down."""

from __future__ import annotations

from fnmatch import fnmatchcase
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

import kmod_emu.handlers  # noqa: F401 - whose functions say what arguments are called
from kmod_emu.abi.ctype import read_type
from kmod_emu.debug.declarations import line_of, prototype_at
from kmod_emu.debug.lines import source_line
from kmod_emu.debug.program import Program
from kmod_emu.kernel.calltext import call_text, prototype_of, result_text
from kmod_emu.kernel.syscalls import parameters_of
from kmod_emu.module.modules import Modules
from kmod_emu.observe.relocations import relocations
from kmod_emu.observe.steps import describe
from kmod_emu.observe.trace.flow import Flow

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from kmod_emu.abi.prototypes import Prototype
    from kmod_emu.kernel.events import Event
    from kmod_emu.kernel.kernel import KernelCore
    from kmod_emu.kernel.tasks import Task
    from kmod_emu.observe.trace.flow import Frame

KINDS = {
    "syscall": "system calls",
    "function": "the module's own functions",
    "export": "kernel functions that the module calls",
    "lock": "those of them that take and give back locks",
    "printk": "what is printed to the kernel log",
    "irq": "interrupts that are raised",
    "uevent": "what user space is told about devices",
    "step": "the steps of loading and unloading",
    "reloc": "each relocation: what is put where",
}
DEFAULT = ("syscall", "function", "export", "printk", "irq", "uevent")
_SMALL = 4 << 20  # bytes of a file
_LOCKS = (
    "_raw_spin_*lock*", "_raw_read_*lock*", "_raw_write_*lock*", "mutex_*lock*", "ww_mutex_*lock*",
    "rt_mutex_*lock*", "down", "down_*", "up", "up_*", "percpu_down_*", "percpu_up_*",
)  # fmt: skip


class Record(NamedTuple):
    """One line of a trace, or one end of a call.

    Attributes:
        kind: One of KINDS.
        name: Of the function or event.
        text: The call with its arguments, or a sentence.
        pid: The task's.
        comm: Likewise.
        time_ns: Virtual time since boot.
        clock: Instructions of modules executed so far.
        source: `file:line` of the call, where it is known.
        result: What a call returned, in words; "" for void and for what is no call; None if it never did.
        instructions: How many instructions of modules ran in between, for the end of a call.
    """

    kind: str
    name: str
    text: str
    pid: int
    comm: str
    time_ns: int
    clock: int
    source: str | None = None
    result: str | None = ""
    instructions: int = 0


class Sink(Protocol):
    """Who writes a trace down."""

    def enter(self, record: Record) -> None:
        """A call begins."""

    def leave(self, record: Record) -> None:
        """The innermost call of the record's task ends."""

    def point(self, record: Record) -> None:
        """Something happens."""

    def close(self) -> None:
        """That was all."""


def _among(name: str, patterns: Sequence[str]) -> bool:
    return any(fnmatchcase(name, pattern) for pattern in patterns)


class Tracer:
    """Follows a kernel from now on; see `Flow`.

    Args:
        kernel: Before the module is loaded.
        sinks: Who gets the records.
        kinds: Which, of KINDS.
        only: Patterns for names of functions, as the shell has them; empty for all.
        without: Names to leave out, likewise.
    """

    def __init__(
        self,
        kernel: KernelCore,
        sinks: Sequence[Sink],
        kinds: Iterable[str] = DEFAULT,
        *,
        only: Sequence[str] = (),
        without: Sequence[str] = (),
    ) -> None:
        self._kernel, self._sinks, self._kinds = kernel, sinks, frozenset(kinds)
        self._only, self._without = only, without
        self._program = Program(kernel)
        self._prototypes: dict[str, Prototype | None] = {}
        self._lines: dict[int, str | None] = {}
        self._syscalls: list[tuple[Task, str]] = []  # those that are open
        self._hidden: set[int] = set()  # open calls that are left out, by identity
        self.flow = Flow(kernel, self)
        self._stop_listening = kernel.events.listen(self._event)

    def finish(self) -> None:
        """End the trace."""
        self._stop_listening()
        self.flow.finish()
        while self._syscalls:
            self._end_syscall(*self._syscalls[-1], None)
        for sink in self._sinks:
            sink.close()

    # --- calls --------------------------------------------------------------------------------------

    def entered(self, task: Task, frame: Frame) -> None:
        """A function of a module, or one that it calls, begins."""
        kind = self._kind(frame)
        if kind is None:
            self._hidden.add(id(frame))
            return
        prototype, text = self._prototype(frame), frame.name
        if frame.exported or prototype is not None:
            # The return address is there already where a function begins, and where a jump leads to one.
            stack = self._kernel.cpu.read("rsp") + 8 * (frame.tail or not frame.exported)
            text = call_text(self._kernel, frame.name, prototype, stack)
        record = self._record(kind, frame.name, text, task)._replace(source=self._source(frame))
        for sink in self._sinks:
            sink.enter(record)

    def left(self, task: Task, frame: Frame, result: int | None) -> None:
        """It ends."""
        if id(frame) in self._hidden:
            self._hidden.remove(id(frame))
            return
        kind, text = self._kind(frame) or "", None
        if result is not None:
            prototype = self._prototype(frame)
            text = result_text(self._kernel, prototype.returns if prototype else None, result)
        record = self._record(kind, frame.name, "", task)
        record = record._replace(result=text, instructions=self.flow.followed - frame.began)
        for sink in self._sinks:
            sink.leave(record)

    def _kind(self, frame: Frame) -> str | None:
        """What a call counts as here, None if it is not wanted."""
        if not self._wants(frame.name):
            return None
        if not frame.exported:
            return "function" if "function" in self._kinds else None
        if "lock" in self._kinds and _among(frame.name, _LOCKS):
            return "lock"
        return "export" if "export" in self._kinds else None

    def _wants(self, name: str) -> bool:
        return (not self._only or _among(name, self._only)) and not _among(name, self._without)

    def _prototype(self, frame: Frame) -> Prototype | None:
        key = frame.name if frame.exported else f"{frame.name}@{frame.address:x}"
        if key not in self._prototypes:
            known = prototype_of(self._kernel, frame.name) if frame.exported else self._own(frame.address)
            self._prototypes[key] = known
        return self._prototypes[key]

    def _own(self, address: int) -> Prototype | None:
        """The prototype of a module's own function."""
        return prototype_at(self._program, address) if self._is_small(address) else None

    def _source(self, frame: Frame) -> str | None:
        address = frame.caller or frame.address
        if address not in self._lines:
            small = self._is_small(address)
            self._lines[address] = (
                line_of(self._program, address) if small else source_line(self._kernel, address)
            )
        return self._lines[address]

    def _is_small(self, address: int) -> bool:
        """Whether all of a module's debug information can be read without a long wait."""
        module = self._kernel[Modules].holding(address)
        return module is not None and len(module.file) < _SMALL

    # --- events -------------------------------------------------------------------------------------

    def _event(self, event: Event) -> None:
        if event.name == "syscall":
            self._syscall(event.detail)
        elif event.name == "syscall_exit":
            self._syscall_exit(event.detail)
        else:
            if event.name == "apply_relocations" and "reloc" in self._kinds:
                self._relocations(event.detail["name"])
            record = self._point(event)
            if record is not None:
                for sink in self._sinks:
                    sink.point(record)

    def _relocations(self, name: str) -> None:
        module = next(one for one in self._kernel[Modules] if one.name == name)
        for one in relocations(self._kernel, module) if module.file else ():
            text = (
                f"{one.section}+{one.offset:#x} {one.kind} {one.symbol}{one.addend:+#x}: "
                f"{one.before.hex(' ')} -> {one.after.hex(' ')}"
            )
            record = self._record("reloc", one.kind, text, self._kernel.sched.current)
            for sink in self._sinks:
                sink.point(record)

    def _syscall(self, detail: dict[str, Any]) -> None:
        name = detail["name"]
        if "syscall" in self._kinds and self._wants(name):
            pairs = zip(parameters_of(name), detail["arguments"], strict=False)
            shown = ", ".join(f"{key}={value:#x}" if value > 9 else f"{key}={value}" for key, value in pairs)
            task = self._kernel.sched.current
            self._syscalls.append((task, name))
            record = self._record("syscall", name, f"{name}({shown})", task)
            for sink in self._sinks:
                sink.enter(record)

    def _syscall_exit(self, detail: dict[str, Any]) -> None:
        begun = self._kernel.sched.current, detail["name"]
        if begun in self._syscalls:
            self._end_syscall(*begun, result_text(self._kernel, read_type("long"), detail["result"]))

    def _end_syscall(self, task: Task, name: str, result: str | None) -> None:
        self._syscalls.remove((task, name))
        record = self._record("syscall", name, "", task)._replace(result=result)
        for sink in self._sinks:
            sink.leave(record)

    def _point(self, event: Event) -> Record | None:
        """An event as a record of its own, None for one that is not wanted."""
        detail, task = event.detail, self._kernel.sched.current
        if event.name == "printk" and "printk" in self._kinds:
            return self._record("printk", "printk", detail["text"].decode("utf-8", "backslashreplace"), task)
        if event.name == "irq" and "irq" in self._kinds:
            handlers = f", {detail['handlers']} handlers" if "handlers" in detail else ""
            text = f"interrupt {detail['number']}{handlers}"
            return self._record("irq", "irq", text, task)
        kind = "uevent" if event.name == "uevent" else "step"
        if kind in self._kinds:
            step = describe(event)
            if step is not None:
                return self._record(kind, event.name, f"{step.title}: {step.detail}", task)
        return None

    def _record(self, kind: str, name: str, text: str, task: Task) -> Record:
        now, self.flow.told = self._kernel.clock.now_ns, self.flow.followed
        return Record(kind, name, text, task.pid, task.comm, now, self.flow.followed)

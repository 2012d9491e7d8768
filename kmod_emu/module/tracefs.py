"""/sys/kernel/tracing: what is recorded, and which events are (kernel/trace/trace.c, trace_events.c)."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from kmod_emu.errors import KernelError
from kmod_emu.fs.file import BufferedOperations
from kmod_emu.fs.select import WaitQueue
from kmod_emu.fs.tree import Node, directory
from kmod_emu.kernel.trace_output import line, trace_text
from kmod_emu.kernel.tracing import BUFFER_KB
from kmod_emu.module.trace_events import TraceEvents
from kmod_emu.uapi import errno
from kmod_emu.uapi.fcntl import O_NONBLOCK

if TYPE_CHECKING:
    from collections.abc import Callable

    from kmod_emu.fs.file import File
    from kmod_emu.fs.inode import Dentry
    from kmod_emu.fs.tree import NodeSuperBlock
    from kmod_emu.kernel.kernel import KernelCore
    from kmod_emu.kernel.tasks import Task
    from kmod_emu.kernel.tracing import TraceArray

_DIRECTORY, _FILE, _READABLE, _WRITABLE = 0o750, 0o640, 0o440, 0o220
_COMMON = (
    ("unsigned short", "common_type", 0, 2, 0),
    ("unsigned char", "common_flags", 2, 1, 0),
    ("unsigned char", "common_preempt_count", 3, 1, 0),
    ("int", "common_pid", 4, 4, 1),
)
_ARRAY = re.compile(r"\[.*")
_LIMIT = 4096  # bytes of a line that trace_marker takes


def _switch(data: bytes) -> bool:
    """What was written to a switch.

    Raises:
        KernelError: EINVAL, neither 0 nor 1.
    """
    try:
        value = int(data.strip(b"\0 \n") or b"x", 0)
    except ValueError:
        value = -1
    if value not in (0, 1):
        raise KernelError(errno.EINVAL, "it is switched by 0 and 1")
    return bool(value)


class _Root(Node):
    """The top: below it, root may open what it likes, unlike in sysfs where it is mounted."""

    def dentry(self, sb: NodeSuperBlock, name: str, parent: Dentry, ino: int, strict: bool) -> Dentry:
        """Its name in /sys/kernel or in debugfs."""
        return super().dentry(sb, name, parent, ino, strict=False)


class _Pipe(BufferedOperations):
    """trace_pipe: a record is gone when it was read; who finds none waits for one."""

    def __init__(self, kernel: KernelCore, array: TraceArray) -> None:
        super().__init__(kernel)
        self._array, self._readers = array, WaitQueue()
        array.changed = lambda: self._readers.wake(kernel)

    async def get(self, file: File, count: int, pos: int) -> bytes:
        """Some lines, or what is left of the last."""
        array, text = self._array, b""
        rest = file.private if isinstance(file.private, bytes) else b""
        if not rest:
            if not array.records and file.flags & O_NONBLOCK:
                raise KernelError(errno.EAGAIN, "nothing is recorded")
            await self._readers.wait(self.kernel, lambda: bool(array.records))
        while array.records and len(rest) + len(text) < count:
            text += await line(self.kernel, array, array.consume())
        text = rest + text
        file.private = text[count:]
        return text[:count]


class Tracefs:
    """The tree, made up at each look."""

    def __init__(self, kernel: KernelCore) -> None:
        self._kernel = kernel
        self._pipes: dict[str, _Pipe] = {}
        self.root = _Root(0o700, children=self._top)

    def _top(self) -> dict[str, Node]:
        tracing = self._kernel.tracing
        nodes = self._array(tracing.own)
        nodes["available_events"] = Node(_READABLE, read=lambda task: self._list(self._events.calls))
        nodes["instances"] = directory(
            lambda: {
                array.name: directory(lambda array=array: self._array(array), _DIRECTORY)  # type: ignore[misc]
                for array in tracing.arrays[1:]
            },
            _DIRECTORY,
        )
        return nodes

    @property
    def _events(self) -> TraceEvents:
        return self._kernel[TraceEvents]

    # --- an array -------------------------------------------------------------------------------------

    def _array(self, array: TraceArray) -> dict[str, Node]:
        kernel = self._kernel

        def switch(task: Task, data: bytes) -> None:
            array.on = _switch(data)

        pipe = Node(_READABLE)
        pipe.operations = self._pipes.setdefault(array.name, _Pipe(kernel, array))
        trace = Node(_FILE, read=lambda task: trace_text(kernel, array), write=lambda task, data: None)
        trace.emptied = array.clear
        return {
            "trace": trace,
            "trace_pipe": pipe,
            "tracing_on": Node(_FILE, read=lambda task: f"{int(array.on)}\n", write=switch),
            "trace_marker": Node(_WRITABLE, write=lambda task, data: self._mark(array, data)),
            "set_event": self._set_event(array),
            "current_tracer": Node(_FILE, read=lambda task: "nop\n", write=self._only(b"nop")),
            "available_tracers": Node(_READABLE, read=lambda task: "nop\n"),
            "trace_clock": Node(_FILE, read=lambda task: "[local]\n", write=self._only(b"local")),
            "buffer_size_kb": Node(_READABLE, read=lambda task: f"{BUFFER_KB}\n"),
            "events": directory(lambda: self._systems(array), _DIRECTORY),
        }

    @staticmethod
    def _only(choice: bytes) -> Callable[[Task, bytes], None]:
        def write(task: Task, data: bytes) -> None:
            if data.strip() != choice:
                raise KernelError(errno.EINVAL, f"there is only {choice.decode()} on this machine")

        return write

    def _mark(self, array: TraceArray, data: bytes) -> int:
        """A line that a process wrote."""
        if not array.on:
            raise KernelError(errno.EBADF, "nothing is recorded while tracing_on is 0")
        data = data[:_LIMIT]
        self._kernel.tracing.print(
            array, "tracing_mark_write", data if data.endswith(b"\n") else data + b"\n"
        )
        return len(data)

    # --- events -----------------------------------------------------------------------------------------

    def _list(self, calls: list[int]) -> str:
        return "".join(f"{self._events.system(call)}:{self._events.name(call)}\n" for call in calls)

    def _set_event(self, array: TraceArray) -> Node:
        events, fresh = self._events, [False]

        def read(task: Task) -> str:
            return self._list([call for call in events.calls if events.enabled(array, call)])

        async def write(task: Task, data: bytes) -> None:
            if fresh[0]:
                fresh[0] = False
                await events.enable_all(array, events.calls, on=False)
            for word in data.decode("utf-8", "replace").split():
                await self._set(array, word)

        node = Node(_FILE, read=read, write=write)
        node.emptied = lambda: fresh.__setitem__(0, True)
        return node

    async def _set(self, array: TraceArray, word: str) -> None:
        """`system:event`, `system:`, `event` or `*`; with `!` it is no longer recorded."""
        on, word = not word.startswith("!"), word.removeprefix("!")
        system, colon, event = word.partition(":")
        if colon:
            calls = self._events.matching(system or None, event or None)
        else:
            calls = self._events.matching(None, None, word)
        if not calls:
            raise KernelError(errno.EINVAL, f"no event is called {word}")
        await self._events.enable_all(array, calls, on=on)

    def _enable(self, array: TraceArray, calls: list[int]) -> Node:
        """A switch of some events: 0, 1, or X where some are on and some off."""
        events = self._events

        def read(task: Task) -> str:
            states = {events.enabled(array, call) for call in calls}
            return ("X" if len(states) > 1 else str(int(states.pop())) if states else "?") + "\n"

        async def write(task: Task, data: bytes) -> None:
            result = await events.enable_all(array, calls, on=_switch(data))
            if result:
                raise KernelError(-result, "an event could not be switched")

        return Node(_FILE, read=read, write=write)

    def _systems(self, array: TraceArray) -> dict[str, Node]:
        nodes = {"enable": self._enable(array, self._events.calls)}
        by_system: dict[str, list[int]] = {}
        for call in self._events.calls:
            by_system.setdefault(self._events.system(call), []).append(call)
        for system, calls in by_system.items():
            nodes[system] = directory(
                lambda calls=calls: {  # type: ignore[misc]
                    "enable": self._enable(array, calls),
                    **{self._events.name(call): self._event(array, call) for call in calls},
                },
                _DIRECTORY,
            )
        return nodes

    def _event(self, array: TraceArray, call: int) -> Node:
        number = self._kernel.view("trace_event", self._events.view(call).addressof("event")).type
        return directory(
            {
                "enable": self._enable(array, [call]),
                "format": Node(0o440, read=lambda task: self._format(call, number)),
                "id": Node(0o440, read=lambda task: f"{number}\n"),
            },
            _DIRECTORY,
        )

    # --- format -----------------------------------------------------------------------------------------

    def _format(self, call: int, number: int) -> str:
        lines = [f"name: {self._events.name(call)}", f"ID: {number}", "format:"]
        lines += [_field(*field) for field in _COMMON]
        lines += ["", *(_field(*field) for field in self._fields(call)), ""]
        return "\n".join([*lines, f"print fmt: {self._events.formats[call]}"]) + "\n"

    def _fields(self, call: int) -> list[tuple[str, str, int, int, int]]:
        """Type, name, offset, size and sign, from the table that TRACE_EVENT() makes."""
        kernel, fields = self._kernel, []
        layout = kernel.profile.struct("trace_event_fields")
        offset = kernel.profile.struct("trace_entry").size
        place = self._events.event_class(call).fields_array
        while place and kernel.memory.read_u64(place):
            field = kernel.view("trace_event_fields", place)
            size, align = field.size, field.align or 1
            offset = -(-offset // align) * align
            text, name = kernel.memory.read_text(field.type), kernel.memory.read_text(field.get("name"))
            fields.append((text, name, offset, size, int(bool(field.is_signed))))
            offset += size
            place += layout.size
        return fields


def _field(text: str, name: str, offset: int, size: int, signed: int) -> str:
    """A line of a format; the bounds of an array stand behind its name."""
    bounds = None if text.startswith(("__data_loc", "__rel_loc")) else _ARRAY.search(text)
    if bounds:
        text, name = text[: bounds.start()], name + bounds[0]
    return f"\tfield:{text} {name};\toffset:{offset};\tsize:{size};\tsigned:{signed};"

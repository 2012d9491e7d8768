"""What each packet of gdb asks for, on a `Debugger`. Knows nothing of sockets."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any
from xml.sax.saxutils import quoteattr

from kmod_emu.debug.debugger import Breakpoint, Catchpoint, Point, Reason, Watchpoint
from kmod_emu.debug.gdb import registers, symbols
from kmod_emu.debug.gdb.files import FileServer
from kmod_emu.debug.gdb.monitor import Monitor
from kmod_emu.machine.memory import PAGE_SIZE, PageFault

if TYPE_CHECKING:
    from collections.abc import Callable

    from kmod_emu.debug.debugger import Debugger, Stopped
    from kmod_emu.kernel.tasks import Task

PACKET_SIZE = 0x4000
IDLE_THREAD = 1 << 22  # the idle task's: gdb has no thread 0, and no pid is that large
_OK, _NOTHING = b"OK", b""
_BAD_ARGUMENT, _NO_MEMORY, _CANNOT = b"E16", b"E0e", b"E5f"
_KINDS = {"2": "change", "3": "read", "4": "access"}
_WATCH_WORDS = {"change": "watch", "write": "watch", "read": "rwatch", "access": "awatch"}
_SIGNALS = {"oops": 11, "warn": 5, "unimplemented": 4}
_SUPPORTED = (
    f"PacketSize={PACKET_SIZE:x};QStartNoAckMode+;qXfer:features:read+;qXfer:libraries:read+;"
    "qXfer:exec-file:read+;qXfer:threads:read+;swbreak+;hwbreak+;vContSupported+;ReverseStep+;ReverseContinue+"
)


class Left(Exception):
    """The client said goodbye.

    Args:
        kill: It wants the run to be ended, not left alone.
    """

    def __init__(self, kill: bool) -> None:
        super().__init__()
        self.kill = kill


class Stub:
    """Answers one client.

    Args:
        debugger: Started, and stopped somewhere.
        tell: Sends a packet before the answer: output of the console.
    """

    def __init__(self, debugger: Debugger, tell: Callable[[bytes], None] = lambda packet: None) -> None:
        self._debugger, self._tell = debugger, tell
        self._points: dict[tuple[str, int, int], Point] = {}
        self._selected: Task | None = None
        self._running = False
        self._stop_listening = debugger.kernel.events.listen(self._printed)
        self._libraries = symbols.libraries_xml(debugger.kernel)
        self._held: bytes | None = None  # a stop behind one that only told of modules
        self._load = debugger.catch("load")
        self._files = FileServer(lambda: symbols.files(debugger.kernel))
        self._monitor = Monitor(debugger)
        self.no_ack = False
        self._commands: dict[str, Callable[[str, bytes], bytes]] = {
            "?": lambda text, data: self._stop_reply(),
            "g": lambda text, data: self._hex(registers.read_all(debugger, self._task)),
            "G": self._write_registers,
            "p": self._read_register,
            "P": self._write_register,
            "m": self._read_memory,
            "M": self._write_memory,
            "X": self._write_binary,
            "Z": self._insert,
            "z": self._remove,
            "s": lambda text, data: self._run(self._debugger.stepi),
            "S": lambda text, data: self._run(self._debugger.stepi),
            "c": lambda text, data: self._run(self._debugger.continue_),
            "C": lambda text, data: self._run(self._debugger.continue_),
            "b": self._backwards,
            "v": self._v_packet,
            "q": self._query,
            "Q": self._set,
            "H": self._select,
            "T": self._alive,
            "D": self._detach,
            "k": self._kill,
            "R": lambda text, data: self._restart(),
            "!": lambda text, data: _OK,
        }

    def close(self) -> None:
        """The client is gone: nothing of it stays."""
        for point in [*self._points.values(), self._load]:
            self._debugger.delete(point)
        self._points = {}
        self._stop_listening()

    def answer(self, packet: bytes) -> bytes:
        """The answer to one packet; empty for what is not known.

        Raises:
            Left: The client ends the session.
        """
        if not packet:
            return _NOTHING
        command = self._commands.get(chr(packet[0]))
        if command is None:
            return _NOTHING
        try:
            return command(packet[1:].decode("latin-1"), packet[1:])
        except PageFault:
            return _NO_MEMORY
        except (ValueError, IndexError, OverflowError, LookupError):
            return _BAD_ARGUMENT

    @staticmethod
    def _hex(data: bytes) -> bytes:
        return data.hex().encode()

    # --- stops --------------------------------------------------------------------------------------------

    def _run(self, go: Callable[[], Any]) -> bytes:
        """Let the machine run; how it stopped."""
        if self._held is not None:
            held, self._held = self._held, None
            return held
        if self._debugger.ended:
            return self._exit_reply()
        self._selected, self._running = None, True
        try:
            go()
        finally:
            self._running = False
        reply = self._stop_reply()
        libraries = symbols.libraries_xml(self._debugger.kernel)
        if libraries != self._libraries and not self._debugger.ended:
            self._libraries = libraries
            if not self._only_load:
                self._held = reply
            return self._with_thread("T05", "library:;")
        if self._only_load:  # of a module that the client knew already
            return self._run(go)
        return reply

    @property
    def _only_load(self) -> bool:
        stop = self._debugger.stop
        return stop.reason is Reason.CATCHPOINT and stop.points == (self._load,)

    def _printed(self, event: Any) -> None:
        """A line of the kernel log, on gdb's console while the machine runs."""
        if event.name == "printk" and self._running:
            self._tell(b"O" + (event.detail["text"].rstrip(b"\n") + b"\n").hex().encode())

    def _stop_reply(self) -> bytes:
        stop = self._debugger.stop
        if stop.reason is Reason.ENDED:
            return self._exit_reply()
        signal = 2 if stop.reason is Reason.INTERRUPTED else 5
        if stop.reason is Reason.CATCHPOINT:
            kind = next((point.kind for point in stop.points if isinstance(point, Catchpoint)), "")
            signal = _SIGNALS.get(kind, 5)
        return self._with_thread(f"T{signal:02x}", self._why(stop))

    def _with_thread(self, head: str, why: str) -> bytes:
        return f"{head}{why}thread:{self._number(self._debugger.task):x};".encode()

    @staticmethod
    def _why(stop: Stopped) -> str:
        if stop.reason is Reason.BEGINNING:
            return "replaylog:begin;"
        for point in stop.points:
            if isinstance(point, Watchpoint):
                return f"{_WATCH_WORDS[point.kind]}:{point.address:x};"
            if isinstance(point, Breakpoint):
                return "hwbreak:;" if point.text == "hw" else "swbreak:;"
        return ""

    def _exit_reply(self) -> bytes:
        error = self._debugger.error
        return b"W00" if error is None else f"W{error.errno & 0xFF:02x}".encode()

    def _backwards(self, text: str, data: bytes) -> bytes:
        if text not in ("s", "c"):
            return _NOTHING
        return self._run(self._debugger.reverse_stepi if text == "s" else self._debugger.reverse_continue)

    def _v_packet(self, text: str, data: bytes) -> bytes:
        if text == "Cont?":
            return b"vCont;c;C;s;S;t;r"
        if text.startswith("Cont;"):
            return self._cont(text[5:].split(";"))
        if text.startswith("File:"):
            return self._files.answer(data[5:])
        if text.startswith(("Run;", "Attach;")):
            return self._restart()
        if text.startswith("Kill"):
            raise Left(kill=True)
        return _NOTHING

    def _cont(self, actions: list[str]) -> bytes:
        """vCont: the first action for a thread counts; the others go on when their turn comes."""
        action, _, thread = actions[0].partition(":")
        task = self._find(thread) if thread and thread != "-1" else self._debugger.task
        if action[:1] not in "csCSr" or not action:
            return _BAD_ARGUMENT
        if action[0] in "cC":
            return self._run(self._debugger.continue_)
        if task is not self._debugger.task:
            return self._run(lambda: self._debugger.run_task(task))
        if action[0] == "r":
            start, end = (int(word, 16) for word in action[1:].split(","))
            return self._run(lambda: self._debugger.step_range(start, end))
        return self._run(self._debugger.stepi)

    def _restart(self) -> bytes:
        self._debugger.go_to_beginning()
        self._held = self._selected = None
        return self._stop_reply()

    def _detach(self, text: str, data: bytes) -> bytes:
        raise Left(kill=False)

    def _kill(self, text: str, data: bytes) -> bytes:
        raise Left(kill=True)

    # --- threads ------------------------------------------------------------------------------------------

    @property
    def _task(self) -> Task:
        """The task that gdb looks at."""
        return self._selected or self._debugger.task

    @staticmethod
    def _number(task: Task) -> int:
        return task.pid or IDLE_THREAD

    def _find(self, text: str) -> Task:
        number = int(text, 16)
        for task in self._threads():
            if self._number(task) == number:
                return task
        raise LookupError(text)

    def _threads(self) -> list[Task]:
        """The running task, even if it is dying, and the others."""
        running = self._debugger.task
        return [running, *(task for task in self._debugger.tasks if task is not running)]

    def _select(self, text: str, data: bytes) -> bytes:
        if text[:1] not in ("g", "c", "m"):
            return _BAD_ARGUMENT
        if text[0] == "g":
            self._selected = None if text[1:] in ("0", "-1", "") else self._find(text[1:])
        return _OK

    def _alive(self, text: str, data: bytes) -> bytes:
        self._find(text)
        return _OK

    # --- memory and registers -----------------------------------------------------------------------------

    def _read_memory(self, text: str, data: bytes) -> bytes:
        address, size = (int(word, 16) for word in text.split(","))
        size, found = min(size, PACKET_SIZE // 2 - 8), b""
        while len(found) < size:
            length = min(size - len(found), PAGE_SIZE - address % PAGE_SIZE)
            try:
                found += self._debugger.read(address, length)
            except PageFault:
                if not found:
                    raise
                break
            address += length
        return self._hex(found)

    def _write_memory(self, text: str, data: bytes) -> bytes:
        head, _, digits = text.partition(":")
        return self._write(head, bytes.fromhex(digits))

    def _write_binary(self, text: str, data: bytes) -> bytes:
        head, _, raw = data.partition(b":")
        return self._write(head.decode("ascii", "replace"), raw)

    def _write(self, head: str, data: bytes) -> bytes:
        address, size = (int(word, 16) for word in head.split(","))
        if len(data) != size:
            return _BAD_ARGUMENT
        if self._debugger.ended:
            return _CANNOT
        if size:
            self._debugger.write(address, data)
        return _OK

    def _read_register(self, text: str, data: bytes) -> bytes:
        return self._hex(registers.read_one(self._debugger, self._task, int(text, 16)))

    def _write_register(self, text: str, data: bytes) -> bytes:
        number, _, value = text.partition("=")
        if self._task is not self._debugger.task or self._debugger.ended:
            return _CANNOT
        done = registers.write(self._debugger, int(number, 16), bytes.fromhex(value))
        return _OK if done else _CANNOT

    def _write_registers(self, text: str, data: bytes) -> bytes:
        if self._task is not self._debugger.task or self._debugger.ended:
            return _CANNOT
        registers.write_all(self._debugger, bytes.fromhex(text))
        return _OK

    # --- points -------------------------------------------------------------------------------------------

    def _insert(self, text: str, data: bytes) -> bytes:
        key = self._point_key(text)
        if key is None:
            return _NOTHING
        if key not in self._points:
            kind, address, size = key
            if kind in _KINDS:
                self._debugger.read(address, size)
                self._points[key] = self._debugger.watch(address, size, _KINDS[kind])
            else:
                self._points[key] = self._debugger.break_at(address, "hw" if kind == "1" else "sw")
        return _OK

    def _remove(self, text: str, data: bytes) -> bytes:
        key = self._point_key(text)
        if key is None:
            return _NOTHING
        point = self._points.pop(key, None)
        if point is not None:
            self._debugger.delete(point)
        return _OK

    @staticmethod
    def _point_key(text: str) -> tuple[str, int, int] | None:
        kind, address, size = text.partition(";")[0].split(",")
        if kind not in "01234" or len(kind) != 1:
            return None
        length = int(size, 16)
        if not 0 < length <= PAGE_SIZE:
            raise ValueError(size)
        return kind, int(address, 16), length

    # --- questions ----------------------------------------------------------------------------------------

    def _query(self, text: str, data: bytes) -> bytes:
        name, _, rest = text.partition(":")
        if name == "Supported":
            return _SUPPORTED.encode()
        if name == "Attached":
            return b"1"
        if name == "C":
            return f"QC{self._number(self._debugger.task):x}".encode()
        if name == "fThreadInfo":
            return b"m" + b",".join(f"{self._number(task):x}".encode() for task in self._threads())
        if name == "sThreadInfo":
            return b"l"
        if name == "Symbol":
            return _OK
        if text.startswith("ThreadExtraInfo,"):
            return self._hex(self._describe(self._find(text.partition(",")[2])).encode("utf-8", "replace"))
        if text.startswith("Rcmd,"):
            return self._command(bytes.fromhex(text[5:]).decode("utf-8", "replace"))
        if name == "Xfer":
            return self._transfer(rest)
        return _NOTHING

    def _describe(self, task: Task) -> str:
        if task is self._debugger.task:
            return f"{task.comm}, runs"
        return f"{task.comm}, {'sleeps' if task.asleep or task.blocked else 'waits'}"

    def _command(self, text: str) -> bytes:
        before = self._debugger.stop
        output = self._monitor.run(text)
        if self._debugger.stop is not before:  # it went somewhere else: gdb has to look anew
            self._selected = None
        for start in range(0, len(output), 1000):
            self._tell(b"O" + output[start : start + 1000].encode("utf-8", "replace").hex().encode())
        return _OK

    def _transfer(self, text: str) -> bytes:
        kind, action, annex, span = text.split(":")
        offset, length = (int(word, 16) for word in span.split(","))
        if action != "read":
            return _NOTHING
        if (kind, annex) == ("features", "target.xml"):
            contents = registers.target_xml()
        elif kind == "libraries":
            contents = self._libraries = symbols.libraries_xml(self._debugger.kernel)
        elif kind == "exec-file":
            contents = symbols.KERNEL_FILE.encode()
        elif kind == "threads":
            contents = self._threads_xml()
        elif kind == "features":
            return b"E00"
        else:
            return _NOTHING
        piece = contents[offset : offset + length]
        return (b"m" if offset + length < len(contents) else b"l") + piece

    def _threads_xml(self) -> bytes:
        threads = "".join(
            f'<thread id="{self._number(task):x}" core="0" name={quoteattr(task.comm)}>'
            f"{'runs' if task is self._debugger.task else 'sleeps or waits'}</thread>\n"
            for task in self._threads()
        )
        return f'<?xml version="1.0"?>\n<threads>\n{threads}</threads>\n'.encode("utf-8", "replace")

    def _set(self, text: str, data: bytes) -> bytes:
        if text == "StartNoAckMode":
            self.no_ack = True
            return _OK
        return _NOTHING

"""A gdb server on a TCP port: one client at a time, and the machine stays when it leaves."""

from __future__ import annotations

import os
import queue
import socket
import threading
from contextlib import suppress
from typing import TYPE_CHECKING

from kmod_emu.debug.gdb.packets import Parser, frame
from kmod_emu.debug.gdb.stub import Left, Stub

if TYPE_CHECKING:
    from collections.abc import Callable

    from kmod_emu.debug.debugger import Debugger

_TOO_MANY = "kmod-emu: another gdb is connected; one at a time\n"


class Server:
    """Serves a debugger that is stopped somewhere.

    Args:
        debugger: What clients debug.
        say: Told what happens, in sentences.
        host: Where to listen; only on this computer unless said otherwise.
        port: The port; 0: any that is free.

    Attributes:
        address: (host, port) where it listens.
    """

    def __init__(
        self, debugger: Debugger, say: Callable[[str], None], host: str = "127.0.0.1", port: int = 0
    ) -> None:
        self._debugger, self._say = debugger, say
        self._listener = socket.create_server((host, port))
        self.address: tuple[str, int] = self._listener.getsockname()[:2]
        self._clients: queue.SimpleQueue[socket.socket | None] = queue.SimpleQueue()
        self._busy = threading.Event()
        self._client: socket.socket | None = None
        threading.Thread(target=self._accept, name="kmod-emu-gdb-accept", daemon=True).start()

    def _accept(self) -> None:
        """Take clients; those who come while one is there are told so."""
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return self._clients.put(None)
            if self._busy.is_set():
                self._say("a second gdb tried to connect: refused")
                _refuse(client)
                continue
            self._busy.set()
            self._clients.put(client)

    def serve(self, *, once: bool = False) -> None:
        """Serve clients one after another; `once`: return when the first has left."""
        while client := self._clients.get():
            with client:
                client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                self._client = client
                self._say("gdb is connected")
                self._say(Session(self._debugger, client, self._say).run())
            self._busy.clear()
            if once:
                return

    def close(self) -> None:
        """Listen no longer, and let the client go: `serve` returns."""
        for end in (self._listener, self._client):
            if end is not None:
                with suppress(OSError):
                    end.shutdown(socket.SHUT_RDWR)
        self._listener.close()


class Session:
    """One client, from connecting to leaving."""

    def __init__(self, debugger: Debugger, client: socket.socket, say: Callable[[str], None]) -> None:
        self._debugger, self._client, self._say = debugger, client, say
        self._packets: queue.SimpleQueue[bytes | None] = queue.SimpleQueue()
        self._sent, self._unanswered = b"", 0
        self._stub = Stub(debugger, self._tell)

    def run(self) -> str:
        """Answer until the client leaves; a sentence about how it did."""
        threading.Thread(target=self._listen, name="kmod-emu-gdb-client", daemon=True).start()
        try:
            while (packet := self._packets.get()) is not None:
                answer = self._answer(packet)
                self._unanswered -= 1
                self._send(answer)
            return "gdb went away without a word: the machine stays as it is, connect again"
        except Left as left:
            self._send(b"OK")
            if not left.kill:
                return "gdb has left: the machine stays as it is, connect again"
            self._debugger.go_to_beginning()
            return "gdb has ended the run: it is at its beginning again"
        except OSError as error:
            return (
                f"the connection broke ({error.strerror or error}): the machine stays as it is, connect again"
            )
        finally:
            self._stub.close()
            with suppress(OSError):  # also where nobody expected it: gdb must not wait for ever
                self._client.shutdown(socket.SHUT_RDWR)

    def _answer(self, packet: bytes) -> bytes:
        try:
            return self._stub.answer(packet)
        except (Left, OSError):
            raise
        except Exception as error:  # a fault of ours: gdb is told, and goes on
            if os.environ.get("KMOD_EMU_DEBUG"):
                raise
            self._say(f"internal error at {packet[:40]!r}: {type(error).__name__}: {error}; please report it")
            return b"E5f"

    def _listen(self) -> None:
        """Read what comes; Ctrl-C acts at once."""
        parser = Parser()
        while True:
            try:
                data = self._client.recv(1 << 16)
            except OSError:
                data = b""
            if not data:
                self._interrupt()
                self._packets.put(None)
                return
            for received in parser.feed(data):
                if received.kind == "break":
                    self._interrupt()
                elif received.kind == "nack":
                    self._write(self._sent)
                elif received.kind == "damaged":
                    self._acknowledge(b"-")
                elif received.kind == "packet":
                    self._acknowledge(b"+")
                    self._unanswered += 1
                    self._packets.put(received.data)

    def _interrupt(self) -> None:
        """Stop what runs; if nothing does, what runs next is not meant."""
        if self._unanswered > 0:
            self._debugger.interrupt()

    def _acknowledge(self, sign: bytes) -> None:
        if not self._stub.no_ack:
            self._write(sign)

    def _send(self, data: bytes) -> None:
        self._sent = frame(data)
        self._client.sendall(self._sent)

    def _tell(self, data: bytes) -> None:
        """Something meanwhile: if gdb is gone, that is none of the matter of the task that runs."""
        self._sent = frame(data)
        self._write(self._sent)

    def _write(self, data: bytes) -> None:
        with suppress(OSError):  # the other thread notices too
            self._client.sendall(data)


def _refuse(client: socket.socket) -> None:
    with client:
        try:
            client.settimeout(1)
            client.sendall(
                frame(b"O" + _TOO_MANY.encode().hex().encode()) + frame(b"E.another gdb is connected")
            )
        except OSError:
            pass

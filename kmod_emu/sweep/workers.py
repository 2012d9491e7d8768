"""Worker processes: each boots once and tries one module after another. One that dies costs its module only.

A worker limits itself by timers whose signals end it, also while it is inside the processor: one counts
processor time, so that a busy computer changes nothing; one counts real time, for what hangs without working.
"""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading
import time
from collections import deque
from contextlib import suppress
from multiprocessing.connection import wait
from typing import TYPE_CHECKING, Any, Protocol

from kmod_emu.kmod.errors import ToolError
from kmod_emu.sweep.one import DIED, INTERNAL, TIME_LIMIT

if TYPE_CHECKING:
    from collections.abc import Generator
    from multiprocessing.connection import Connection

    from kmod_emu.sweep.tree import Target

_SPAWN = multiprocessing.get_context("spawn")
_OF_ALL = 2  # the time limit of a module with all it needs, in those of one call
_PATIENCE = 10  # real seconds for each processor second
_READY = None


class Machine(Protocol):
    """What tries one module after another."""

    def sweep(self, target: Target) -> dict[str, Any]:
        """A module's row."""


class Setup(Protocol):
    """How such machines are made; goes to each worker."""

    @property
    def time_limit(self) -> float:
        """Processor seconds of one call."""

    def machine(self) -> Machine:
        """One that has just booted."""

    def blank(self, target: Target) -> dict[str, Any]:
        """The row of a module that was not even tried."""


def sweep(setup: Setup, targets: list[Target], jobs: int) -> Generator[dict[str, Any], None, None]:
    """Try modules in several processes; their rows, in the order in which they are done.

    Raises:
        ToolError: A worker cannot even boot.
    """
    waiting = _Waiting(targets, jobs)
    workers: dict[Connection, _Worker] = {}

    def start() -> None:
        worker = _Worker(setup)
        workers[worker.connection] = worker

    try:
        for _ in range(min(jobs, len(targets))):
            start()
        while workers:
            for connection in wait(list(workers)):
                worker = workers[connection]  # type: ignore[index]  # what went in comes out
                row = worker.receive()
                if row is not _READY:
                    yield row
                if worker.target is not None:  # it died
                    del workers[worker.connection]
                    waiting.give_up(worker)
                    if waiting:
                        start()
                elif waiting:
                    worker.give(waiting.take(worker))
                else:
                    del workers[worker.connection]
                    worker.end()
    finally:
        for worker in workers.values():
            worker.end()


class _Waiting:
    """Modules to try: a worker goes through those that need the same, and knows what the last needed."""

    def __init__(self, targets: list[Target], jobs: int) -> None:
        ordered = sorted(targets, key=lambda target: target.needs)
        size = -(-len(ordered) // jobs) or 1
        self._free = [deque(ordered[at : at + size]) for at in range(0, len(ordered), size)]
        self._held: dict[_Worker, deque[Target]] = {}

    def __bool__(self) -> bool:
        return bool(self._free) or any(self._held.values())

    def take(self, worker: _Worker) -> Target:
        """The next for a worker; one that has none left takes half of the most that another has."""
        if not self._held.get(worker):
            self._held[worker] = self._free.pop(0) if self._free else self._half()
        return self._held[worker].popleft()

    def _half(self) -> deque[Target]:
        most = max(self._held.values(), key=len)
        return deque([most.pop() for _ in range((len(most) + 1) // 2)][::-1])

    def give_up(self, worker: _Worker) -> None:
        """A worker is gone; others take what it had."""
        if left := self._held.pop(worker, None):
            self._free.append(left)


class _Worker:
    """The parent's side of a worker.

    Attributes:
        connection: To it.
        target: What it works on, or died of.
    """

    def __init__(self, setup: Setup) -> None:
        self._setup = setup
        self.connection, theirs = _SPAWN.Pipe()
        self._process = _SPAWN.Process(target=_work, args=(theirs, setup), daemon=True)
        self._process.start()
        theirs.close()
        self.target: Target | None = None
        self._since = 0.0

    def give(self, target: Target) -> None:
        """Work for it."""
        self.target, self._since = target, time.perf_counter()
        with suppress(OSError):  # it died meanwhile, which `receive` sees
            self.connection.send(target)

    def receive(self) -> dict[str, Any] | None:
        """A row; None when it has booted."""
        try:
            row: dict[str, Any] | None = self.connection.recv()
        except (EOFError, OSError):
            self._process.join()
            if self.target is None:
                status = self._process.exitcode
                raise ToolError(
                    f"kmod-emu: a worker process ended while it booted, status {status}"
                ) from None
            return self._obituary(self.target)
        self.target = None
        return row

    def _obituary(self, target: Target) -> dict[str, Any]:
        """The row of a module that a worker died of."""
        status = self._process.exitcode or 0
        if -status in (signal.SIGPROF, signal.SIGALRM):
            outcome, reason = TIME_LIMIT, "it did not come to an end in time"
        else:
            cause = f"by {signal.Signals(-status).name}" if status < 0 else f"with status {status}"
            outcome, reason = DIED, f"the worker process ended {cause}"
        total = round(time.perf_counter() - self._since, 6)
        return self._setup.blank(target) | {"outcome": outcome, "reason": reason, "total_s": total}

    def end(self) -> None:
        """End the process, whatever it does."""
        self._process.kill()
        self._process.join()
        self.connection.close()


def _work(connection: Connection, setup: Setup) -> None:
    """The worker's side."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the parent, which ends its workers
    for timer in (signal.SIGPROF, signal.SIGALRM):
        signal.signal(timer, signal.SIG_DFL)
    threading.Thread(target=_end_with_the_parent, daemon=True).start()
    with suppress(EOFError, OSError):  # the parent is gone
        _serve(connection, setup)


def _end_with_the_parent() -> None:
    """A parent that was killed could not end its workers, and one that is busy does not look."""
    parent = multiprocessing.parent_process()
    assert parent is not None
    parent.join()
    os._exit(1)


def _serve(connection: Connection, setup: Setup) -> None:
    machine = setup.machine()
    connection.send(_READY)
    while True:
        target = connection.recv()
        _limit(setup.time_limit * _OF_ALL)
        try:
            row = machine.sweep(target)
        except Exception as error:
            machine = setup.machine()
            reason = f"{type(error).__name__}: {error}"
            row = setup.blank(target) | {"outcome": INTERNAL, "reason": reason}
        _limit(0)
        connection.send(row)


def _limit(seconds: float) -> None:
    """End this process if it works longer than that; 0: no more."""
    signal.setitimer(signal.ITIMER_PROF, seconds)
    signal.setitimer(signal.ITIMER_REAL, seconds * _PATIENCE)

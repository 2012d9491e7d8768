"""The watchdog: ends a run of guest code that does not end by itself.

An instruction budget would be exact but makes all code five times slower, so the limit is processor
time, looked at now and then by one sleeping thread that all machines of the process share.
"""

from __future__ import annotations

import math
import os
import threading
import time
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

DEFAULT_LIMIT = 20.0  # seconds, as Linux's soft-lockup threshold (2 * watchdog_thresh)
_POLL = 0.05  # seconds between looks

_running: set[Watchdog] = set()
_process = 0  # the process whose helper thread is alive: a forked child needs its own


class Watchdog:
    """Calls `expire` when one run used `limit` seconds of processor time (None: never), or its patience.

    Args:
        expire: Called from another thread; must be safe to call late, and again.
    """

    def __init__(self, expire: Callable[[], None]) -> None:
        self.limit: float | None = DEFAULT_LIMIT
        self.expire = expire
        self.since = self.deadline = 0.0

    def start(self, patience: float = math.inf) -> None:
        """A run begins, which may take `patience` seconds if that is less than the limit."""
        if _process != os.getpid():
            _launch()
        self.since = time.process_time()
        self.deadline = self.since + min(patience, math.inf if self.limit is None else self.limit)
        _running.add(self)

    @property
    def over(self) -> bool:
        """Whether the run that expired used up the limit, not just its patience."""
        return self.limit is not None and time.process_time() - self.since >= self.limit

    def forgive(self, seconds: float) -> None:
        """So much of the time was spent for the host, not by the run."""
        self.since += seconds
        self.deadline += seconds

    def end(self) -> None:
        """The run ended."""
        _running.discard(self)


def _launch() -> None:
    global _process
    _process = os.getpid()
    _running.clear()
    threading.Thread(target=_watch, name="kmod-emu-watchdog", daemon=True).start()


def _watch() -> None:
    while True:
        time.sleep(_POLL)
        now = time.process_time()
        for watchdog in tuple(_running):
            if now >= watchdog.deadline:
                watchdog.expire()

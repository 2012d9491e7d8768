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
_watched = False  # whether this process has its helper thread: a forked child does not


class Watchdog:
    """Calls `expire` when one run used `limit` seconds of processor time (None: never), or its patience.

    Args:
        expire: Called from another thread; must be safe to call late, and again.
    """

    def __init__(self, expire: Callable[[], None]) -> None:
        self.limit: float | None = DEFAULT_LIMIT
        self.expire = expire
        self.since = self.deadline = self.forgiven = 0.0

    def start(self, patience: float = math.inf) -> None:
        """A run begins, which may take `patience` seconds if that is less than the limit."""
        if not _watched:
            _launch()
        self.since = since = time.process_time() - self.forgiven
        limit = self.limit
        self.deadline = since + (patience if limit is None or patience < limit else limit)
        _running.add(self)

    def now(self) -> float:
        """Seconds of processor time, without what was forgiven."""
        return time.process_time() - self.forgiven

    @property
    def elapsed(self) -> float:
        """Seconds of processor time since the run began."""
        return self.now() - self.since

    @property
    def over(self) -> bool:
        """Whether the run that expired used up the limit, not just its patience."""
        return self.limit is not None and self.elapsed >= self.limit

    def forgive(self, seconds: float) -> None:
        """So much of the time was spent for the host, not by the run."""
        self.forgiven += seconds

    def end(self) -> None:
        """The run ended."""
        _running.discard(self)


def _launch() -> None:
    global _watched
    _watched = True
    threading.Thread(target=_watch, name="kmod-emu-watchdog", daemon=True).start()


def _forked() -> None:
    global _watched
    _watched = False
    _running.clear()


os.register_at_fork(after_in_child=_forked)


def _watch() -> None:
    while True:
        time.sleep(_POLL)
        for watchdog in tuple(_running):
            if watchdog.now() >= watchdog.deadline:
                watchdog.expire()

"""Work on a thread of its own that takes turns with the thread that asks for it.

A debugger stops guest code in the middle of Python calls (a system call, the scheduler, the processor) and
lets them wait. Only one of the two threads ever runs.
"""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable

_STACK = 16 << 20  # some hosts give threads too little for the processor


class Abandoned(BaseException):
    """Raised in work that nobody wants to go on."""


class Runner:
    """Runs `work` until it calls `pause`, which waits for the next `resume`.

    Attributes:
        ended: Whether the work returned, failed or was abandoned.
        result: What it returned.
        error: What it raised.
    """

    def __init__(self, work: Callable[[], Any]) -> None:
        self._work = work
        self._go, self._came = threading.Lock(), threading.Lock()
        self._go.acquire()
        self._came.acquire()
        self.ended = self.abandoned = False
        self.result: Any = None
        self.error: BaseException | None = None
        before = threading.stack_size(_STACK)
        try:
            threading.Thread(target=self._main, name="kmod-emu-debuggee", daemon=True).start()
        finally:
            threading.stack_size(before)

    def resume(self) -> None:
        """Let it run; `wait` then waits until it pauses or ends."""
        self._go.release()

    def wait(self) -> None:
        """Until it pauses or ends. Ctrl-C comes through, and `wait` has to be called again."""
        self._came.acquire()

    def abandon(self) -> None:
        """End work that pauses: `Abandoned` is raised there, and wherever it pauses on its way out."""
        if not self.ended:
            self.abandoned = True
            self.resume()
            self.wait()

    def pause(self) -> None:
        """On the runner's thread: let the other go on."""
        if not self.abandoned:
            self._came.release()
            self._go.acquire()
        self.check()

    def check(self) -> None:
        """On the runner's thread: stop here if nobody wants this to go on."""
        if self.abandoned:
            raise Abandoned

    def _main(self) -> None:
        self._go.acquire()
        try:
            self.check()
            self.result = self._work()
        except Abandoned:
            pass
        except BaseException as error:
            self.error = error
        self.ended = True
        self._came.release()

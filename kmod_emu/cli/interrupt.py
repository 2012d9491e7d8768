"""Ctrl-C while guest code runs."""

from __future__ import annotations

import signal
import threading
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator


@contextmanager
def ends_at_once() -> Iterator[None]:
    """Ctrl-C ends the process inside this block.

    Python looks at signals between its own instructions, and there is none while the processor runs a
    guest's endless loop. Nothing is lost: machine files are replaced as a whole or not at all. A handler
    that somebody else has set, such as the shell's, is left alone.
    """
    mine = threading.current_thread() is threading.main_thread()
    if not mine or signal.getsignal(signal.SIGINT) is not signal.default_int_handler:
        yield
        return
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, signal.default_int_handler)

"""Telling a module load while it happens, as the sequence of steps that courses teach."""

from __future__ import annotations

import textwrap
from typing import TYPE_CHECKING

from kmod_emu.observe.steps import describe, show

if TYPE_CHECKING:
    from collections.abc import Callable

    from kmod_emu.kernel.events import Event

WIDTH = 100
_TITLE_WIDTH = 31


class Narrator:
    """A listener that prints numbered steps, and each printk line where it comes.

    Args:
        write: Takes one line without newline.
        emphasize: Marks a step's title, on a terminal with colour.
    """

    def __init__(self, write: Callable[[str], None], emphasize: Callable[[str], str] = str) -> None:
        self._write, self._emphasize = write, emphasize
        self._number = 0

    def __call__(self, event: Event) -> None:
        """Tell one event; those that are no steps are passed over."""
        if event.name == "printk":
            for line in event.detail["text"].split(b"\n"):
                self._write(f"{'':5}{'printk':>{_TITLE_WIDTH}}| {show(line)}")
            return
        step = describe(event)
        if step is None:
            return
        self._number += 1
        head = f"{self._number:3}. {step.title:{_TITLE_WIDTH}}"
        lines = textwrap.wrap(step.detail, WIDTH - len(head), break_on_hyphens=False) or [""]
        self._write(f"{head[:5]}{self._emphasize(head[5:])}{lines[0]}")
        for line in lines[1:]:
            self._write(" " * len(head) + line)

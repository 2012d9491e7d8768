"""dmesg on a 2.4 kernel: its log has no times, so without options none are shown."""

from __future__ import annotations

from typing import TYPE_CHECKING

from kmod_emu.kmod import dmesg

if TYPE_CHECKING:
    from collections.abc import Sequence

    from kmod_emu.kmod.console import Console

COMMAND = dmesg.COMMAND


def main(console: Console, args: Sequence[str]) -> int:
    """The command."""
    return dmesg.main(console, args or ["-t"])

"""Assemble the trap tails (kmod_emu/machine/traps.py) and write them beside the base-kernel image."""

import sys
from pathlib import Path

from kmod_emu.kernel.layout import ARGUMENT_PAGE, TRAP_BASE
from kmod_emu.machine.traps import build_tails

if __name__ == "__main__":
    Path(sys.argv[1]).write_bytes(build_tails(TRAP_BASE, ARGUMENT_PAGE))

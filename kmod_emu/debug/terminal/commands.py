"""All commands: importing this registers them."""

from kmod_emu.debug.terminal import breakpoints, data, info, listing, running, settings, stack, status
from kmod_emu.debug.terminal.table import commands

__all__ = ["breakpoints", "commands", "data", "info", "listing", "running", "settings", "stack", "status"]

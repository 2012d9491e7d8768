"""Lockdown: what even root may no longer do to the kernel (security/lockdown/lockdown.c)."""

from __future__ import annotations

from enum import IntEnum
from typing import TYPE_CHECKING, Any

from kmod_emu.errors import KernelError
from kmod_emu.uapi import errno

if TYPE_CHECKING:
    from kmod_emu.kernel.kernel import KernelCore


class Level(IntEnum):
    """enum lockdown_reason, its landmarks."""

    NONE = 0
    INTEGRITY = 1
    CONFIDENTIALITY = 2


class Lockdown:
    """How far the kernel is locked down; there is no way back."""

    def __init__(self, kernel: KernelCore) -> None:
        self._kernel = kernel
        self.level = Level.NONE

    def boot(self) -> None:
        """The boot option `lockdown=`; another word than a level is ignored."""
        wanted = self._kernel.cmdline.get("lockdown", "").upper()
        if wanted in (Level.INTEGRITY.name, Level.CONFIDENTIALITY.name):
            self.lock(Level[wanted], "command line")

    def lock(self, level: Level, where: str) -> None:
        """Raise the level.

        Raises:
            KernelError: EPERM, it is not lower now.
        """
        if level <= self.level:
            raise KernelError(errno.EPERM, f"the kernel is locked down: {self.level.name.lower()}")
        self.level = level
        self._kernel.printk.emit(f"Kernel is locked down from {where}; see man kernel_lockdown.7\n", 5)

    def check(self, what: str, level: Level = Level.INTEGRITY) -> None:
        """security_locked_down(): say so if it is forbidden.

        Raises:
            KernelError: EPERM.
        """
        if self.level >= level:
            comm = self._kernel.sched.current.comm
            text = f"Lockdown: {comm}: {what} is restricted; see man kernel_lockdown.7\n"
            self._kernel.printk.emit(text, 5)
            raise KernelError(errno.EPERM, f"the kernel is locked down: {what} is restricted")

    def save(self) -> Any:
        """State for a snapshot or file."""
        return int(self.level)

    def load(self, state: Any) -> None:
        """Put saved state back."""
        self.level = Level(state)

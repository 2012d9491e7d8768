"""Taint flags: what makes a kernel, or a module, untrustworthy in a bug report (kernel/panic.c)."""

from __future__ import annotations

from enum import IntEnum
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from kmod_emu.kernel.kernel import KernelCore


class Taint(IntEnum):
    """Bit numbers (include/linux/panic.h)."""

    PROPRIETARY_MODULE = 0
    FORCED_MODULE = 1
    CPU_OUT_OF_SPEC = 2
    FORCED_RMMOD = 3
    MACHINE_CHECK = 4
    BAD_PAGE = 5
    USER = 6
    DIE = 7
    OVERRIDDEN_ACPI_TABLE = 8
    WARN = 9
    CRAP = 10
    FIRMWARE_WORKAROUND = 11
    OOT_MODULE = 12
    UNSIGNED_MODULE = 13
    SOFTLOCKUP = 14
    LIVEPATCH = 15
    AUX = 16
    RANDSTRUCT = 17
    TEST = 18
    FWCTL = 19


LETTERS = "PFSRMBUDAWCIOELKXTNJ"
# Flags that a module carries too, shown behind its name (`taint_flags[].module`).
MODULE_FLAGS = frozenset("PFCOEKXTN")
# The first of these ends lock debugging: add_taint(..., LOCKDEP_NOW_UNRELIABLE).
_UNRELIABLE = {
    Taint.PROPRIETARY_MODULE,
    Taint.FORCED_MODULE,
    Taint.FORCED_RMMOD,
    Taint.DIE,
    Taint.BAD_PAGE,
}


def module_letters(taints: int, *, every: bool = False) -> str:
    """Letters of a module's own flags.

    Args:
        taints: The flags.
        every: Also those that modules cannot have: newer kernels do not ask.

    >>> module_letters(1 << Taint.OOT_MODULE | 1 << Taint.UNSIGNED_MODULE)
    'OE'
    """
    return "".join(
        letter
        for bit, letter in enumerate(LETTERS)
        if taints >> bit & 1 and (every or letter in MODULE_FLAGS)
    )


def taint_string(taints: int, count: int = 19) -> str:
    """The kernel's flags as oopses print them: one place for each of the `count` flags that a release has.

    >>> taint_string(1 << Taint.OOT_MODULE), taint_string(0)
    ('Tainted: G           O      ', 'Not tainted')
    """
    if not taints:
        return "Not tainted"
    places = (letter if taints >> bit & 1 else " " for bit, letter in enumerate(LETTERS[:count]))
    text = "".join(places)
    return f"Tainted: {text if taints & 1 else 'G' + text[1:]}"


class KernelTaint:
    """The running kernel's flags."""

    def __init__(self, kernel: KernelCore) -> None:
        self._kernel = kernel
        self.mask = 0
        self.debug_locks = True

    def test(self, flag: Taint) -> bool:
        """Whether a flag is set (test_taint)."""
        return bool(self.mask >> flag & 1)

    def add(self, flag: Taint) -> None:
        """Set a flag (add_taint); the first unreliable one ends lock debugging, which is said once."""
        if flag in _UNRELIABLE and self.debug_locks:
            self.debug_locks = False
            self._kernel.printk.emit("Disabling lock debugging due to kernel taint\n", 4)
        self.mask |= 1 << flag

    @property
    def _count(self) -> int:
        """How many flags this release has, by facts that are about as old as its last one."""
        profile = self._kernel.profile
        if profile.has("exception_table_entry.handler"):
            return Taint.TEST
        return Taint.FWCTL + profile.has("module.flagstab")

    def __str__(self) -> str:
        return taint_string(self.mask, self._count)

    def verbose(self) -> str:
        """The flags with their names, as newer kernels print them on a line of their own."""
        names = (f"[{LETTERS[flag]}]={flag.name}" for flag in Taint if self.test(flag))
        return f"Tainted: {', '.join(names)}"

    def save(self) -> Any:
        """State for a snapshot or file."""
        return [self.mask, self.debug_locks]

    def load(self, state: Any) -> None:
        """Put saved state back."""
        self.mask, self.debug_locks = state

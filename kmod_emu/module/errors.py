"""How a step of load_module refuses."""

from __future__ import annotations

from kmod_emu.errors import KernelError


class LoadError(KernelError):
    """A load step refused the module.

    Args:
        errno: The positive error number that the system call returns.
        explanation: One sentence for a person; by default the last line of dmesg.
        dmesg: The kernel's own lines as (level, text without newline); none where it refuses silently.

    >>> import errno
    >>> LoadError(errno.ENOEXEC, "", (3, "empty section name table")).explanation
    'empty section name table'
    """

    def __init__(self, errno: int, explanation: str = "", *dmesg: tuple[int, str]) -> None:
        super().__init__(errno, explanation or (dmesg[-1][1] if dmesg else ""))
        self.dmesg = dmesg


class KernelWouldCrash(Exception):
    """Here the kernel follows an unchecked value out of the module: its answer is an oops.

    Args:
        address: Where it faults.
        explanation: Which value led there.
        write: Whether the fault is a write.
    """

    def __init__(self, address: int, explanation: str = "", *, write: bool = False) -> None:
        super().__init__(f"{explanation}: {'write to' if write else 'read of'} {address:#018x}")
        self.address = address & (1 << 64) - 1
        self.explanation = explanation
        self.write = write


class OutsideImage(KernelWouldCrash):
    """Likewise, at a place that is counted from the beginning of the temporary copy."""

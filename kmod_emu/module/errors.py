"""Why a module was refused, with what the kernel says about it in dmesg."""

from __future__ import annotations

from kmod_emu.errors import KernelError


class LoadError(KernelError):
    """A load step refused the module.

    Args:
        errno: The positive error number that the system call returns.
        explanation: One sentence for a person.
        dmesg: The kernel's own lines as (level, text without newline); empty where it refuses silently.

    >>> import errno
    >>> error = LoadError(errno.ENOEXEC, "a table is empty", (3, "empty section name table"))
    >>> error.dmesg
    ((3, 'empty section name table'),)
    """

    dmesg: tuple[tuple[int, str], ...]

    def __init__(self, errno: int, explanation: str = "", *dmesg: tuple[int, str]) -> None:
        super().__init__(errno, explanation)
        self.dmesg = dmesg


class KernelWouldCrash(Exception):
    """Here the kernel follows an unchecked value out of the module: it reads or writes what is not mapped.

    Args:
        address: Where it faults; an offset into the image if the image has no address.
        explanation: Which value led there.
        write: Whether the fault is a write.
    """

    def __init__(self, address: int, explanation: str, *, write: bool = False) -> None:
        super().__init__(f"{explanation}: {'write to' if write else 'read at'} {address:#018x}")
        self.address = address
        self.explanation = explanation
        self.write = write

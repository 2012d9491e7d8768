"""Error numbers by name (lib/errname.c): the one table for ``%pe``, reports and ``run --json``.

The numbers are the kernel's own for x86, whatever system the emulator runs on.
"""

from __future__ import annotations

from kmod_emu.uapi import errno

__all__ = ["errname"]

# Numbers 512 to 530, which never leave the kernel. 531 (ENOGRACE) exists but 6.1 has no name for it.
_KERNEL_NAMES = """
ERESTARTSYS ERESTARTNOINTR ERESTARTNOHAND ENOIOCTLCMD ERESTART_RESTARTBLOCK EPROBE_DEFER EOPENSTALE ENOPARAM -
EBADHANDLE ENOTSYNC EBADCOOKIE ENOTSUPP ETOOSMALL ESERVERFAULT EBADTYPE EJUKEBOX EIOCBQUEUED ERECALLCONFLICT
"""

_BY_NUMBER = {number: name for number, name in enumerate(_KERNEL_NAMES.split(), 512) if name != "-"}
_BY_NUMBER.update(
    (number, name) for name, number in vars(errno).items() if name[0] == "E" and name != "EWOULDBLOCK"
)


def errname(err: int) -> str | None:
    """The name of an error number, with a minus sign if the number has one (lib/errname.c: errname).

    Returns:
        None where the kernel has no name for the number.

    >>> errname(2), errname(-2), errname(-517), errname(0), errname(-4095)
    ('ENOENT', '-ENOENT', '-EPROBE_DEFER', None, None)
    """
    name = _BY_NUMBER.get(abs(err))
    if name is None or err > 0:
        return name
    return "-" + name

"""The kernel's own functions behind sysctls of modules: numbers and texts (kernel/sysctl.c)."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, NamedTuple

from kmod_emu.errors import KernelError
from kmod_emu.fs.sysctl import numbers
from kmod_emu.kernel.exports import export
from kmod_emu.uapi import errno

if TYPE_CHECKING:
    from kmod_emu.abi.structs import StructView
    from kmod_emu.kernel.kernel import KernelCore

_ARGUMENTS = "(struct ctl_table *table, int write, void *buffer, size_t *lenp, loff_t *ppos)"
_USER_HZ = 100


class Kind(NamedTuple):
    """How numbers lie in memory.

    Attributes:
        size: Bytes of each.
        signed: Whether they may be negative.
        limited: Whether `extra1` and `extra2` point to the least and the greatest.
        unit: What is written and read, in hundredths ... per second; 0 is the number itself.
    """

    size: int = 4
    signed: bool = True
    limited: bool = False
    unit: int = 0


_KINDS = {
    "proc_dointvec": Kind(),
    "proc_douintvec": Kind(signed=False),
    "proc_dobool": Kind(1, signed=False),
    "proc_dointvec_minmax": Kind(limited=True),
    "proc_douintvec_minmax": Kind(signed=False, limited=True),
    "proc_dou8vec_minmax": Kind(1, signed=False, limited=True),
    "proc_doulongvec_minmax": Kind(8, signed=False, limited=True),
    "proc_dointvec_jiffies": Kind(unit=1),
    "proc_dointvec_userhz_jiffies": Kind(unit=_USER_HZ),
    "proc_dointvec_ms_jiffies": Kind(unit=1000),
}


def _finish(kernel: KernelCore, lenp: int, ppos: int, text: bytes, buffer: int) -> None:
    """What was read, or nothing behind its end."""
    room, position = kernel.memory.read_u64(lenp), kernel.memory.read_u64(ppos)
    text = b"" if position else text[:room]
    kernel.memory.write(buffer, text)
    kernel.memory.write_u64(lenp, len(text))
    kernel.memory.write_u64(ppos, position + len(text))


def _limits(kernel: KernelCore, entry: StructView, kind: Kind) -> tuple[int, int]:
    bits = 8 * kind.size
    low, high = (-(1 << bits - 1), (1 << bits - 1) - 1) if kind.signed else (0, (1 << bits) - 1)
    if kind.limited:
        size = 4 if kind.size == 1 else kind.size
        low, high = (
            int.from_bytes(kernel.memory.read(place, size), "little", signed=kind.signed) if place else limit
            for place, limit in ((entry.extra1, low), (entry.extra2, high))
        )
    return low, high


def _declare(name: str, kind: Kind) -> None:
    @export(f"int {name}{_ARGUMENTS}")
    def handler(kernel: KernelCore, table: int, write: int, buffer: int, lenp: int, ppos: int) -> int:
        """Numbers behind each other, read and written as text (kernel/sysctl.c)."""
        entry = kernel.view("ctl_table", table)
        count = entry.maxlen // kind.size
        if not entry.data or not count or not kernel.memory.read_u64(lenp):
            kernel.memory.write_u64(lenp, 0)
            return 0
        hz = kernel.profile.hz
        if not write:
            raw = kernel.memory.read(entry.data, count * kind.size)
            found = [
                int.from_bytes(raw[at : at + kind.size], "little", signed=kind.signed)
                for at in range(0, len(raw), kind.size)
            ]
            shown = [value * kind.unit // hz if kind.unit else value for value in found]
            _finish(kernel, lenp, ppos, "\t".join(map(str, shown)).encode() + b"\n", buffer)
            return 0
        given = numbers(kernel.memory.read(buffer, kernel.memory.read_u64(lenp)), count)
        given = [value * hz // kind.unit if kind.unit else value for value in given]
        low, high = _limits(kernel, entry, kind)
        if not all(low <= value <= high for value in given):
            raise KernelError(errno.EINVAL, f"the sysctl takes {low} to {high}")
        raw = b"".join(value.to_bytes(kind.size, "little", signed=kind.signed) for value in given)
        kernel.memory.write(entry.data, raw)
        return 0


for _name, _kind in _KINDS.items():
    _declare(_name, _kind)


@export(f"int proc_dostring{_ARGUMENTS}")
def proc_dostring(kernel: KernelCore, table: int, write: int, buffer: int, lenp: int, ppos: int) -> int:
    """A text, up to its first newline, cut to the room there is (kernel/sysctl.c)."""
    entry = kernel.view("ctl_table", table)
    if not entry.data or not entry.maxlen:
        kernel.memory.write_u64(lenp, 0)
        return 0
    if write:
        data = kernel.memory.read(buffer, kernel.memory.read_u64(lenp))
        kernel.memory.write(entry.data, re.split(rb"[\n\0]", data, maxsplit=1)[0][: entry.maxlen - 1] + b"\0")
    else:
        text = kernel.memory.read(entry.data, entry.maxlen).partition(b"\0")[0]
        _finish(kernel, lenp, ppos, text + b"\n", buffer)
    return 0

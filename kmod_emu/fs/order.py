"""The order in which directories list their entries, which getdents(2) shows and `ls -U` prints.

kernfs keeps entries in a tree by a hash of the name (fs/kernfs/dir.c), proc by length and then bytes
(fs/proc/generic.c).
"""

from __future__ import annotations

_GOLDEN_RATIO_64 = 0x61C8864680B583EB
_MASK64 = (1 << 64) - 1


def kernfs_name_hash(name: str) -> int:
    """The hash that orders entries of sysfs.

    >>> sorted(["taint", "initsize", "uevent"], key=kernfs_name_hash)
    ['initsize', 'uevent', 'taint']
    """
    value = 0
    for character in name.encode("utf-8", "surrogateescape"):
        value = (value + (character << 4) + (character >> 4)) * 11 & _MASK64
    value = (value * _GOLDEN_RATIO_64 & _MASK64) >> 32 & 0x7FFF_FFFF
    if value < 2:
        return value + 2  # 0 and 1 stand for `.` and `..`
    return min(value, 0x7FFF_FFFE)


def sysfs_key(name: str) -> tuple[int, bytes]:
    """Sort key for a directory of sysfs."""
    return kernfs_name_hash(name), name.encode("utf-8", "surrogateescape")


def proc_key(name: str) -> tuple[int, bytes]:
    """Sort key for a directory of proc.

    >>> sorted(["modules", "sys", "kallsyms", "uptime"], key=proc_key)
    ['sys', 'uptime', 'modules', 'kallsyms']
    """
    raw = name.encode("utf-8", "surrogateescape")
    return len(raw), raw

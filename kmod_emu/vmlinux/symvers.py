"""Module.symvers, the list of exports that kbuild writes (Documentation/kbuild/modules.rst)."""

from __future__ import annotations

import re

from kmod_emu.abi.export_table import Export

__all__ = ["BadSymvers", "read_symvers"]

_KERNEL = "vmlinux"
_NAME = re.compile(r"[A-Za-z_.$][\w.$]*\Z")


class BadSymvers(ValueError):
    """Not a Module.symvers; the text is a sentence."""


def read_symvers(text: str) -> list[Export]:
    r"""The symbols that the kernel itself exports, sorted by name; their addresses are not known and 0.

    A line is `CRC name module licence [namespace]`, separated by tabs; in 5.4 to 5.7 the namespace came
    before the module. CRCs that are all 0 mean a kernel without MODVERSIONS.

    Raises:
        BadSymvers: A line is none of these, or the kernel exports nothing.

    >>> read_symvers("0x92997ed8\t_printk\tvmlinux\tEXPORT_SYMBOL\t\n")
    [Export(name='_printk', crc=2459533016, gpl=False, namespace='', value=0)]
    """
    rows: dict[str, Export] = {}
    for number, line in enumerate(text.splitlines(), 1):
        if not line.strip():
            continue
        fields = line.split("\t")
        licence = next((at for at, field in enumerate(fields) if field.startswith("EXPORT_")), 0)
        if licence not in (3, 4) or not _NAME.match(fields[1]):
            raise BadSymvers(f"line {number} is not a line of a Module.symvers: {line[:60]!r}")
        try:
            crc = int(fields[0], 16) & 0xFFFF_FFFF
        except ValueError:
            raise BadSymvers(f"line {number} has no CRC: {line[:60]!r}") from None
        namespace = fields[2] if licence == 4 else (fields[4] if len(fields) > 4 else "")
        if fields[licence - 1] == _KERNEL:
            rows[fields[1]] = Export(fields[1], crc, "GPL" in fields[licence], namespace, 0)
    if not rows:
        raise BadSymvers("it lists no symbol of the kernel itself (vmlinux)")
    if not any(row.crc for row in rows.values()):
        return [row._replace(crc=None) for _, row in sorted(rows.items())]
    return [row for _, row in sorted(rows.items())]

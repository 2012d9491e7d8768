"""The table of drivers: which function of which module each operation of a device leads to.

Before loadable modules a kernel chose the driver's function by a `switch` over the major number, fixed when
it was compiled. register_chrdev() replaced that by a table of pointers, which a module fills in when it
comes.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from kmod_emu.drivers.misc import MISC_MAJOR, Misc
from kmod_emu.fs.char_dev import CharDevices
from kmod_emu.uapi.stat import major, minor, mkdev

if TYPE_CHECKING:
    from kmod_emu.kernel.kernel import KernelCore


class Driver(NamedTuple):
    """One row: a range of device numbers, and who serves it.

    Attributes:
        operations: Operation -> the function it leads to, as `symbol+0x0/0x1c [module]`.
    """

    major: int
    first: int
    last: int
    name: str
    operations: dict[str, str]


def dev_func_i_table(kernel: KernelCore, *, everything: bool = False) -> list[Driver]:
    """All drivers that modules registered, by number; with `everything` also those of the base kernel."""
    devices, rows = kernel[CharDevices], []
    names = {(region.major, region.baseminor): region.name for region in devices}
    seen = set()
    for chain in devices.probes:
        for probe in chain:
            if (probe.dev, probe.range) in seen:
                continue
            seen.add((probe.dev, probe.range))
            number, first = major(probe.dev), minor(probe.dev)
            name = names.get((number, first), "") or _containing(devices, number, first)
            if isinstance(probe.cdev, int):
                fops = kernel.view("cdev", probe.cdev).ops
                rows.append(Driver(number, first, first + probe.range - 1, name, operations_in(kernel, fops)))
            elif everything:
                rows.append(Driver(number, first, first + probe.range - 1, name, {}))
    for misc in kernel[Misc].list if kernel.has(Misc) else ():  # a distribution's kernel has its own
        view = kernel[Misc].view(misc)
        text = kernel.memory.read_text(view.get("name"))
        rows.append(Driver(MISC_MAJOR, view.minor, view.minor, text, operations_in(kernel, view.fops)))
    return sorted(rows, key=lambda row: mkdev(row.major, row.first))


def _containing(devices: CharDevices, number: int, first: int) -> str:
    for region in devices:
        if region.major == number and region.baseminor <= first < region.baseminor + region.minorct:
            return region.name
    return ""


def operations_in(kernel: KernelCore, fops: int) -> dict[str, str]:
    """The functions in a `struct file_operations`, in its order."""
    if not fops or not kernel.memory.mapped(fops):
        return {}
    members = kernel.profile.struct("file_operations").members
    found = {}
    for name, member in sorted(members.items(), key=lambda item: item[1].offset):
        if name != "owner" and member.size == 8 and (pointer := kernel.memory.read_u64(fops + member.offset)):
            found[name] = kernel.describe(pointer)
    return found

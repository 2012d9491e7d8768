"""The table of drivers, as the kernel has it (fs/char_dev.c, drivers/base/map.c, drivers/char/misc.c)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from kmod_emu.abi import lists
from kmod_emu.drivers.table import Driver, operations_in
from kmod_emu.errors import KernelError
from kmod_emu.kernel.layout import MODULES_SIZE
from kmod_emu.uapi import errno
from kmod_emu.uapi.stat import major, minor, mkdev

if TYPE_CHECKING:
    from collections.abc import Iterator

    from kmod_emu.abi.structs import StructView
    from kmod_emu.vmlinux.kernel import VmlinuxKernel

_CHAINS, _MISC_MAJOR = 255, 10
_LARGEST = 1 << 20  # numbers of a driver; what serves all others, to ask for a module, has more


def drivers(kernel: VmlinuxKernel, *, everything: bool) -> list[Driver]:
    """All drivers of character devices that modules registered, with `everything` also the kernel's own.

    Raises:
        KernelError: Nothing is known of the kernel's types.
    """
    if not kernel.has_types:
        raise KernelError(errno.EOPNOTSUPP, "this kernel was built without a description of its types (BTF)")
    regions = list(_regions(kernel))
    rows = []
    for probe in _chained(kernel, "probe", kernel.memory.read_u64(kernel.symbol("cdev_map"))):
        if probe.range > _LARGEST:
            continue
        number, first, last = major(probe.dev), minor(probe.dev), minor(probe.dev) + probe.range - 1
        name = next((each[3] for each in regions if each[0] == number and each[1] <= first <= each[2]), "")
        rows.append((Driver(number, first, last, name, {}), kernel.view("cdev", probe.data).ops))
    offset = kernel.profile.offset("miscdevice", "list")
    for entry in lists.walk(kernel.memory, kernel.symbol("misc_list")):
        misc = kernel.view("miscdevice", entry - offset)
        number = minor(misc.minor)
        name = kernel.memory.read_text(misc.get("name"))
        rows.append((Driver(_MISC_MAJOR, number, number, name, {}), misc.fops))
    modules = range(kernel.modules_start, kernel.modules_start + MODULES_SIZE)
    found = {row[:3]: (row, fops) for row, fops in rows if everything or fops in modules}
    return [
        row._replace(operations=operations_in(kernel, fops))
        for row, fops in sorted(found.values(), key=lambda each: mkdev(each[0].major, each[0].first))
    ]


def _regions(kernel: VmlinuxKernel) -> Iterator[tuple[int, int, int, str]]:
    """Numbers that somebody has asked for: major, first and last minor, whose."""
    for region in _chained(kernel, "char_device_struct", kernel.symbol("chrdevs")):
        last = region.baseminor + region.minorct - 1
        yield region.major, region.baseminor, last, region.text("name")


def _chained(kernel: VmlinuxKernel, struct: str, table: int) -> Iterator[StructView]:
    """What is in the chains of a table, each once."""
    seen: set[int] = set()
    for chain in range(_CHAINS):
        place = kernel.memory.read_u64(table + 8 * chain)
        while place and place not in seen:
            seen.add(place)
            view = kernel.view(struct, place)
            yield view
            place = view.get("next")

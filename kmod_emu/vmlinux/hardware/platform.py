"""Devices on the kernel's platform bus."""

from __future__ import annotations

from typing import TYPE_CHECKING

from kmod_emu.vmlinux.hardware.ask import ask, borrowed, made, make

if TYPE_CHECKING:
    from kmod_emu.vmlinux.kernel import VmlinuxKernel


def make_platform_device(
    kernel: VmlinuxKernel, name: str, number: int, resources: list[tuple[int, int, int]]
) -> int:
    """A platform device with resources as (first, last, type); number -1 is for one that has none.

    Raises:
        KernelError: It cannot be made.
    """
    size, text = kernel.profile.struct("resource").size, name.encode() + b"\0"
    with borrowed(kernel, "platform_device_info", size * len(resources) + len(text)) as info:
        table = info.address + info.layout.size
        for index, (first, last, kind) in enumerate(resources):
            view = kernel.view("resource", table + index * size)
            view.start, view.end, view.flags = first, last, kind
        place = table + size * len(resources)
        kernel.memory.write(place, text)
        info.set("name", place)
        info.id, info.res, info.num_res = number, table, len(resources)
        what = f"the platform device {name}"
        return make(kernel, "platform_device_register_full", info.address, what=what)


def make_platform_driver(kernel: VmlinuxKernel, name: str) -> None:
    """A platform driver that takes devices of its name, and does nothing with them.

    Raises:
        KernelError: It cannot be made.
    """
    text = name.encode() + b"\0"
    driver = made(kernel, "platform_driver", len(text))
    place = driver.address + driver.layout.size
    kernel.memory.write(place, text)
    kernel.view("device_driver", driver.addressof("driver")).set("name", place)
    owner = mod_name = 0  # the second is asked for by later kernels
    what = f"the platform driver {name}"
    ask(kernel, "__platform_driver_register", driver.address, owner, mod_name, what=what)

"""Being told of the devices of a class (drivers/base/class.c)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from kmod_emu.drivers.core import Devices
from kmod_emu.kernel.exports import export
from kmod_emu.uapi import errno

if TYPE_CHECKING:
    from kmod_emu.abi.structs import StructView
    from kmod_emu.kernel.kernel import KernelCore


@export("int class_interface_register(struct class_interface *class_intf)")
async def class_interface_register(kernel: KernelCore, class_intf: StructView) -> int:
    """`add_dev` is called for each device that is there, and that comes; ENODEV without a class."""
    devices = kernel[Devices]
    if not class_intf.get("class"):
        return -errno.ENODEV
    devices.interfaces.append(class_intf.address)
    for dev in devices.of_class(class_intf.get("class")):
        await devices.call_interface(class_intf.address, "add_dev", dev)
    return 0


@export("void class_interface_unregister(struct class_interface *class_intf)")
async def class_interface_unregister(kernel: KernelCore, class_intf: StructView) -> None:
    """`remove_dev` is called for each."""
    devices = kernel[Devices]
    if class_intf.address in devices.interfaces:
        devices.interfaces.remove(class_intf.address)
        for dev in devices.of_class(class_intf.get("class")):
            await devices.call_interface(class_intf.address, "remove_dev", dev)

"""Devices at the top of /sys/devices, parents for others (drivers/base/core.c)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from kmod_emu.drivers.core import Devices, error_pointer
from kmod_emu.drivers.device import device_unregister
from kmod_emu.kernel.exports import export
from kmod_emu.uapi import errno

if TYPE_CHECKING:
    from kmod_emu.kernel.kernel import KernelCore


@export("struct device *__root_device_register(const char *name, struct module *owner)")
async def __root_device_register(kernel: KernelCore, name: bytes, owner: int) -> int:
    """A device with a name and nothing else; its module lies behind it."""
    size = kernel.profile.struct("device").size
    dev = kernel.heap.kmalloc(size + 8)
    if not dev:
        return error_pointer(-errno.ENOMEM)
    kernel.memory.write_u64(dev + size, owner)
    kernel.kobjects.set_name(dev, name)
    kernel.view("device", dev).release = kernel.symbol("device_create_release")
    kernel[Devices].initialize(dev)
    error = await kernel[Devices].add(dev)
    if error:
        await kernel.kobjects.put(dev)
        return error_pointer(error)
    return dev


@export("void root_device_unregister(struct device *dev)")
async def root_device_unregister(kernel: KernelCore, dev: int) -> None:
    """It goes."""
    await device_unregister(kernel, dev)

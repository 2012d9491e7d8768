"""What stands behind caches of files, in /sys/class/bdi (mm/backing-dev.c); nothing is written back."""

from __future__ import annotations

from typing import TYPE_CHECKING

from kmod_emu.drivers.attributes import define_class
from kmod_emu.drivers.device import create_device, device_unregister
from kmod_emu.kernel.exports import Fidelity, export
from kmod_emu.kernel.vsprintf import vsnprintf

if TYPE_CHECKING:
    from kmod_emu.abi.structs import StructView
    from kmod_emu.kernel.kernel import KernelCore
    from kmod_emu.kernel.va_list import Arguments

define_class("bdi")


@export("struct backing_dev_info *bdi_alloc(int node_id)", Fidelity.REGISTRATION)
def bdi_alloc(kernel: KernelCore, node_id: int) -> int:
    """One that is not shown yet."""
    bdi = kernel.view("backing_dev_info", kernel.heap.kmalloc(kernel.profile.struct("backing_dev_info").size))
    bdi.refcnt = 1
    return bdi.address


@export("int bdi_register(struct backing_dev_info *bdi, const char *fmt, ...)", Fidelity.REGISTRATION)
async def bdi_register(kernel: KernelCore, bdi: StructView, fmt: bytes, args: Arguments) -> int:
    """A device in /sys/class/bdi."""
    name = vsnprintf(fmt, args, kernel.format_context)
    dev = await create_device(kernel, kernel.symbol("bdi_class"), 0, 0, bdi.address, 0, name)
    if dev > _MAX_POINTER:
        return dev - (1 << 64)
    bdi.dev = dev
    return 0


_MAX_POINTER = (1 << 64) - 4096


@export("void bdi_unregister(struct backing_dev_info *bdi)", Fidelity.REGISTRATION)
async def bdi_unregister(kernel: KernelCore, bdi: StructView) -> None:
    """It goes."""
    dev, bdi.dev = bdi.dev, 0
    if dev:
        await device_unregister(kernel, dev)


@export("void bdi_put(struct backing_dev_info *bdi)", Fidelity.REGISTRATION)
async def bdi_put(kernel: KernelCore, bdi: StructView) -> None:
    """The last reference frees it, shown or not."""
    bdi.refcnt -= 1
    if not bdi.refcnt:
        await bdi_unregister(kernel, bdi)
        kernel.heap.kfree(bdi.address)

"""Firmware that drivers ask for (drivers/base/firmware_loader/main.c): there is none on this machine."""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING, Any

from kmod_emu.drivers.dev_printk import prefix
from kmod_emu.drivers.platform import name_at
from kmod_emu.kernel.exports import Fidelity, export
from kmod_emu.uapi import errno

if TYPE_CHECKING:
    from kmod_emu.kernel.kernel import KernelCore

_HINT = "firmware_class: See https://wiki.debian.org/Firmware for information about missing firmware"
_REQUEST = struct.Struct("<5Q")  # module, name, device, context, what to call


class Firmware:
    """Whether the kernel has said where firmware is to be had: it does so once."""

    def __init__(self, kernel: KernelCore) -> None:
        self._kernel = kernel
        self._hinted = False

    def missing(self, name: str, device: int, *, quiet: bool = False) -> int:
        """What the log says of a file that is not there, in both places; -ENOENT."""
        if quiet:
            return -errno.ENOENT
        emit, who = self._kernel.printk.emit, prefix(self._kernel, device)
        for _ in range(2):
            emit(f"{who}firmware: failed to load {name} ({-errno.ENOENT})\n", 3)
            if not self._hinted:
                emit(f"{_HINT}\n", 3)
                self._hinted = True
        emit(f"{who}Direct firmware load for {name} failed with error {-errno.ENOENT}\n", 4)
        return -errno.ENOENT

    def save(self) -> Any:
        """State for a snapshot or file."""
        return self._hinted

    def load(self, state: Any) -> None:
        """Put saved state back."""
        self._hinted = bool(state)


def _declare(name: str, *, quiet: bool) -> None:
    @export(f"int {name}(const struct firmware **fw, const char *name, struct device *device)")
    def request(kernel: KernelCore, fw: int, name: int, device: int) -> int:
        """ENOENT, and the lines that go with it."""
        kernel.memory.write_u64(fw, 0)
        text = name_at(kernel, name).decode("utf-8", "backslashreplace")
        return kernel[Firmware].missing(text, device, quiet=quiet) if text else -errno.EINVAL


_declare("request_firmware", quiet=False)
_declare("firmware_request_nowarn", quiet=True)
_declare("request_firmware_direct", quiet=True)


@export("void release_firmware(const struct firmware *fw)")
def release_firmware(kernel: KernelCore, fw: int) -> None:
    """Nobody has got one."""


@export(
    "int request_firmware_nowait(struct module *module, bool uevent, const char *name, struct device *device,"
    " gfp_t gfp, void *context, void (*cont)(const struct firmware *fw, void *context))"
)
def request_firmware_nowait(
    kernel: KernelCore, module: int, uevent: int, name: int, device: int, gfp: int, context: int, cont: int
) -> int:
    """A worker says that there is none, and calls the driver with NULL; its module stays meanwhile."""
    if not kernel.try_module_get(module):
        return -errno.EFAULT
    text = name_at(kernel, name) + b"\0"
    kernel.kobjects.get(device)
    size = kernel.profile.struct("work_struct").size
    work = kernel.heap.kmalloc(size + _REQUEST.size + len(text))
    kernel.memory.write(work + size + _REQUEST.size, text)
    request = _REQUEST.pack(module, work + size + _REQUEST.size, device, context, cont)
    kernel.memory.write(work + size, request)
    view = kernel.view("work_struct", work)
    view.func = kernel.symbol("request_firmware_work_func")
    kernel.memory.write_u64(view.addressof("entry"), view.addressof("entry"))
    kernel.memory.write_u64(view.addressof("entry") + 8, view.addressof("entry"))
    kernel.workqueues.queue(kernel.memory.read_u64(kernel.symbol("system_wq")), work)
    return 0


@export("void request_firmware_work_func(struct work_struct *work)", Fidelity.APPROXIMATE)
async def request_firmware_work_func(kernel: KernelCore, work: int) -> None:
    """What the worker does."""
    place = work + kernel.profile.struct("work_struct").size
    module, name, device, context, cont = _REQUEST.unpack(kernel.memory.read(place, _REQUEST.size))
    kernel[Firmware].missing(kernel.memory.read_text(name), device)
    await kernel.call_guest(cont, 0, context)
    await kernel.kobjects.put(device)
    kernel.module_put(module)
    kernel.heap.kfree(work)

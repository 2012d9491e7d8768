"""Attributes of devices that show a variable, and files and groups added by hand (drivers/base/core.c)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from kmod_emu.fs.sysfs_group import (
    sysfs_create_bin_file,
    sysfs_create_groups,
    sysfs_remove_bin_file,
    sysfs_remove_groups,
)
from kmod_emu.kernel.exports import export
from kmod_emu.uapi import errno

if TYPE_CHECKING:
    from kmod_emu.kernel.kernel import KernelCore

# How each kind of variable shows, the function that parses it, its size, and whether it has a sign.
_KINDS = {"ulong": ("%x\n", "kstrtoull", 8, False), "int": ("%d\n", "kstrtoll", 4, True),
          "bool": ("%d\n", "kstrtobool", 1, False)}  # fmt: skip


def _variable(kernel: KernelCore, attr: int) -> int:
    """Where the variable lies: behind the device_attribute (struct dev_ext_attribute)."""
    return kernel.memory.read_u64(attr + kernel.profile.struct("device_attribute").size)


def _define(kind: str, form: str, parser: str, size: int, signed: bool) -> None:
    @export(f"ssize_t device_show_{kind}(struct device *dev, struct device_attribute *attr, char *buf)")
    def show(kernel: KernelCore, dev: int, attr: int, buf: int) -> int:
        """The variable's value."""
        raw = kernel.memory.read(_variable(kernel, attr), size)
        text = (form % int.from_bytes(raw, "little", signed=signed)).encode()
        kernel.memory.write(buf, text + b"\0")
        return len(text)

    @export(
        f"ssize_t device_store_{kind}(struct device *dev, struct device_attribute *attr, const char *buf, "
        "size_t size)"
    )
    async def store(kernel: KernelCore, dev: int, attr: int, buf: int, count: int) -> int:
        """Set it: all bytes were taken, or EINVAL."""
        place, function = kernel.heap.kmalloc(8), kernel.symbol(parser)
        arguments = (buf, place) if kind == "bool" else (buf, 0, place)
        error = await kernel.call_guest_int(function, *arguments)
        value = int.from_bytes(kernel.memory.read(place, 8), "little", signed=signed)
        kernel.heap.kfree(place)
        if error:
            return -errno.EINVAL if kind == "bool" else error
        if signed and not -(1 << 31) <= value < 1 << 31:
            return -errno.EINVAL
        kernel.memory.write(_variable(kernel, attr), value.to_bytes(8, "little", signed=signed)[:size])
        return count


for _kind, _facts in _KINDS.items():
    _define(_kind, *_facts)


@export("int device_create_bin_file(struct device *dev, const struct bin_attribute *attr)")
def device_create_bin_file(kernel: KernelCore, dev: int, attr: int) -> int:
    """A binary attribute of a device."""
    return sysfs_create_bin_file(kernel, dev, attr) if dev else -errno.EINVAL


@export("void device_remove_bin_file(struct device *dev, const struct bin_attribute *attr)")
def device_remove_bin_file(kernel: KernelCore, dev: int, attr: int) -> None:
    """Take it away."""
    if dev:
        sysfs_remove_bin_file(kernel, dev, attr)


@export("int device_add_groups(struct device *dev, const struct attribute_group **groups)")
async def device_add_groups(kernel: KernelCore, dev: int, groups: int) -> int:
    """Groups of attributes of a device."""
    return await sysfs_create_groups(kernel, dev, groups)


@export("void device_remove_groups(struct device *dev, const struct attribute_group **groups)")
def device_remove_groups(kernel: KernelCore, dev: int, groups: int) -> None:
    """Take them away."""
    sysfs_remove_groups(kernel, dev, groups)

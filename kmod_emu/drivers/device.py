"""What drivers call to register classes and devices (drivers/base/core.c, class.c)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from kmod_emu.drivers import devres
from kmod_emu.drivers.core import Devices, error_pointer
from kmod_emu.fs.char_dev import cdev_add, cdev_del, cdev_set_parent
from kmod_emu.fs.sysfs_group import sysfs_create_file_ns, sysfs_remove_file_ns
from kmod_emu.kernel.exports import export
from kmod_emu.kernel.vsprintf import vsnprintf
from kmod_emu.machine.memory import PAGE_SIZE
from kmod_emu.uapi import errno

if TYPE_CHECKING:
    from kmod_emu.kernel.kernel import KernelCore
    from kmod_emu.kernel.va_list import Arguments

_MAX_ERRNO = 4095


def _is_error(pointer: int) -> bool:
    return pointer == 0 or pointer >= (1 << 64) - _MAX_ERRNO


# --- classes --------------------------------------------------------------------------------------------


async def _class_create(kernel: KernelCore, owner: int, name: int) -> int:
    cls = kernel.heap.kmalloc(kernel.profile.struct("class").size)
    if not cls:
        return error_pointer(-errno.ENOMEM)
    view = kernel.view("class", cls)
    view.set("name", name)
    if view.has("owner"):
        view.owner = owner
    view.class_release = kernel.symbol("class_create_release")
    error = await kernel[Devices].register_class(cls)
    if error:
        kernel.heap.kfree(cls)
        return error_pointer(error)
    return cls


@export("struct class *__class_create(struct module *owner, const char *name, struct lock_class_key *key)")
async def __class_create(kernel: KernelCore, owner: int, name: int, key: int) -> int:
    """A class with a directory in /sys/class (drivers/base/class.c)."""
    return await _class_create(kernel, owner, name)


@export("struct class *class_create(const char *name)")
async def class_create(kernel: KernelCore, name: int) -> int:
    """__class_create's successor (drivers/base/class.c)."""
    return await _class_create(kernel, 0, name)


@export("void class_create_release(struct class *cls)")
def class_create_release(kernel: KernelCore, cls: int) -> None:
    """Free what class_create() made (drivers/base/class.c)."""
    kernel.heap.kfree(cls)


@export("int __class_register(struct class *cls, struct lock_class_key *key)")
async def __class_register(kernel: KernelCore, cls: int, key: int) -> int:
    """Register a class of the driver's own (drivers/base/class.c)."""
    return await kernel[Devices].register_class(cls)


@export("int class_register(const struct class *cls)")
async def class_register(kernel: KernelCore, cls: int) -> int:
    """__class_register's successor (drivers/base/class.c)."""
    return await kernel[Devices].register_class(cls)


@export("void class_unregister(struct class *cls)")
async def class_unregister(kernel: KernelCore, cls: int) -> None:
    """Remove a class (drivers/base/class.c)."""
    await kernel[Devices].unregister_class(cls)


@export("void class_destroy(struct class *cls)")
async def class_destroy(kernel: KernelCore, cls: int) -> None:
    """Remove a class of class_create(); errors are fine (drivers/base/class.c)."""
    if not _is_error(cls):
        await kernel[Devices].unregister_class(cls)


@export("int class_create_file_ns(struct class *cls, const struct class_attribute *attr, const void *ns)")
def class_create_file_ns(kernel: KernelCore, cls: int, attr: int, ns: int) -> int:
    """A file in the class's directory (drivers/base/class.c)."""
    kobj = kernel[Devices].classes.get(cls, 0)
    return sysfs_create_file_ns(kernel, kobj, attr, ns) if kobj else -errno.EINVAL


@export("void class_remove_file_ns(struct class *cls, const struct class_attribute *attr, const void *ns)")
def class_remove_file_ns(kernel: KernelCore, cls: int, attr: int, ns: int) -> None:
    """Remove it (drivers/base/class.c)."""
    if kobj := kernel[Devices].classes.get(cls, 0):
        sysfs_remove_file_ns(kernel, kobj, attr, ns)


# --- devices --------------------------------------------------------------------------------------------


@export("void device_initialize(struct device *dev)")
def device_initialize(kernel: KernelCore, dev: int) -> None:
    """Prepare a struct device (drivers/base/core.c)."""
    kernel[Devices].initialize(dev)


@export("int device_add(struct device *dev)")
async def device_add(kernel: KernelCore, dev: int) -> int:
    """Show it in /sys and /dev (drivers/base/core.c)."""
    return await kernel[Devices].add(dev) if dev else -errno.EINVAL


@export("int device_register(struct device *dev)")
async def device_register(kernel: KernelCore, dev: int) -> int:
    """Both (drivers/base/core.c)."""
    kernel[Devices].initialize(dev)
    return await kernel[Devices].add(dev)


@export("void device_del(struct device *dev)")
async def device_del(kernel: KernelCore, dev: int) -> None:
    """Show it no longer (drivers/base/core.c)."""
    await kernel[Devices].delete(dev)


@export("void device_unregister(struct device *dev)")
async def device_unregister(kernel: KernelCore, dev: int) -> None:
    """Show it no longer and drop it (drivers/base/core.c)."""
    await kernel[Devices].delete(dev)
    await kernel.kobjects.put(dev)


@export("struct device *get_device(struct device *dev)")
def get_device(kernel: KernelCore, dev: int) -> int:
    """One more reference (drivers/base/core.c)."""
    return kernel.kobjects.get(dev)


@export("void put_device(struct device *dev)")
async def put_device(kernel: KernelCore, dev: int) -> None:
    """One reference less (drivers/base/core.c)."""
    await kernel.kobjects.put(dev)


@export("int dev_set_name(struct device *dev, const char *fmt, ...)")
def dev_set_name(kernel: KernelCore, dev: int, fmt: bytes, args: Arguments) -> int:
    """Name it (drivers/base/core.c)."""
    return kernel.kobjects.set_name(dev, vsnprintf(fmt, args, kernel.format_context))


async def create_device(
    kernel: KernelCore,
    cls: int,
    parent: int,
    devt: int,
    drvdata: int,
    groups: int,
    name: bytes,
    kind: str = "",
) -> int:
    """device_create_groups_vargs(): the device, or an error pointer."""
    if _is_error(cls):
        return error_pointer(-errno.ENODEV)
    dev = kernel.heap.kmalloc(kernel.profile.struct("device").size)
    if not dev:
        return error_pointer(-errno.ENOMEM)
    kernel[Devices].initialize(dev)
    view = kernel.view("device", dev)
    view.devt, view.parent, view.groups = devt, parent, groups
    view.set("class", cls)
    view.set("type", kernel.symbol(kind) if kind else 0)
    view.release = kernel.symbol("device_create_release")
    view.driver_data = drvdata
    kernel.kobjects.set_name(dev, name)
    error = await kernel[Devices].add(dev)
    if error:
        await kernel.kobjects.put(dev)
        return error_pointer(error)
    return dev


@export(
    "struct device *device_create(struct class *class, struct device *parent, dev_t devt, void *drvdata,"
    " const char *fmt, ...)"
)
async def device_create(
    kernel: KernelCore, cls: int, parent: int, devt: int, drvdata: int, fmt: bytes, args: Arguments
) -> int:
    """A device with a node in /dev (drivers/base/core.c)."""
    name = vsnprintf(fmt, args, kernel.format_context)
    return await create_device(kernel, cls, parent, devt, drvdata, 0, name)


@export(
    "struct device *device_create_with_groups(struct class *class, struct device *parent, dev_t devt,"
    " void *drvdata, const struct attribute_group **groups, const char *fmt, ...)"
)
async def device_create_with_groups(
    kernel: KernelCore,
    cls: int,
    parent: int,
    devt: int,
    drvdata: int,
    groups: int,
    fmt: bytes,
    args: Arguments,
) -> int:
    """device_create with attributes (drivers/base/core.c)."""
    name = vsnprintf(fmt, args, kernel.format_context)
    return await create_device(kernel, cls, parent, devt, drvdata, groups, name)


@export("void device_destroy(struct class *class, dev_t devt)")
async def device_destroy(kernel: KernelCore, cls: int, devt: int) -> None:
    """Remove what device_create() made; silent if there is none (drivers/base/core.c)."""
    if dev := kernel[Devices].find(cls, devt):
        await device_unregister(kernel, dev)


@export("void device_create_release(struct device *dev)")
def device_create_release(kernel: KernelCore, dev: int) -> None:
    """Free it (drivers/base/core.c)."""
    kernel.heap.kfree(dev)


@export("int device_create_file(struct device *dev, const struct device_attribute *attr)")
def device_create_file(kernel: KernelCore, dev: int, attr: int) -> int:
    """A file in its directory (drivers/base/core.c)."""
    return sysfs_create_file_ns(kernel, dev, attr, 0) if dev else 0


@export("void device_remove_file(struct device *dev, const struct device_attribute *attr)")
def device_remove_file(kernel: KernelCore, dev: int, attr: int) -> None:
    """Remove it (drivers/base/core.c)."""
    if dev:
        sysfs_remove_file_ns(kernel, dev, attr, 0)


@export("int cdev_device_add(struct cdev *cdev, struct device *dev)")
async def cdev_device_add(kernel: KernelCore, cdev: int, dev: int) -> int:
    """Serve a device's number and show the device (fs/char_dev.c)."""
    devt = kernel.view("device", dev).devt
    if devt:
        cdev_set_parent(kernel, cdev, dev)
        error = cdev_add(kernel, cdev, devt, 1)
        if error:
            return error
    error = await kernel[Devices].add(dev)
    if error and devt:
        await cdev_del(kernel, cdev)
    return error


@export("void cdev_device_del(struct cdev *cdev, struct device *dev)")
async def cdev_device_del(kernel: KernelCore, cdev: int, dev: int) -> None:
    """The reverse (fs/char_dev.c)."""
    devt = kernel.view("device", dev).devt
    await kernel[Devices].delete(dev)
    if devt:
        await cdev_del(kernel, cdev)


# --- what /sys calls ------------------------------------------------------------------------------------


async def _show(kernel: KernelCore, struct: str, subject: int, attr: int, buf: int) -> int:
    show = kernel.view(struct, attr).show
    if not show:
        return -errno.EIO
    result = await kernel.call_guest(show, subject, attr, buf)
    if PAGE_SIZE <= result < 1 << 63:
        kernel.printk.emit(f"dev_attr_show: {kernel.describe(show)} returned bad count\n", 4)
    return result


async def _store(kernel: KernelCore, struct: str, subject: int, attr: int, buf: int, count: int) -> int:
    store = kernel.view(struct, attr).store
    return await kernel.call_guest(store, subject, attr, buf, count) if store else -errno.EIO


@export("ssize_t dev_attr_show(struct kobject *kobj, struct attribute *attr, char *buf)")
async def dev_attr_show(kernel: KernelCore, kobj: int, attr: int, buf: int) -> int:
    """Read a device_attribute (drivers/base/core.c)."""
    return await _show(kernel, "device_attribute", kobj, attr, buf)


@export("ssize_t dev_attr_store(struct kobject *kobj, struct attribute *attr, const char *buf, size_t count)")
async def dev_attr_store(kernel: KernelCore, kobj: int, attr: int, buf: int, count: int) -> int:
    """Write a device_attribute (drivers/base/core.c)."""
    return await _store(kernel, "device_attribute", kobj, attr, buf, count)


@export("ssize_t class_attr_show(struct kobject *kobj, struct attribute *attr, char *buf)")
async def class_attr_show(kernel: KernelCore, kobj: int, attr: int, buf: int) -> int:
    """Read a class_attribute (drivers/base/class.c)."""
    return await _show(kernel, "class_attribute", kernel[Devices].class_of_kobject(kobj), attr, buf)


@export(
    "ssize_t class_attr_store(struct kobject *kobj, struct attribute *attr, const char *buf, size_t count)"
)
async def class_attr_store(kernel: KernelCore, kobj: int, attr: int, buf: int, count: int) -> int:
    """Write a class_attribute (drivers/base/class.c)."""
    cls = kernel[Devices].class_of_kobject(kobj)
    return await _store(kernel, "class_attribute", cls, attr, buf, count)


@export("void device_release(struct kobject *kobj)")
async def device_release(kernel: KernelCore, kobj: int) -> None:
    """The last reference is gone: its own, its type's or its class's release (drivers/base/core.c)."""
    await devres.release_all(kernel, kobj)
    view = kernel.view("device", kobj)
    release, cls = view.release, view.get("class")
    if not release and view.get("type"):
        release = kernel.view("device_type", view.get("type")).release
    if not release and cls:
        release = kernel.view("class", cls).dev_release
    if release:
        await kernel.call_guest(release, kobj)
        return
    name = kernel.kobjects.name(kobj)
    text = f"Device '{name}' does not have a release() function, it is broken and must be fixed."
    kernel.warnings.warn(
        "drivers/base/core.c", 2332, f"{text} See Documentation/core-api/kobject.rst.", "device_release"
    )


@export("void class_release(struct kobject *kobj)")
def class_release(kernel: KernelCore, kobj: int) -> None:
    """Free a class's kobject (drivers/base/class.c)."""
    kernel.heap.kfree(kobj)


@export("struct class_compat *class_compat_register(const char *name)")
def class_compat_register(kernel: KernelCore, name: str) -> int:
    """A directory in /sys/class that a bus had its devices in, once (drivers/base/class.c)."""
    above = kernel[Devices].class_kset + kernel.profile.offset("kset", "kobj")
    compat = kernel.heap.kmalloc(8)
    kernel.memory.write_u64(compat, kernel.kobjects.make(name, above))
    return compat


@export("void class_compat_unregister(struct class_compat *cls)")
async def class_compat_unregister(kernel: KernelCore, cls: int) -> None:
    """It goes (drivers/base/class.c)."""
    kobj = kernel.memory.read_u64(cls)
    await kernel.kobjects.delete(kobj)
    await kernel.kobjects.put(kobj)
    kernel.heap.kfree(cls)

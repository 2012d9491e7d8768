"""Sets of kobjects, and the types of the kernel's own (lib/kobject.c)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from kmod_emu.abi import lists
from kmod_emu.kernel.exports import export, export_data
from kmod_emu.uapi import errno

if TYPE_CHECKING:
    from kmod_emu.kernel.kernel import KernelCore


@export("void kset_init(struct kset *k)")
def kset_init(kernel: KernelCore, k: int) -> None:
    """An empty set whose kobject is ready to be added (lib/kobject.c)."""
    view = kernel.view("kset", k)
    kobj = kernel.kobjects.view(view.addressof("kobj"))
    kernel.kobjects.initialize(kobj.address, kobj.ktype)
    lists.init(kernel.memory, view.addressof("list"))
    view.set("list_lock", 0)


@export("int kset_register(struct kset *k)")
async def kset_register(kernel: KernelCore, k: int) -> int:
    """Show a set in /sys (lib/kobject.c)."""
    if not k:
        return -errno.EINVAL
    kset_init(kernel, k)
    kobj = kernel.view("kset", k).addressof("kobj")
    error = await kernel.kobjects.add(kobj)
    if error:
        return error
    await kernel.kobjects.sysfs.uevent(kobj, "add")
    return 0


@export("void kset_unregister(struct kset *k)")
async def kset_unregister(kernel: KernelCore, k: int) -> None:
    """Take a set out of /sys and drop it (lib/kobject.c)."""
    if k:
        kobj = kernel.view("kset", k).addressof("kobj")
        await kernel.kobjects.delete(kobj)
        await kernel.kobjects.put(kobj)


@export(
    "struct kset *kset_create_and_add(const char *name, const struct kset_uevent_ops *uevent_ops, "
    "struct kobject *parent_kobj)"
)
async def kset_create_and_add(kernel: KernelCore, name: bytes, uevent_ops: int, parent_kobj: int) -> int:
    """A new set (lib/kobject.c)."""
    address = kernel.heap.kmalloc(kernel.profile.struct("kset").size)
    if not address:
        return 0
    kset = kernel.view("kset", address)
    kset.uevent_ops = uevent_ops
    kobj = kernel.kobjects.view(kset.addressof("kobj"))
    kernel.kobjects.set_name(kobj.address, name)
    kobj.parent, kobj.ktype = parent_kobj, kernel.symbol("kset_ktype")
    if await kset_register(kernel, address):
        kernel.heap.kfree(address)
        return 0
    return address


@export("struct kobject *kset_find_obj(struct kset *kset, const char *name)")
def kset_find_obj(kernel: KernelCore, kset: int, name: str) -> int:
    """The member of that name, with a reference, or NULL (lib/kobject.c)."""
    entry = kernel.profile.offset("kobject", "entry")
    for node in lists.walk(kernel.memory, kset):
        if kernel.kobjects.name(node - entry) == name:
            return kernel.kobjects.get(node - entry)
    return 0


# --- types of the kernel's own --------------------------------------------------------------------------


@export("void dynamic_kobj_release(struct kobject *kobj)")
def dynamic_kobj_release(kernel: KernelCore, kobj: int) -> None:
    """Free what kobject_create_and_add() made (lib/kobject.c)."""
    kernel.heap.kfree(kobj)


@export("void kset_release(struct kobject *kobj)")
def kset_release(kernel: KernelCore, kobj: int) -> None:
    """Free what kset_create_and_add() made (lib/kobject.c)."""
    kernel.heap.kfree(kobj - kernel.profile.offset("kset", "kobj"))


@export("ssize_t kobj_attr_show(struct kobject *kobj, struct attribute *attr, char *buf)")
async def kobj_attr_show(kernel: KernelCore, kobj: int, attr: int, buf: int) -> int:
    """Read a kobj_attribute (lib/kobject.c)."""
    show = kernel.view("kobj_attribute", attr).show
    return await kernel.call_guest(show, kobj, attr, buf) if show else -errno.EIO


@export(
    "ssize_t kobj_attr_store(struct kobject *kobj, struct attribute *attr, const char *buf, size_t count)"
)
async def kobj_attr_store(kernel: KernelCore, kobj: int, attr: int, buf: int, n: int) -> int:
    """Write a kobj_attribute (lib/kobject.c)."""
    store = kernel.view("kobj_attribute", attr).store
    return await kernel.call_guest(store, kobj, attr, buf, n) if store else -errno.EIO


@export_data("const struct sysfs_ops kobj_sysfs_ops", 16)
def kobj_sysfs_ops(kernel: KernelCore, address: int) -> None:
    """How kobj_attributes are read and written (lib/kobject.c)."""
    kernel.memory.write_u64(address, kernel.symbol("kobj_attr_show"))
    kernel.memory.write_u64(address + 8, kernel.symbol("kobj_attr_store"))


def _type(kernel: KernelCore, address: int, release: str) -> None:
    view = kernel.view("kobj_type", address)
    view.release, view.sysfs_ops = kernel.symbol(release), kernel.symbol("kobj_sysfs_ops")


@export_data("struct kobj_type dynamic_kobj_ktype", 64)
def dynamic_kobj_ktype(kernel: KernelCore, address: int) -> None:
    """Type of kobject_create_and_add()'s kobjects (lib/kobject.c)."""
    _type(kernel, address, "dynamic_kobj_release")


@export_data("struct kobj_type kset_ktype", 64)
def kset_ktype(kernel: KernelCore, address: int) -> None:
    """Type of ksets' kobjects (lib/kobject.c)."""
    _type(kernel, address, "kset_release")


def _pointer(kernel: KernelCore, address: int) -> None:
    """Filled when /sys is made; NULL where there is none."""


for _own in ("kernel", "fs", "firmware", "power", "mm", "hypervisor"):
    export_data(f"struct kobject *{_own}_kobj")(_pointer)

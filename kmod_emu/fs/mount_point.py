"""Empty directories in /sys and /proc for file systems to be mounted on (fs/sysfs/dir.c)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from kmod_emu.fs.proc_generic import ProcTree
from kmod_emu.fs.sysfs import Sysfs
from kmod_emu.kernel.exports import export

if TYPE_CHECKING:
    from kmod_emu.kernel.kernel import KernelCore


@export("int sysfs_create_mount_point(struct kobject *parent_kobj, const char *name)")
def sysfs_create_mount_point(kernel: KernelCore, parent_kobj: int, name: str) -> int:
    """An empty directory in a kobject's; EEXIST if the name is taken."""
    kernel[Sysfs].create_mount_point(parent_kobj, name)
    return 0


@export("void sysfs_remove_mount_point(struct kobject *parent_kobj, const char *name)")
def sysfs_remove_mount_point(kernel: KernelCore, parent_kobj: int, name: str) -> None:
    """It goes."""
    kernel[Sysfs].at(parent_kobj).children.pop(name, None)


@export("struct proc_dir_entry *proc_create_mount_point(const char *name)")
def proc_create_mount_point(kernel: KernelCore, name: str) -> int:
    """An empty directory in /proc (fs/proc/generic.c)."""
    entry = kernel[ProcTree].create(name, 0, 0o555, "dir")
    return entry.address if entry is not None else 0

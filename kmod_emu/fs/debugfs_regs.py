"""Registers of a device in debugfs, and small helpers around its files (fs/debugfs/file.c)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from kmod_emu.errors import KernelError
from kmod_emu.fs.debugfs import DebugEntry, Debugfs
from kmod_emu.fs.debugfs_value import registers
from kmod_emu.fs.libfs import simple_read_from_buffer
from kmod_emu.fs.seq_print import append
from kmod_emu.kernel.exports import export
from kmod_emu.uapi import errno

if TYPE_CHECKING:
    from kmod_emu.abi.structs import StructView
    from kmod_emu.kernel.kernel import KernelCore


@export(
    "void debugfs_print_regs32(struct seq_file *s, const struct debugfs_reg32 *regs, int nregs, "
    "void __iomem *base, char *prefix)"
)
def debugfs_print_regs32(
    kernel: KernelCore, s: StructView, regs: int, nregs: int, base: int, prefix: bytes
) -> None:
    """Print registers, a line each."""
    for line in registers(kernel, regs, nregs, base):
        if not append(kernel, s, prefix + line):
            break


@export("int debugfs_file_get(struct dentry *dentry)")
def debugfs_file_get(kernel: KernelCore, dentry: int) -> int:
    """Begin to use a file's data: EIO once it was removed."""
    return 0 if dentry in kernel[Debugfs].by_address else -errno.EIO


@export("void debugfs_file_put(struct dentry *dentry)")
def debugfs_file_put(kernel: KernelCore, dentry: int) -> None:
    """End it: removing a file waits for nobody here, since nobody is interrupted."""


@export(
    "struct dentry *debugfs_rename(struct dentry *old_dir, struct dentry *old_dentry, "
    "struct dentry *new_dir, const char *new_name)"
)
def debugfs_rename(kernel: KernelCore, old_dir: int, old_dentry: int, new_dir: int, new_name: str) -> int:
    """Move an entry; its dentry, or an error pointer."""
    debugfs = kernel[Debugfs]
    entry, place = debugfs.entry(old_dentry), debugfs.entry(new_dir)
    if new_name in place.entries:
        raise KernelError(errno.EEXIST, f"debugfs has a {new_name} there already")
    above: DebugEntry | None = place
    while above is not None:
        if above is entry:
            raise KernelError(errno.EINVAL, "a directory cannot move into itself")
        above = above.parent
    debugfs.move(entry, place, new_name)
    return old_dentry


@export(
    "ssize_t debugfs_read_file_bool(struct file *file, char __user *user_buf, size_t count, loff_t *ppos)"
)
def debugfs_read_file_bool(kernel: KernelCore, file: StructView, user_buf: int, count: int, ppos: int) -> int:
    """A `read` that shows the bool at `private_data` as Y or N."""
    place = kernel.heap.kmalloc(2)
    kernel.memory.write(place, b"Y\n" if kernel.memory.read_u8(file.private_data) else b"N\n")
    try:
        return simple_read_from_buffer(kernel, user_buf, count, ppos, place, 2)
    finally:
        kernel.heap.kfree(place)


@export(
    "ssize_t debugfs_write_file_bool(struct file *file, const char __user *user_buf, size_t count, "
    "loff_t *ppos)"
)
async def debugfs_write_file_bool(
    kernel: KernelCore, file: StructView, user_buf: int, count: int, ppos: int
) -> int:
    """A `write` that sets it; what is no bool changes nothing."""
    place, function = kernel.heap.kmalloc(1), kernel.symbol("kstrtobool_from_user")
    if not await kernel.call_guest_int(function, user_buf, count, place):
        kernel.memory.write(file.private_data, kernel.memory.read(place, 1))
    kernel.heap.kfree(place)
    return count

"""A file in debugfs about a device, which goes with it (fs/debugfs/file.c)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from kmod_emu.drivers.devres import devm_kmalloc
from kmod_emu.fs.debugfs import debugfs_create_file
from kmod_emu.fs.seq_file import single_open
from kmod_emu.kernel.exports import export, export_data

if TYPE_CHECKING:
    from kmod_emu.abi.structs import StructView
    from kmod_emu.kernel.kernel import KernelCore

_OPS = "debugfs_devm_entry_ops"
_ENTRY_SIZE = 16  # struct debugfs_devm_entry: the function, the device


@export("int debugfs_devm_entry_open(struct inode *inode, struct file *f)")
def debugfs_devm_entry_open(kernel: KernelCore, inode: StructView, f: StructView) -> int:
    """A sequential file of one record, the function's."""
    entry = inode.i_private
    return single_open(kernel, f, kernel.memory.read_u64(entry), kernel.memory.read_u64(entry + 8))


@export_data(f"struct file_operations {_OPS}", lambda kernel: kernel.profile.struct("file_operations").size)
def debugfs_devm_entry_ops(kernel: KernelCore, address: int) -> None:
    """The operations of such files."""
    ops = kernel.view("file_operations", address)
    for method, function in (("open", "debugfs_devm_entry_open"), ("release", "single_release"),
                             ("read", "seq_read"), ("llseek", "seq_lseek")):  # fmt: skip
        ops.set(method, kernel.symbols.address(function))


@export(
    "void debugfs_create_devm_seqfile(struct device *dev, const char *name, struct dentry *parent, "
    "int (*read_fn)(struct seq_file *s, void *data))"
)
def debugfs_create_devm_seqfile(kernel: KernelCore, dev: int, name: str, parent: int, read_fn: int) -> None:
    """A file that a function prints, which gets the device as `private`."""
    entry = devm_kmalloc(kernel, dev, _ENTRY_SIZE, 0)
    if entry:
        kernel.memory.write_u64(entry, read_fn)
        kernel.memory.write_u64(entry + 8, dev)
        debugfs_create_file(kernel, name, 0o444, parent, entry, kernel.symbols.address(_OPS))

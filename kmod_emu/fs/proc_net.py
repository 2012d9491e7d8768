"""Files of a network namespace in /proc/net (fs/proc/proc_net.c)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from kmod_emu.fs.proc_generic import ProcTree, proc_create_seq_private, proc_create_single_data
from kmod_emu.kernel.exports import export

if TYPE_CHECKING:
    from kmod_emu.kernel.kernel import KernelCore

_WHERE = "const char *name, umode_t mode, struct proc_dir_entry *parent"


@export(
    f"struct proc_dir_entry *proc_create_net_data({_WHERE}, const struct seq_operations *ops,"
    " unsigned int state_size, void *data)"
)
def proc_create_net_data(
    kernel: KernelCore, name: str, mode: int, parent: int, ops: int, state_size: int, data: int
) -> int:
    """A sequential file, whose private data begins with the namespace."""
    address = proc_create_seq_private(kernel, name, mode, parent, ops, state_size, data)
    if address:
        kernel[ProcTree].entry(address).kind = "net"
    return address


@export(
    f"struct proc_dir_entry *proc_create_net_single({_WHERE}, int (*show)(struct seq_file *, void *),"
    " void *data)"
)
def proc_create_net_single(
    kernel: KernelCore, name: str, mode: int, parent: int, show: int, data: int
) -> int:
    """A file of one record, whose private data is the namespace."""
    return proc_create_single_data(kernel, name, mode, parent, show, kernel.symbol("init_net"))

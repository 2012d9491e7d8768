"""Files that send a signal when something happens (fs/fcntl.c)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from kmod_emu.fs.vfs import Vfs
from kmod_emu.kernel.exports import export
from kmod_emu.kernel.signal import send_signal
from kmod_emu.uapi import errno
from kmod_emu.uapi.fcntl import O_ASYNC

if TYPE_CHECKING:
    from collections.abc import Iterator

    from kmod_emu.abi.structs import StructView
    from kmod_emu.fs.file import File
    from kmod_emu.kernel.kernel import KernelCore

FASYNC_MAGIC = 0x4601
SIGURG, SIGIO = 23, 29


def _entries(kernel: KernelCore, fapp: int) -> Iterator[tuple[int, StructView]]:
    """The pointer that leads to each fasync_struct of a list, and the struct."""
    while address := kernel.memory.read_u64(fapp):
        view = kernel.view("fasync_struct", address)
        yield fapp, view
        fapp = view.addressof("fa_next")


@export("int fasync_helper(int fd, struct file *filp, int on, struct fasync_struct **fapp)")
def fasync_helper(kernel: KernelCore, fd: int, filp: StructView, on: int, fapp: int) -> int:
    """Add a file to a list of those to signal, or take it out; 1 if that changed the list (fs/fcntl.c)."""
    found = next((entry for entry in _entries(kernel, fapp) if entry[1].fa_file == filp.address), None)
    if not on:
        if found is None:
            return 0
        pointer, view = found
        kernel.memory.write_u64(pointer, view.fa_next)
        kernel.heap.kfree(view.address)
        filp.f_flags &= ~O_ASYNC
        return 1
    if found is not None:
        found[1].fa_fd = fd
        return 0
    address = kernel.heap.kmalloc(kernel.profile.struct("fasync_struct").size)
    if not address:
        return -errno.ENOMEM
    view = kernel.view("fasync_struct", address)
    view.magic, view.fa_fd, view.fa_file = FASYNC_MAGIC, fd, filp.address
    view.fa_next = kernel.memory.read_u64(fapp)
    kernel.memory.write_u64(fapp, address)
    filp.f_flags |= O_ASYNC
    return 1


@export("void kill_fasync(struct fasync_struct **fp, int sig, int band)")
def kill_fasync(kernel: KernelCore, fp: int, sig: int, band: int) -> None:
    """Send SIGIO to the owner of each file of a list (fs/fcntl.c)."""
    for _, view in _entries(kernel, fp):
        if view.magic != FASYNC_MAGIC:
            kernel.printk.emit("kill_fasync: bad magic number in fasync_struct!\n", 3)
            return
        if sig != SIGURG:
            _signal_owner(kernel, view.fa_file)


def _signal_owner(kernel: KernelCore, address: int) -> None:
    file = next((file for file in kernel[Vfs].open_files if file.address == address), None)
    if file is not None:
        signal_owner(kernel, file)


def signal_owner(kernel: KernelCore, file: File) -> None:
    """send_sigio(): to the process that F_SETOWN named, if it named one."""
    for task in list(kernel.tasks.by_pid.values()):
        if file.owner and task.pid == file.owner and not task.dead:
            send_signal(kernel, task, SIGIO)

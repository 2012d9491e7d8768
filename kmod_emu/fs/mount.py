"""Mounting all file systems of a machine at boot."""

from __future__ import annotations

from typing import TYPE_CHECKING

from kmod_emu.fs import mem
from kmod_emu.fs.anon_inodes import AnonInodes
from kmod_emu.fs.char_dev import CharDevices
from kmod_emu.fs.debugfs import Debugfs
from kmod_emu.fs.devtmpfs import Devtmpfs
from kmod_emu.fs.guest_inode import InodeNumbers
from kmod_emu.fs.open import SpecialOperations
from kmod_emu.fs.order import proc_key, sysfs_key
from kmod_emu.fs.pipe import Pipes
from kmod_emu.fs.procfs import Procfs
from kmod_emu.fs.ramfs import TMPFS_MAGIC
from kmod_emu.fs.securityfs import securityfs_nodes
from kmod_emu.fs.super import Mounts
from kmod_emu.fs.sysfs import Sysfs
from kmod_emu.fs.syslog import Syslog
from kmod_emu.fs.tree import PROC_SUPER_MAGIC, SYSFS_MAGIC, Node, NodeSuperBlock, directory
from kmod_emu.fs.uevent import Uevents
from kmod_emu.fs.vfs import Vfs

if TYPE_CHECKING:
    from kmod_emu.kernel.kernel import KernelCore


def mount_files(kernel: KernelCore, path: str, files: dict[str, Node]) -> None:
    """Cover a directory by files that are computed when somebody reads them."""
    vfs = kernel[Vfs]
    root = directory(files, 0o755)
    vfs.mount(path, NodeSuperBlock(kernel, "tmpfs", TMPFS_MAGIC, vfs.anonymous_dev(), root, proc_key))


def mount_all(kernel: KernelCore) -> tuple[Procfs, Sysfs]:
    """Install the file systems; /proc and /sys are returned for others to add to."""
    devices, pipes = CharDevices(kernel), Pipes(kernel)
    mem.register(kernel, devices)
    vfs = Vfs(kernel, SpecialOperations(kernel, devices, pipes), devices)
    procfs, sysfs = Procfs(kernel), Sysfs(kernel)
    syslog = Syslog(kernel)
    for part in (devices, pipes, vfs, Devtmpfs(kernel), procfs, procfs.tree, Uevents(), sysfs, syslog):
        kernel.add(part)
    security = directory(securityfs_nodes(kernel))
    debugfs = Debugfs(kernel, sysfs.debug)
    kernel.add(debugfs)
    for own in (AnonInodes(kernel), InodeNumbers(), Mounts(kernel)):
        kernel.add(own)
    sysfs.make("kernel").computed = lambda: {"debug": debugfs.root, "security": security, **sysfs.kernel}
    mem.make_nodes(vfs)
    proc = NodeSuperBlock(kernel, "proc", PROC_SUPER_MAGIC, vfs.anonymous_dev(), procfs.root, proc_key)
    vfs.mount("/proc", proc)
    vfs.mount(
        "/sys", NodeSuperBlock(kernel, "sysfs", SYSFS_MAGIC, vfs.anonymous_dev(), sysfs.node, sysfs_key)
    )
    mount_files(kernel, "/var/log", {"syslog": Node(0o640, read=lambda task: syslog.text())})
    return procfs, sysfs

"""mount(2) and umount(2): what there is to mount is mounted already (fs/namespace.c)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from kmod_emu.drivers.families.files import FILE_SYSTEM, OWN_FILE_SYSTEMS
from kmod_emu.drivers.registration import Registrations
from kmod_emu.errors import KernelError
from kmod_emu.fs.vfs import Vfs
from kmod_emu.kernel.syscalls import syscall
from kmod_emu.uapi import errno
from kmod_emu.uapi.capability import CAP_SYS_ADMIN
from kmod_emu.user import arguments

if TYPE_CHECKING:
    from kmod_emu.kernel.kernel import KernelCore

_MS_REMOUNT = 0x20
_DEBUGFS = "/sys/kernel/debug"


def _may_mount(kernel: KernelCore) -> None:
    if not kernel.sched.current.capable(CAP_SYS_ADMIN):
        raise KernelError(errno.EPERM, "only root may mount")


@syscall(165)
async def sys_mount(
    kernel: KernelCore, dev_name: int, dir_name: int, type: int, flags: int, data: int
) -> int:
    """EBUSY for what is mounted there already; nothing else can be mounted."""
    kind = arguments.path(kernel, type) if type else ""
    place = arguments.walk(kernel, -100, arguments.path(kernel, dir_name)).found
    _may_mount(kernel)
    if flags & _MS_REMOUNT:
        return 0
    if not kind:
        raise KernelError(errno.EINVAL, "a type is needed")
    if kind not in OWN_FILE_SYSTEMS and not kernel[Registrations].find(FILE_SYSTEM, kind):
        raise KernelError(errno.ENODEV, f"there is no file system {kind}")
    if place.inode.sb.kind == kind or (kind, place.path) == ("debugfs", _DEBUGFS):
        raise KernelError(errno.EBUSY, f"{kind} is mounted on {place.path}")
    raise KernelError(errno.ENOSYS, "mounting is not implemented: /proc, /sys and debugfs are there")


@syscall(166)
async def sys_umount(kernel: KernelCore, name: int, flags: int) -> int:
    """EBUSY: what is mounted stays."""
    place = arguments.walk(kernel, -100, arguments.path(kernel, name)).found
    _may_mount(kernel)
    if place.path not in kernel[Vfs].mounts and place.path != _DEBUGFS:
        raise KernelError(errno.EINVAL, f"nothing is mounted on {place.path}")
    raise KernelError(errno.EBUSY, f"{place.path} is in use")

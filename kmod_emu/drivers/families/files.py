"""File systems, tables of characters, formats of programs and of quota (fs/filesystems.c, fs/exec.c)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from kmod_emu.drivers.registration import Family, Registrations, declare
from kmod_emu.kernel.exports import export
from kmod_emu.uapi import errno

if TYPE_CHECKING:
    from collections.abc import Iterator

    from kmod_emu.kernel.kernel import KernelCore

FILE_SYSTEM = "file system"
_NLS = "table of characters"
_REQUIRES_DEV = 1  # FS_REQUIRES_DEV

# Those that Debian's kernel has itself, in the order of /proc/filesystems.
OWN_FILE_SYSTEMS = (
    "sysfs", "tmpfs", "proc", "cgroup", "cgroup2", "cpuset", "devtmpfs", "debugfs", "tracefs", "securityfs",
    "sockfs", "bpf", "pipefs", "ramfs", "hugetlbfs", "devpts", "mqueue", "pstore",
)  # fmt: skip


def file_systems(kernel: KernelCore) -> Iterator[str]:
    """The lines of /proc/filesystems (fs/filesystems.c)."""
    yield from (f"nodev\t{name}" for name in OWN_FILE_SYSTEMS)
    for address, name in kernel[Registrations].of(FILE_SYSTEM):
        flags = kernel.view("file_system_type", address).fs_flags
        yield f"{'' if flags & _REQUIRES_DEV else 'nodev'}\t{name}"


declare(
    __name__,
    Family(
        FILE_SYSTEM, "int register_filesystem(struct file_system_type *fs)",
        "int unregister_filesystem(struct file_system_type *fs)", "file_system_type.name",
        taken=errno.EBUSY, absent=errno.EINVAL, own=OWN_FILE_SYSTEMS,
    ),
    Family(
        _NLS, "int __register_nls(struct nls_table *nls, struct module *owner)",
        "int unregister_nls(struct nls_table *nls)", taken=errno.EBUSY, absent=errno.EINVAL,
    ),
    Family(
        "format of programs", "void __register_binfmt(struct linux_binfmt *fmt, int insert)",
        "void unregister_binfmt(struct linux_binfmt *fmt)", taken=0,
    ),
    Family(
        "format of quota", "int register_quota_format(struct quota_format_type *fmt)",
        "void unregister_quota_format(struct quota_format_type *fmt)", taken=0,
    ),
    Family(
        "shrinker", "int register_shrinker(struct shrinker *shrinker, const char *fmt, ...)",
        "void unregister_shrinker(struct shrinker *shrinker)", taken=0,
    ),
)  # fmt: skip


@export("struct nls_table *load_nls(const char *charset)")
async def load_nls(kernel: KernelCore, charset: str) -> int:
    """The table of a name, its module pinned; modprobe is asked for one that is not there (fs/nls/)."""
    for attempt in range(2):
        for address, _ in kernel[Registrations].of(_NLS):
            table = kernel.view("nls_table", address)
            names = [kernel.memory.read_text(name) for name in (table.charset, table.alias) if name]
            if charset in names and kernel.try_module_get(table.owner):
                return address
        if not attempt:
            await kernel.request_module(f"nls_{charset}")
    return 0


@export("struct nls_table *load_nls_default(void)")
async def load_nls_default(kernel: KernelCore) -> int:
    """The table that Debian's kernel was built to take, utf8 (fs/nls/nls_base.c)."""
    return await load_nls(kernel, "utf8")


@export("void unload_nls(struct nls_table *nls)")
def unload_nls(kernel: KernelCore, nls: int) -> None:
    """It is given back (fs/nls/)."""
    if nls:
        kernel.module_put(kernel.view("nls_table", nls).owner)

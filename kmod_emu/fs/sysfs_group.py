"""What drivers call to show attributes in /sys (fs/sysfs/file.c, group.c, symlink.c)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from kmod_emu.errors import KernelError
from kmod_emu.kernel.exports import export
from kmod_emu.kernel.vsprintf import vsnprintf
from kmod_emu.machine.memory import PAGE_SIZE
from kmod_emu.uapi import errno

if TYPE_CHECKING:
    from collections.abc import Iterator

    from kmod_emu.abi.structs import StructView
    from kmod_emu.fs.sysfs import Sysfs
    from kmod_emu.kernel.kernel import KernelCore
    from kmod_emu.kernel.va_list import Arguments

_ALLOWED_MODE = 0o664
_MODE_MASK = 0o7777


def _sysfs(kernel: KernelCore) -> Sysfs:
    return kernel.kobjects.sysfs  # type: ignore[return-value]


def _pointers(kernel: KernelCore, array: int) -> Iterator[int]:
    """A NULL-terminated array of pointers."""
    while array and (pointer := kernel.memory.read_u64(array)):
        yield pointer
        array += 8


# --- single attributes ------------------------------------------------------------------------------------


@export("int sysfs_create_file_ns(struct kobject *kobj, const struct attribute *attr, const void *ns)")
def sysfs_create_file_ns(kernel: KernelCore, kobj: int, attr: int, ns: int) -> int:
    """Show an attribute (fs/sysfs/file.c)."""
    if not kobj or not attr or kobj not in _sysfs(kernel).of:
        kernel.warnings.warn("fs/sysfs/file.c", 355, "", "sysfs_create_file_ns+0x8b/0xa0")
        return -errno.EINVAL
    _sysfs(kernel).add_file(kobj, attr)
    return 0


@export("int sysfs_create_files(struct kobject *kobj, const struct attribute * const *ptr)")
def sysfs_create_files(kernel: KernelCore, kobj: int, ptr: int) -> int:
    """Show several attributes, all or none (fs/sysfs/file.c)."""
    done: list[int] = []
    for attr in _pointers(kernel, ptr):
        try:
            error = sysfs_create_file_ns(kernel, kobj, attr, 0)
        except KernelError as refused:
            error = -refused.errno
        if error:
            for earlier in reversed(done):
                sysfs_remove_file_ns(kernel, kobj, earlier, 0)
            return error
        done.append(attr)
    return 0


@export("void sysfs_remove_file_ns(struct kobject *kobj, const struct attribute *attr, const void *ns)")
def sysfs_remove_file_ns(kernel: KernelCore, kobj: int, attr: int, ns: int) -> None:
    """Show it no longer (fs/sysfs/file.c)."""
    _sysfs(kernel).remove_file(kobj, _sysfs(kernel).attribute_name(attr))


@export("void sysfs_remove_files(struct kobject *kobj, const struct attribute * const *ptr)")
def sysfs_remove_files(kernel: KernelCore, kobj: int, ptr: int) -> None:
    """Show several no longer (fs/sysfs/file.c)."""
    for attr in _pointers(kernel, ptr):
        sysfs_remove_file_ns(kernel, kobj, attr, 0)


@export("bool sysfs_remove_file_self(struct kobject *kobj, const struct attribute *attr)")
def sysfs_remove_file_self(kernel: KernelCore, kobj: int, attr: int) -> int:
    """An attribute removes itself from its own store() (fs/sysfs/file.c)."""
    return _sysfs(kernel).remove_file(kobj, _sysfs(kernel).attribute_name(attr))


@export("int sysfs_chmod_file(struct kobject *kobj, const struct attribute *attr, umode_t mode)")
def sysfs_chmod_file(kernel: KernelCore, kobj: int, attr: int, mode: int) -> int:
    """Change an attribute's permissions (fs/sysfs/file.c)."""
    place = _sysfs(kernel).at(kobj)
    known = place.files.get(_sysfs(kernel).attribute_name(attr))
    if known is None:
        return -errno.ENOENT
    known.mode = mode & 0o777
    return 0


@export("int sysfs_create_bin_file(struct kobject *kobj, const struct bin_attribute *attr)")
def sysfs_create_bin_file(kernel: KernelCore, kobj: int, attr: int) -> int:
    """Show a binary attribute (fs/sysfs/file.c)."""
    if not kobj or not attr or kobj not in _sysfs(kernel).of:
        kernel.warnings.warn("fs/sysfs/file.c", 570, "", "sysfs_create_bin_file+0x84/0xa0")
        return -errno.EINVAL
    _sysfs(kernel).add_file(kobj, attr, binary=True)
    return 0


@export("void sysfs_remove_bin_file(struct kobject *kobj, const struct bin_attribute *attr)")
def sysfs_remove_bin_file(kernel: KernelCore, kobj: int, attr: int) -> None:
    """Show it no longer (fs/sysfs/file.c)."""
    _sysfs(kernel).remove_file(kobj, _sysfs(kernel).attribute_name(attr))


@export("void sysfs_notify(struct kobject *kobj, const char *dir, const char *attr)")
def sysfs_notify(kernel: KernelCore, kobj: int, dir: int, attr: int) -> None:
    """Wake who polls an attribute, in the directory of a group if `dir` names one (fs/sysfs/file.c)."""
    group, name = (kernel.memory.read_cstring(text).decode() if text else "" for text in (dir, attr))
    _sysfs(kernel).notify(kobj, group, name)


# --- groups -----------------------------------------------------------------------------------------------


async def create_group(kernel: KernelCore, kobj: int, group: StructView, *, update: bool = False) -> int:
    """internal_create_group(): 0 or a negative errno."""
    sysfs = _sysfs(kernel)
    place = sysfs.of.get(kobj)
    if place is None:
        kernel.warnings.warn("fs/sysfs/group.c", 115, "", "internal_create_group+0x27e/0x3a0")
        return -errno.EINVAL
    name = _group_name(kernel, group)
    if not group.attrs and not group.bin_attrs:
        text = f"sysfs: (bin_)attrs not set by subsystem for group: {kernel.kobjects.name(kobj)}/{name}"
        kernel.warnings.warn("fs/sysfs/group.c", 122, text, "internal_create_group+0x27a/0x3a0")
        return -errno.EINVAL
    if name and not update:
        if place.has(name):
            sysfs.warn_dup(f"{place.path}/{name}")
            return -errno.EEXIST
        place.groups[name] = {}
    for binary in (False, True):
        try:
            await _create_files(kernel, kobj, group, name, binary=binary, update=update)
        except KernelError as error:
            remove_group(kernel, kobj, group)
            return -error.errno
    return 0


async def _create_files(
    kernel: KernelCore, kobj: int, group: StructView, name: str, *, binary: bool, update: bool
) -> None:
    sysfs = _sysfs(kernel)
    visible = group.is_bin_visible if binary else group.is_visible
    for index, attr in enumerate(_pointers(kernel, group.bin_attrs if binary else group.attrs)):
        mode = kernel.view("attribute", attr).mode
        if update:
            sysfs.remove_file(kobj, sysfs.attribute_name(attr), name)
        if visible:
            mode = await kernel.call_guest(visible, kobj, attr, index) & 0xFFFF
            if not mode:
                continue
        if mode & _MODE_MASK & ~_ALLOWED_MODE:
            text = f"Attribute {sysfs.attribute_name(attr)}: Invalid permissions 0{mode:o}"
            kernel.warnings.warn("fs/sysfs/group.c", 59, text, "internal_create_group+0x2f5/0x3a0")
        sysfs.add_file(kobj, attr, mode & _ALLOWED_MODE, name, binary=binary)


def _group_name(kernel: KernelCore, group: StructView) -> str:
    name = group.get("name")
    return kernel.memory.read_text(name) if name else ""


async def create_groups(kernel: KernelCore, kobj: int, groups: int, *, update: bool = False) -> int:
    """All groups of an array, all or none; 0 or a negative errno."""
    done: list[StructView] = []
    for address in _pointers(kernel, groups):
        group = kernel.view("attribute_group", address)
        error = await create_group(kernel, kobj, group, update=update)
        if error:
            for earlier in reversed(done):
                remove_group(kernel, kobj, earlier)
            return error
        done.append(group)
    return 0


def remove_group(kernel: KernelCore, kobj: int, group: StructView) -> None:
    """Take a group out again."""
    sysfs, name = _sysfs(kernel), _group_name(kernel, group)
    place = sysfs.of.get(kobj)
    if place is None:
        return
    if name:
        if place.groups.pop(name, None) is None:
            text = f"sysfs group '{name}' not found for kobject '{kernel.kobjects.name(kobj)}'"
            kernel.warnings.warn("fs/sysfs/group.c", 278, text, "sysfs_remove_group+0x71/0x80")
        return
    for array in (group.attrs, group.bin_attrs):
        for attr in _pointers(kernel, array):
            sysfs.remove_file(kobj, sysfs.attribute_name(attr))


@export("int sysfs_create_group(struct kobject *kobj, const struct attribute_group *grp)")
async def sysfs_create_group(kernel: KernelCore, kobj: int, grp: StructView) -> int:
    """Show the attributes of a group (fs/sysfs/group.c)."""
    return await create_group(kernel, kobj, grp)


@export("int sysfs_update_group(struct kobject *kobj, const struct attribute_group *grp)")
async def sysfs_update_group(kernel: KernelCore, kobj: int, grp: StructView) -> int:
    """Ask anew which attributes of a group are visible (fs/sysfs/group.c)."""
    return await create_group(kernel, kobj, grp, update=True)


@export("void sysfs_remove_group(struct kobject *kobj, const struct attribute_group *grp)")
def sysfs_remove_group(kernel: KernelCore, kobj: int, grp: StructView) -> None:
    """Show a group no longer (fs/sysfs/group.c)."""
    remove_group(kernel, kobj, grp)


@export("int sysfs_create_groups(struct kobject *kobj, const struct attribute_group **groups)")
async def sysfs_create_groups(kernel: KernelCore, kobj: int, groups: int) -> int:
    """Show several groups (fs/sysfs/group.c)."""
    return await create_groups(kernel, kobj, groups)


@export("int sysfs_update_groups(struct kobject *kobj, const struct attribute_group **groups)")
async def sysfs_update_groups(kernel: KernelCore, kobj: int, groups: int) -> int:
    """sysfs_update_group for several (fs/sysfs/group.c)."""
    return await create_groups(kernel, kobj, groups, update=True)


@export("void sysfs_remove_groups(struct kobject *kobj, const struct attribute_group **groups)")
def sysfs_remove_groups(kernel: KernelCore, kobj: int, groups: int) -> None:
    """Show several groups no longer (fs/sysfs/group.c)."""
    for address in _pointers(kernel, groups):
        remove_group(kernel, kobj, kernel.view("attribute_group", address))


@export("int sysfs_merge_group(struct kobject *kobj, const struct attribute_group *grp)")
def sysfs_merge_group(kernel: KernelCore, kobj: int, grp: StructView) -> int:
    """Add attributes to a group that is there (fs/sysfs/group.c)."""
    name = _group_name(kernel, grp)
    if name not in _sysfs(kernel).at(kobj).groups:
        return -errno.ENOENT
    for attr in _pointers(kernel, grp.attrs):
        _sysfs(kernel).add_file(kobj, attr, group=name)
    return 0


@export("void sysfs_unmerge_group(struct kobject *kobj, const struct attribute_group *grp)")
def sysfs_unmerge_group(kernel: KernelCore, kobj: int, grp: StructView) -> None:
    """Take them out again (fs/sysfs/group.c)."""
    sysfs = _sysfs(kernel)
    for attr in _pointers(kernel, grp.attrs):
        sysfs.remove_file(kobj, sysfs.attribute_name(attr), _group_name(kernel, grp))


@export("int sysfs_add_file_to_group(struct kobject *kobj, const struct attribute *attr, const char *group)")
def sysfs_add_file_to_group(kernel: KernelCore, kobj: int, attr: int, group: int) -> int:
    """Add one attribute to a group that is there (fs/sysfs/file.c)."""
    name = kernel.memory.read_text(group) if group else ""
    if name and name not in _sysfs(kernel).at(kobj).groups:
        return -errno.ENOENT
    _sysfs(kernel).add_file(kobj, attr, group=name)
    return 0


@export(
    "void sysfs_remove_file_from_group(struct kobject *kobj, const struct attribute *attr, const char *group)"
)
def sysfs_remove_file_from_group(kernel: KernelCore, kobj: int, attr: int, group: int) -> None:
    """Take it out again (fs/sysfs/file.c)."""
    name = kernel.memory.read_text(group) if group else ""
    _sysfs(kernel).remove_file(kobj, _sysfs(kernel).attribute_name(attr), name)


# --- links ------------------------------------------------------------------------------------------------


@export("int sysfs_create_link(struct kobject *kobj, struct kobject *target, const char *name)")
def sysfs_create_link(kernel: KernelCore, kobj: int, target: int, name: str) -> int:
    """A symbolic link to another kobject's directory (fs/sysfs/symlink.c)."""
    place = _sysfs(kernel).at(kobj) if kobj else _sysfs(kernel).root
    if not name or not target or target not in _sysfs(kernel).of:
        return -errno.ENOENT
    if place.has(name):
        _sysfs(kernel).warn_dup(f"{place.path}/{name}")
        return -errno.EEXIST
    place.links[name] = target
    return 0


@export("int sysfs_create_link_nowarn(struct kobject *kobj, struct kobject *target, const char *name)")
def sysfs_create_link_nowarn(kernel: KernelCore, kobj: int, target: int, name: str) -> int:
    """sysfs_create_link without the warning (fs/sysfs/symlink.c)."""
    place = _sysfs(kernel).at(kobj) if kobj else _sysfs(kernel).root
    if place.has(name):
        return -errno.EEXIST
    return sysfs_create_link(kernel, kobj, target, name)


@export("void sysfs_remove_link(struct kobject *kobj, const char *name)")
def sysfs_remove_link(kernel: KernelCore, kobj: int, name: str) -> None:
    """Remove a link (fs/sysfs/symlink.c)."""
    sysfs = _sysfs(kernel)
    place = sysfs.of.get(kobj) if kobj else sysfs.root
    if place is not None:
        place.links.pop(name, None)


# --- text -------------------------------------------------------------------------------------------------


@export("int sysfs_emit(char *buf, const char *fmt, ...)")
def sysfs_emit(kernel: KernelCore, buf: int, fmt: bytes, args: Arguments) -> int:
    """Sprintf for a show(): never more than its page (fs/sysfs/file.c)."""
    if not buf or buf % PAGE_SIZE:
        kernel.warnings.warn(
            "fs/sysfs/file.c", 740, f"invalid sysfs_emit: buf:{buf:016x}", "sysfs_emit+0xa7/0xc0"
        )
        return 0
    return _emit(kernel, buf, 0, fmt, args)


@export("int sysfs_emit_at(char *buf, int at, const char *fmt, ...)")
def sysfs_emit_at(kernel: KernelCore, buf: int, at: int, fmt: bytes, args: Arguments) -> int:
    """sysfs_emit behind what is there (fs/sysfs/file.c)."""
    if not buf or buf % PAGE_SIZE or not 0 <= at < PAGE_SIZE:
        text = f"invalid sysfs_emit_at: buf:{buf:016x} at:{at}"
        kernel.warnings.warn("fs/sysfs/file.c", 768, text, "sysfs_emit_at+0x64/0xc0")
        return 0
    return _emit(kernel, buf, at, fmt, args)


def _emit(kernel: KernelCore, buf: int, at: int, fmt: bytes, args: Arguments) -> int:
    text = vsnprintf(fmt, args, kernel.format_context)[: PAGE_SIZE - at - 1]
    kernel.memory.write(buf + at, text + b"\0")
    return len(text)

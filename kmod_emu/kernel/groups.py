"""Supplementary groups of tasks: `struct group_info` in guest memory (kernel/groups.c)."""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING

from kmod_emu.kernel.exports import export, export_data

if TYPE_CHECKING:
    from collections.abc import Iterable

    from kmod_emu.abi.structs import StructView
    from kmod_emu.kernel.kernel import KernelCore

INIT_GROUPS = "init_groups"
NGROUPS_MAX = 65536


@export_data("struct group_info init_groups", 8)
def init_groups(kernel: KernelCore, address: int) -> None:
    """No groups: what tasks begin with. `boot_cred` counts its user."""


def get_group_info(kernel: KernelCore, address: int) -> None:
    """One reference more."""
    kernel.view("group_info", address).usage += 1


def put_group_info(kernel: KernelCore, address: int) -> None:
    """One less; the last one frees."""
    info = kernel.view("group_info", address)
    info.usage -= 1
    if not info.usage:
        groups_free(kernel, address)


def read_groups(kernel: KernelCore, address: int) -> tuple[int, ...]:
    """The group ids in it."""
    info = kernel.view("group_info", address)
    return struct.unpack(f"<{info.ngroups}I", kernel.memory.read(info.addressof("gid"), 4 * info.ngroups))


def write_groups(kernel: KernelCore, address: int, gids: Iterable[int]) -> None:
    """Fill it, sorted, as looking a group up expects (groups_sort)."""
    place = kernel.view("group_info", address).addressof("gid")
    kernel.memory.write(place, b"".join(struct.pack("<I", gid) for gid in sorted(gids)))


@export("struct group_info *groups_alloc(int gidsetsize)")
def groups_alloc(kernel: KernelCore, gidsetsize: int) -> int:
    """Room for some groups, with one reference; NULL without memory."""
    offset = kernel.profile.offset("group_info", "gid")
    address = kernel.heap.kmalloc(offset + 4 * gidsetsize)
    if address:
        info = kernel.view("group_info", address)
        info.usage, info.ngroups = 1, gidsetsize
    return address


@export("void groups_free(struct group_info *group_info)")
def groups_free(kernel: KernelCore, group_info: int) -> None:
    """Give it back."""
    kernel.heap.kfree(group_info)


@export("void groups_sort(struct group_info *group_info)")
def groups_sort(kernel: KernelCore, group_info: int) -> None:
    """Bring them in order."""
    write_groups(kernel, group_info, read_groups(kernel, group_info))


@export("void set_groups(struct cred *new, struct group_info *group_info)")
def set_groups(kernel: KernelCore, new: StructView, group_info: int) -> None:
    """Give prepared credentials other groups."""
    put_group_info(kernel, new.group_info)
    get_group_info(kernel, group_info)
    new.group_info = group_info


@export("int set_current_groups(struct group_info *group_info)")
def set_current_groups(kernel: KernelCore, group_info: int) -> int:
    """Give the current task other groups."""
    from kmod_emu.kernel.cred import commit_creds, prepare_creds

    new = prepare_creds(kernel)
    set_groups(kernel, kernel.view("cred", new), group_info)
    return commit_creds(kernel, new)


@export("int in_group_p(kgid_t grp)")
def in_group_p(kernel: KernelCore, grp: int) -> bool:
    """Whether the current task is of a group, as far as files are concerned."""
    return kernel.sched.current.in_group(grp & 0xFFFF_FFFF)


@export("int in_egroup_p(kgid_t grp)")
def in_egroup_p(kernel: KernelCore, grp: int) -> bool:
    """Whether the current task is of a group."""
    task = kernel.sched.current
    return grp & 0xFFFF_FFFF in (task.gid, *task.groups)

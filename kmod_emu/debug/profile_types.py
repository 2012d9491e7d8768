"""Structures of the base kernel as C types, from a profile that knows places and sizes of members only.

A member of 1, 2, 4 or 8 bytes is an unsigned integer, any other an array of bytes, but for those whose type
is told below: what walks over modules and tasks needs.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from kmod_emu.debug.c import types as c
from kmod_emu.debug.c.parser import parse_type

if TYPE_CHECKING:
    from collections.abc import Iterator

    from kmod_emu.abi.layout import StructLayout
    from kmod_emu.abi.profile import Profile

__all__ = ["ProfileTypes", "plain_type"]

_INTEGERS = {1: "unsigned char", 2: "unsigned short", 4: "unsigned int", 8: "unsigned long"}
_BYTE = c.Integer("unsigned char", 1, signed=False, kind="char")
_MEMBERS = {
    "list_head.next": "struct list_head *",
    "list_head.prev": "struct list_head *",
    "hlist_head.first": "struct hlist_node *",
    "hlist_node.next": "struct hlist_node *",
    "hlist_node.pprev": "struct hlist_node **",
    "module.list": "struct list_head",
    "module.name": "char [56]",
    "task_struct.comm": "char [16]",
    "task_struct.pid": "int",
    "task_struct.tgid": "int",
    "task_struct.tasks": "struct list_head",
    "task_struct.children": "struct list_head",
    "task_struct.sibling": "struct list_head",
    "task_struct.parent": "struct task_struct *",
    "task_struct.real_parent": "struct task_struct *",
    "task_struct.group_leader": "struct task_struct *",
    "task_struct.thread_pid": "struct pid *",
    "task_struct.pid_links": "struct hlist_node [4]",
    "pid.tasks": "struct hlist_head [4]",
    "pid_namespace.idr": "struct idr",
    "pid_namespace.parent": "struct pid_namespace *",
    "pid_namespace.child_reaper": "struct task_struct *",
    "idr.idr_rt": "struct xarray",
    "xarray.xa_head": "void *",
    "xa_node.parent": "struct xa_node *",
    "xa_node.slots": "void *[64]",
}


class ProfileTypes:
    """The structures of one release."""

    def __init__(self, profile: Profile) -> None:
        self._profile = profile
        self._known: dict[str, c.CType] = {}

    def named(self, key: str) -> c.CType | None:
        """A type by "struct file"; None if the profile has none of that name."""
        keyword, _, tag = key.partition(" ")
        if keyword != "struct" or tag not in self._profile.structs:
            return None
        if key not in self._known:
            layout = self._profile.struct(tag)
            self._known[key] = c.Aggregate("struct", tag, layout.size, lambda: tuple(self._fields(layout)))
        return self._known[key]

    def _fields(self, layout: StructLayout) -> Iterator[c.Field]:
        for name, member in layout.members.items():
            told = _MEMBERS.get(f"{layout.name}.{name}")
            kind = parse_type(told, self.named) if told is not None else None
            if kind is None or kind.size != member.size:
                kind = plain_type(member.size)
            yield c.Field(name, kind, member.offset, member.bit or 0, member.bits or 0)


def plain_type(size: int) -> c.CType:
    """A type for a member of which only the size is known."""
    if size in _INTEGERS:
        return c.Integer(_INTEGERS[size], size, signed=False)
    return c.Array(_BYTE, size)

"""System calls that say and change who a task is (kernel/sys.c, kernel/groups.c, kernel/capability.c)."""

from __future__ import annotations

import struct
from contextlib import contextmanager
from typing import TYPE_CHECKING, NamedTuple

from kmod_emu.errors import KernelError
from kmod_emu.fs.fdtable import as_int
from kmod_emu.kernel.cred import abort_creds, commit_creds, prepare_creds, set_user
from kmod_emu.kernel.groups import (
    NGROUPS_MAX,
    groups_alloc,
    put_group_info,
    set_groups,
    write_groups,
)
from kmod_emu.kernel.syscalls import syscall
from kmod_emu.uapi import errno
from kmod_emu.uapi.capability import ALL_CAPABILITIES, CAP_SETGID, CAP_SETPCAP, CAP_SETUID, FS_CAPABILITIES
from kmod_emu.user.arguments import give

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from kmod_emu.abi.structs import StructView
    from kmod_emu.kernel.kernel import KernelCore
    from kmod_emu.kernel.tasks import Task

_KEEP = 0xFFFF_FFFF  # (uid_t) -1
_VERSIONS = {0x1998_0330: 1, 0x2007_1026: 2, 0x2008_0522: 2}  # of the capability header -> words a set
SECURE_KEEP_CAPS = 1 << 4


class _Kind(NamedTuple):
    """User or group ids: the members of struct cred, and the capability that lets them change freely."""

    real: str
    effective: str
    saved: str
    files: str
    capability: int


_USER = _Kind("uid", "euid", "suid", "fsuid", CAP_SETUID)
_GROUP = _Kind("gid", "egid", "sgid", "fsgid", CAP_SETGID)


@contextmanager
def changing_creds(kernel: KernelCore) -> Iterator[StructView]:
    """Credentials to change, which are the task's at the end; not if an error is raised."""
    address = prepare_creds(kernel)
    if not address:
        raise KernelError(errno.ENOMEM)
    new = kernel.view("cred", address)
    try:
        yield new
    except KernelError:
        abort_creds(kernel, address)
        raise
    set_user(kernel, new)
    commit_creds(kernel, address)


def _may(task: Task, kind: _Kind, id_: int, *members: str) -> None:
    """EPERM unless `id_` is one of the task's, or it may take any."""
    if id_ != _KEEP and id_ not in [task.who(m) for m in members] and not task.capable(kind.capability):
        raise KernelError(errno.EPERM, f"uid {task.uid} may not take the {kind.real} {id_}")


def _valid(id_: int) -> int:
    id_ &= 0xFFFF_FFFF
    if id_ == _KEEP:
        raise KernelError(errno.EINVAL, "-1 is nobody's")
    return id_


def _set(kernel: KernelCore, kind: _Kind, real: int, effective: int, saved: int) -> int:
    """Replace ids but those that are -1; files are used as the effective one."""
    with changing_creds(kernel) as new:
        old = {member: int(new.get(member)) for member in ("uid", "euid", "suid")}
        for member, id_ in ((kind.real, real), (kind.effective, effective), (kind.saved, saved)):
            if id_ != _KEEP:
                new.set(member, id_)
        new.set(kind.files, new.get(kind.effective))
        _fix_capabilities(new, old)
    return 0


def _fix_capabilities(new: StructView, old: dict[str, int]) -> None:
    """Leaving root takes capabilities, becoming root gives them (cap_emulate_setxuid)."""
    was_root, is_root = 0 in old.values(), 0 in (new.uid, new.euid, new.suid)
    if was_root and not is_root:
        if not new.securebits & SECURE_KEEP_CAPS:
            new.cap_permitted = new.cap_effective = 0
        new.cap_ambient = 0
    if not old["euid"] and new.euid:
        new.cap_effective = 0
    if old["euid"] and not new.euid:
        new.cap_effective = new.cap_permitted


# --- ids ------------------------------------------------------------------------------------------------


def _get(number: int, name: str, member: str) -> None:
    async def get(kernel: KernelCore) -> int:
        return kernel.sched.current.who(member)

    get.__name__ = f"sys_{name}"
    syscall(number)(get)


for _number, _name, _member in (
    (102, "getuid", "uid"), (104, "getgid", "gid"), (107, "geteuid", "euid"), (108, "getegid", "egid")
):  # fmt: skip
    _get(_number, _name, _member)


def _set_one(kernel: KernelCore, kind: _Kind, id_: int) -> int:
    """All ids of who may, else the effective one of who had it."""
    id_, task = _valid(id_), kernel.sched.current
    if task.capable(kind.capability):
        return _set(kernel, kind, id_, id_, id_)
    _may(task, kind, id_, kind.real, kind.saved)
    return _set(kernel, kind, _KEEP, id_, _KEEP)


def _set_two(kernel: KernelCore, kind: _Kind, real: int, effective: int) -> int:
    """The real and the effective id; the saved one follows if the real one is set or left."""
    real, effective, task = real & _KEEP, effective & _KEEP, kernel.sched.current
    _may(task, kind, real, kind.real, kind.effective)
    _may(task, kind, effective, kind.real, kind.effective, kind.saved)
    now = effective if effective != _KEEP else task.who(kind.effective)
    follows = real != _KEEP or (effective != _KEEP and effective != task.who(kind.real))
    return _set(kernel, kind, real, effective, now if follows else _KEEP)


def _set_three(kernel: KernelCore, kind: _Kind, ids: tuple[int, int, int]) -> int:
    """All three."""
    for id_ in ids:
        _may(kernel.sched.current, kind, id_ & _KEEP, kind.real, kind.effective, kind.saved)
    return _set(kernel, kind, *(id_ & _KEEP for id_ in ids))


def _give_three(kernel: KernelCore, kind: _Kind, places: tuple[int, int, int]) -> int:
    for place, member in zip(places, kind, strict=False):
        give(kernel, place, struct.pack("<I", kernel.sched.current.who(str(member))))
    return 0


@syscall(105)
async def sys_setuid(kernel: KernelCore, uid: int) -> int:
    """Become another user."""
    return _set_one(kernel, _USER, uid)


@syscall(106)
async def sys_setgid(kernel: KernelCore, gid: int) -> int:
    """Become of another group."""
    return _set_one(kernel, _GROUP, gid)


@syscall(113)
async def sys_setreuid(kernel: KernelCore, ruid: int, euid: int) -> int:
    """Real and effective user."""
    return _set_two(kernel, _USER, ruid, euid)


@syscall(114)
async def sys_setregid(kernel: KernelCore, rgid: int, egid: int) -> int:
    """Real and effective group."""
    return _set_two(kernel, _GROUP, rgid, egid)


@syscall(117)
async def sys_setresuid(kernel: KernelCore, ruid: int, euid: int, suid: int) -> int:
    """Real, effective and saved user."""
    return _set_three(kernel, _USER, (ruid, euid, suid))


@syscall(119)
async def sys_setresgid(kernel: KernelCore, rgid: int, egid: int, sgid: int) -> int:
    """Real, effective and saved group."""
    return _set_three(kernel, _GROUP, (rgid, egid, sgid))


@syscall(118)
async def sys_getresuid(kernel: KernelCore, ruid: int, euid: int, suid: int) -> int:
    """All three."""
    return _give_three(kernel, _USER, (ruid, euid, suid))


@syscall(120)
async def sys_getresgid(kernel: KernelCore, rgid: int, egid: int, sgid: int) -> int:
    """All three."""
    return _give_three(kernel, _GROUP, (rgid, egid, sgid))


def _set_files_id(kernel: KernelCore, kind: _Kind, id_: int) -> int:
    """Change who the task is to file systems, if it may; who it was, in any case."""
    id_, task = id_ & _KEEP, kernel.sched.current
    old = task.who(kind.files)
    mine = id_ in [task.who(str(member)) for member in kind[:4]]
    if id_ in (_KEEP, old) or not (mine or task.capable(kind.capability)):
        return old
    with changing_creds(kernel) as new:
        new.set(kind.files, id_)
        if kind is _USER and not old:
            new.cap_effective = int(new.cap_effective) & ~FS_CAPABILITIES
        elif kind is _USER and not id_:
            new.cap_effective = int(new.cap_effective) | int(new.cap_permitted) & FS_CAPABILITIES
    return old


@syscall(122)
async def sys_setfsuid(kernel: KernelCore, uid: int) -> int:
    """The user that files are used as."""
    return _set_files_id(kernel, _USER, uid)


@syscall(123)
async def sys_setfsgid(kernel: KernelCore, gid: int) -> int:
    """The group that files are used as."""
    return _set_files_id(kernel, _GROUP, gid)


@syscall(115)
async def sys_getgroups(kernel: KernelCore, gidsetsize: int, grouplist: int) -> int:
    """Supplementary groups; how many for a size of 0."""
    size, groups = as_int(gidsetsize), kernel.sched.current.groups
    if size < 0 or 0 < size < len(groups):
        raise KernelError(errno.EINVAL, f"there are {len(groups)} groups")
    if size and groups:
        give(kernel, grouplist, struct.pack(f"<{len(groups)}I", *groups))
    return len(groups)


@syscall(116)
async def sys_setgroups(kernel: KernelCore, gidsetsize: int, grouplist: int) -> int:
    """Replace the supplementary groups."""
    size = gidsetsize & 0xFFFF_FFFF
    if not kernel.sched.current.capable(CAP_SETGID):
        raise KernelError(errno.EPERM, "only root sets groups")
    if size > NGROUPS_MAX:
        raise KernelError(errno.EINVAL, f"more than {NGROUPS_MAX} groups")
    gids = struct.unpack(f"<{size}I", kernel.user.copy_from(grouplist, 4 * size))
    for gid in gids:
        _valid(gid)
    info = groups_alloc(kernel, size)
    if not info:
        raise KernelError(errno.ENOMEM)
    write_groups(kernel, info, gids)
    with changing_creds(kernel) as new:
        set_groups(kernel, new, info)
    put_group_info(kernel, info)
    return 0


# --- capabilities ---------------------------------------------------------------------------------------


def _header(kernel: KernelCore, header: int) -> int:
    """Words a set, 0 for a version that is not known: the header then names the newest."""
    version = int.from_bytes(kernel.user.copy_from(header, 4), "little")
    if version not in _VERSIONS:
        give(kernel, header, struct.pack("<I", max(_VERSIONS)))
    return _VERSIONS.get(version, 0)


@syscall(125)
async def sys_capget(kernel: KernelCore, header: int, dataptr: int) -> int:
    """Capabilities of a task: effective, permitted, inheritable."""
    words = _header(kernel, header)
    if not words and dataptr:
        raise KernelError(errno.EINVAL, "no such version of capabilities")
    if not dataptr:
        return 0
    pid = as_int(int.from_bytes(kernel.user.copy_from(header + 4, 4), "little"))
    if pid < 0:
        raise KernelError(errno.EINVAL)
    task = kernel.tasks.by_pid.get(pid) if pid else kernel.sched.current
    if task is None:
        raise KernelError(errno.ESRCH, f"there is no process {pid}")
    sets = [task.who(f"cap_{name}") for name in ("effective", "permitted", "inheritable")]
    pieces = [
        struct.pack("<III", *(mask >> 32 * word & 0xFFFF_FFFF for mask in sets)) for word in range(words)
    ]
    give(kernel, dataptr, b"".join(pieces))
    return 0


@syscall(126)
async def sys_capset(kernel: KernelCore, header: int, data: int) -> int:
    """Change the caller's capabilities: permitted ones can only be given up."""
    words, task = _header(kernel, header), kernel.sched.current
    if not words:
        raise KernelError(errno.EINVAL, "no such version of capabilities")
    pid = as_int(int.from_bytes(kernel.user.copy_from(header + 4, 4), "little"))
    if pid not in (0, task.pid):
        raise KernelError(errno.EPERM, "only the caller's own")
    values = struct.unpack(f"<{3 * words}I", kernel.user.copy_from(data, 12 * words))
    effective, permitted, inheritable = (
        sum(value << 32 * word for word, value in enumerate(values[kind::3])) & ALL_CAPABILITIES
        for kind in range(3)
    )
    with changing_creds(kernel) as new:
        old_inheritable, old_permitted = int(new.cap_inheritable), int(new.cap_permitted)
        limit = ALL_CAPABILITIES if task.capable(CAP_SETPCAP) else old_inheritable | old_permitted
        if inheritable & ~(limit & (old_inheritable | int(new.cap_bset))):
            raise KernelError(errno.EPERM, "inheritable capabilities must be permitted")
        if permitted & ~old_permitted or effective & ~permitted:
            raise KernelError(errno.EPERM, "capabilities cannot be gained")
        new.cap_effective, new.cap_permitted, new.cap_inheritable = effective, permitted, inheritable
        new.cap_ambient = int(new.cap_ambient) & permitted & inheritable
    return 0


def prctl_capabilities(kernel: KernelCore, option: int, argument: int) -> int | None:
    """What prctl(2) does about capabilities, None for options about other things (cap_task_prctl)."""
    task = kernel.sched.current
    handler: Callable[[], int] | None = {
        7: lambda: bool(task.who("securebits") & SECURE_KEEP_CAPS),
        8: lambda: _keep_capabilities(kernel, argument),
        23: lambda: _bounding(kernel, argument),
        24: lambda: _drop_bounding(kernel, argument),
        27: lambda: task.who("securebits"),
    }.get(option)
    return None if handler is None else int(handler())


def _keep_capabilities(kernel: KernelCore, on: int) -> int:
    if on > 1:
        raise KernelError(errno.EINVAL)
    with changing_creds(kernel) as new:
        bits = int(new.securebits) & ~SECURE_KEEP_CAPS
        new.securebits = bits | (SECURE_KEEP_CAPS if on else 0)
    return 0


def _bounding(kernel: KernelCore, capability: int) -> int:
    if not ALL_CAPABILITIES >> capability & 1:
        raise KernelError(errno.EINVAL, f"there is no capability {capability}")
    return kernel.sched.current.who("cap_bset") >> capability & 1


def _drop_bounding(kernel: KernelCore, capability: int) -> int:
    if not kernel.sched.current.capable(CAP_SETPCAP):
        raise KernelError(errno.EPERM)
    _bounding(kernel, capability)
    with changing_creds(kernel) as new:
        new.cap_bset = int(new.cap_bset) & ~(1 << capability)
    return 0

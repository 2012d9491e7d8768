"""Who a program runs as: set-user-id files, and root's capabilities (fs/exec.c, security/commoncap.c)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from kmod_emu.uapi.stat import S_ISGID, S_ISUID
from kmod_emu.user.syscalls_cred import SECURE_KEEP_CAPS, changing_creds

if TYPE_CHECKING:
    from kmod_emu.fs.inode import Inode
    from kmod_emu.kernel.kernel import KernelCore


def exec_creds(kernel: KernelCore, inode: Inode) -> bool:
    """Give the current task the credentials to run a file with; whether libraries must be careful."""
    with changing_creds(kernel) as new:
        if inode.mode & S_ISUID:
            new.euid = inode.uid
        if inode.mode & (S_ISGID | 0o010) == S_ISGID | 0o010:
            new.egid = inode.gid
        permitted = effective = int(new.cap_ambient)
        if 0 in (new.uid, new.euid):
            permitted = int(new.cap_bset) | int(new.cap_inheritable)
            effective = 0 if new.euid else permitted
        new.cap_permitted, new.cap_effective = permitted, effective
        new.suid = new.fsuid = new.euid
        new.sgid = new.fsgid = new.egid
        new.securebits = int(new.securebits) & ~SECURE_KEEP_CAPS
        return (new.uid, new.gid) != (new.euid, new.egid)

"""/sys/kernel/security (security/inode.c, security/lockdown/lockdown.c)."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from kmod_emu.errors import KernelError
from kmod_emu.fs.tree import Node
from kmod_emu.kernel.lockdown import Level
from kmod_emu.uapi import errno

if TYPE_CHECKING:
    from kmod_emu.kernel.kernel import KernelCore
    from kmod_emu.kernel.tasks import Task


def securityfs_nodes(kernel: KernelCore) -> dict[str, Node]:
    """The files of securityfs."""
    return {"lockdown": Node(0o644, read=partial(_read, kernel), write=partial(_write, kernel))}


def _read(kernel: KernelCore, task: Task) -> str:
    names = (level.name.lower() for level in Level)
    return " ".join(f"[{n}]" if n == kernel.lockdown.level.name.lower() else n for n in names) + "\n"


def _write(kernel: KernelCore, task: Task, data: bytes) -> None:
    word = data.decode("ascii", "replace").removesuffix("\n")
    if word not in [level.name.lower() for level in Level]:
        raise KernelError(errno.EINVAL, "that is no level of lockdown")
    kernel.lockdown.lock(Level[word.upper()], "securityfs")

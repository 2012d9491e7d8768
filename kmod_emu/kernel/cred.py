"""Credentials: who a task is, as `struct cred` in guest memory says (kernel/cred.c, kernel/user.c).

As in Linux, credentials that a task has are replaced by others (`commit_creds`), not changed.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from kmod_emu.kernel.exports import export, export_data
from kmod_emu.kernel.groups import INIT_GROUPS, get_group_info, put_group_info
from kmod_emu.uapi.capability import ALL_CAPABILITIES

if TYPE_CHECKING:
    from kmod_emu.abi.structs import StructView
    from kmod_emu.kernel.kernel import KernelCore

INIT_CRED, ROOT_USER = "init_cred", "root_user"  # symbols: root's credentials, and its user_struct
IDS = ("uid", "gid", "suid", "sgid", "euid", "egid", "fsuid", "fsgid")


@export_data("struct cred init_cred", lambda kernel: kernel.profile.struct("cred").size)
def init_cred(kernel: KernelCore, address: int) -> None:
    """The credentials of the kernel's own tasks, which `boot_cred` fills."""


@export_data("struct user_struct root_user", 256)
def root_user(kernel: KernelCore, address: int) -> None:
    """What there is one of for each user: root's (kernel/user.c), likewise."""


def boot_cred(kernel: KernelCore) -> None:
    """Root's credentials, with all capabilities, before there is a task."""
    cred = kernel.view("cred", kernel.symbols.address(INIT_CRED))
    cred.usage = 4
    cred.cap_permitted = cred.cap_effective = cred.cap_bset = ALL_CAPABILITIES
    cred.user_ns = kernel.symbols.address("init_user_ns")
    cred.group_info = kernel.symbols.address(INIT_GROUPS)
    get_group_info(kernel, cred.group_info)
    if "user_struct" in kernel.profile.structs:
        cred.user = kernel.symbols.address(ROOT_USER)
        _count_user(kernel, cred.user, 1)


def copy_cred(kernel: KernelCore, old: int) -> int:
    """Credentials that say the same, with one reference; 0 without memory."""
    size = kernel.profile.struct("cred").size
    new = kernel.heap.kmalloc(size)
    if new:
        kernel.memory.write(new, kernel.memory.read(old, size))
        cred = kernel.view("cred", new)
        cred.usage = 1
        get_group_info(kernel, cred.group_info)
        _count_user(kernel, cred.user, 1)
    return new


def put_cred(kernel: KernelCore, address: int) -> None:
    """Drop a reference; the last one frees."""
    cred = kernel.view("cred", address)
    cred.usage -= 1
    if not cred.usage:
        _free(kernel, cred)


def _free(kernel: KernelCore, cred: StructView) -> None:
    put_group_info(kernel, cred.group_info)
    _count_user(kernel, cred.user, -1)
    kernel.heap.kfree(cred.address)


def _count_user(kernel: KernelCore, user: int, by: int) -> None:
    if user:
        view = kernel.view("user_struct", user)
        count = int(view.get("__count")) + by
        view.set("__count", count)
        if not count:
            kernel.heap.kfree(user)


def set_user(kernel: KernelCore, cred: StructView) -> None:
    """Make `cred->user` that of `cred->uid` (kernel/sys.c: set_user; kernel/user.c: alloc_uid)."""
    old = int(cred.user)
    if not old or kernel.view("user_struct", old).uid == cred.uid:
        return
    if not cred.uid:
        user = kernel.symbols.address(ROOT_USER)
    else:
        creds = {kernel.tasks.view(task).real_cred for task in kernel.tasks.by_pid.values()}
        users = {int(kernel.view("cred", address).user) for address in creds}
        user = next((u for u in users if kernel.view("user_struct", u).uid == cred.uid), 0)
    if not user:
        user = kernel.heap.kmalloc(kernel.profile.struct("user_struct").size)
        kernel.view("user_struct", user).uid = cred.uid
    _count_user(kernel, user, 1)
    _count_user(kernel, old, -1)
    cred.user = user


def _current(kernel: KernelCore) -> StructView:
    return kernel.view("task_struct", kernel.sched.current.address)


@export("struct cred *prepare_creds(void)")
def prepare_creds(kernel: KernelCore) -> int:
    """A copy of the current task's credentials, to change; NULL without memory."""
    return copy_cred(kernel, _current(kernel).cred)


@export("struct cred *prepare_kernel_cred(struct task_struct *daemon)")
def prepare_kernel_cred(kernel: KernelCore, daemon: int) -> int:
    """A copy of a task's credentials; of the kernel's own for NULL, which Linux since 6.2 refuses.

    That change left no trace of its own; capabilities became one number (and aligned) one release later.
    """
    if daemon:
        return copy_cred(kernel, kernel.view("task_struct", daemon).real_cred)
    if not kernel.profile.offset("cred", "cap_inheritable") % 8:
        kernel.warnings.warn_once("kernel/cred.c", 634, "", "prepare_kernel_cred+0x1ae/0x1f0")
        return 0
    return copy_cred(kernel, kernel.symbols.address(INIT_CRED))


@export("int commit_creds(struct cred *new)")
def commit_creds(kernel: KernelCore, new: int) -> int:
    """The current task is from now on who `new` says."""
    task = _current(kernel)
    old = task.real_cred
    kernel.view("cred", new).usage += 1
    task.cred = task.real_cred = new
    put_cred(kernel, old)
    put_cred(kernel, old)
    return 0


@export("void abort_creds(struct cred *new)")
def abort_creds(kernel: KernelCore, new: int) -> None:
    """Throw prepared credentials away."""
    put_cred(kernel, new)


@export("void __put_cred(struct cred *cred)")
def __put_cred(kernel: KernelCore, cred: int) -> None:
    """The last reference is gone: inlined put_cred() has counted."""
    _free(kernel, kernel.view("cred", cred))


@export("const struct cred *override_creds(const struct cred *new)")
def override_creds(kernel: KernelCore, new: int) -> int:
    """Act as somebody else for a while; the credentials to go back to."""
    task = _current(kernel)
    kernel.view("cred", new).usage += 1
    old, task.cred = task.cred, new
    return int(old)


@export("void revert_creds(const struct cred *old)")
def revert_creds(kernel: KernelCore, old: int) -> None:
    """Be oneself again."""
    task = _current(kernel)
    override, task.cred = task.cred, old
    put_cred(kernel, override)


@export("const struct cred *get_task_cred(struct task_struct *task)")
def get_task_cred(kernel: KernelCore, task: StructView) -> int:
    """Another task's credentials, with a reference."""
    kernel.view("cred", task.real_cred).usage += 1
    return int(task.real_cred)

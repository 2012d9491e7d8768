"""Credentials: who a task is, as `struct cred` in guest memory says (kernel/cred.c, kernel/user_namespace.c).

There is one user namespace, where numbers mean themselves.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from kmod_emu.kernel.exports import export, export_data
from kmod_emu.uapi.capability import ALL_CAPABILITIES

if TYPE_CHECKING:
    from kmod_emu.abi.structs import StructView
    from kmod_emu.kernel.kernel import KernelCore

_OVERFLOW_ID = 65534


def new_cred(kernel: KernelCore, usage: int = 1) -> int:
    """Root's credentials, as those of the kernel itself (init_cred)."""
    cred = kernel.view("cred", kernel.heap.kmalloc(kernel.profile.struct("cred").size))
    cred.usage = usage
    cred.cap_permitted = cred.cap_effective = cred.cap_bset = ALL_CAPABILITIES
    cred.user_ns = kernel.symbols.address("init_user_ns")
    return cred.address


def put_cred(kernel: KernelCore, address: int, references: int = 1) -> None:
    """Drop references; the last one frees."""
    cred = kernel.view("cred", address)
    cred.usage -= references
    if not cred.usage:
        kernel.heap.kfree(address)


def _current(kernel: KernelCore) -> StructView:
    return kernel.view("task_struct", kernel.sched.current.address)


def _copy(kernel: KernelCore, old: int) -> int:
    size = kernel.profile.struct("cred").size
    new = kernel.heap.kmalloc(size)
    kernel.memory.write(new, kernel.memory.read(old, size))
    kernel.view("cred", new).usage = 1
    return new


@export("struct cred *prepare_creds(void)")
def prepare_creds(kernel: KernelCore) -> int:
    """A copy of the current task's credentials, to change."""
    return _copy(kernel, _current(kernel).cred)


@export("struct cred *prepare_kernel_cred(struct task_struct *daemon)")
def prepare_kernel_cred(kernel: KernelCore, daemon: int) -> int:
    """A copy of a task's credentials; of the kernel's own for NULL."""
    return _copy(kernel, kernel.view("task_struct", daemon).real_cred) if daemon else new_cred(kernel)


@export("int commit_creds(struct cred *new)")
def commit_creds(kernel: KernelCore, new: int) -> int:
    """The current task is from now on who `new` says."""
    task = _current(kernel)
    old = task.real_cred
    kernel.view("cred", new).usage += 1
    task.cred = task.real_cred = new
    put_cred(kernel, old, 2)
    return 0


@export("void abort_creds(struct cred *new)")
def abort_creds(kernel: KernelCore, new: int) -> None:
    """Throw prepared credentials away."""
    put_cred(kernel, new)


@export("void __put_cred(struct cred *cred)")
def __put_cred(kernel: KernelCore, cred: int) -> None:
    """The last reference is gone: inlined put_cred() has counted."""
    kernel.heap.kfree(cred)


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


# --- the user namespace ---------------------------------------------------------------------------------


@export_data(
    "struct user_namespace init_user_ns", lambda kernel: kernel.profile.struct("user_namespace").size
)
def init_user_ns(kernel: KernelCore, address: int) -> None:
    """The namespace of all tasks: 2^32 - 1 users who are themselves (kernel/user.c)."""
    namespace = kernel.view("user_namespace", address)
    for kind in ("uid_map", "gid_map", "projid_map"):
        extents = kernel.view("uid_gid_map", namespace.addressof(kind))
        extents.nr_extents = 1
        kernel.memory.write(extents.addressof("extent"), bytes(8) + b"\xff" * 4)


def _same(name: str, *, munged: bool = False) -> None:
    @export(f"u32 {name}(struct user_namespace *ns, u32 id)")
    def translate(kernel: KernelCore, ns: int, id_: int) -> int:
        """The number in, or out of, the only namespace; one that is no user's may be told as `nobody`."""
        return _OVERFLOW_ID if munged and id_ == 0xFFFF_FFFF else id_


for _name in ("make_kuid", "make_kgid", "from_kuid", "from_kgid"):
    _same(_name)
for _name in ("from_kuid_munged", "from_kgid_munged"):
    _same(_name, munged=True)


@export("bool ns_capable(struct user_namespace *ns, int cap)")
def ns_capable(kernel: KernelCore, ns: int, cap: int) -> bool:
    """Whether the current task has a capability in a namespace (kernel/capability.c)."""
    return kernel.sched.current.capable(cap)

"""Credentials and namespaces as modules see them (kernel/cred.c, user_namespace.c).

There is one namespace of each.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from kmod_emu.kernel.exports import Fidelity, export, export_data

if TYPE_CHECKING:
    from kmod_emu.kernel.kernel import KernelCore

_FIELD = 65  # __NEW_UTS_LEN + 1


def _define_ids() -> None:
    """Numbers inside and outside of the namespace are the same."""

    def define(kind: str) -> None:
        @export(f"u32 from_k{kind}(struct user_namespace *targ, u32 k{kind})")
        def from_kid(kernel: KernelCore, targ: int, id: int) -> int:
            """The number of an id in a namespace (kernel/user_namespace.c)."""
            return id

        @export(f"u32 from_k{kind}_munged(struct user_namespace *targ, u32 k{kind})")
        def from_kid_munged(kernel: KernelCore, targ: int, id: int) -> int:
            """As above, for user space (kernel/user_namespace.c)."""
            return id

        @export(f"u32 make_k{kind}(struct user_namespace *ns, u32 {kind})")
        def make_kid(kernel: KernelCore, ns: int, id: int) -> int:
            """The id of a number in a namespace (kernel/user_namespace.c)."""
            return id

    define("uid")
    define("gid")


_define_ids()


@export_data("struct user_namespace init_user_ns", 1024, Fidelity.APPROXIMATE)
def init_user_ns(kernel: KernelCore, address: int) -> None:
    """The namespace of all users (kernel/user.c); nothing is in it."""


@export_data("struct uts_namespace init_uts_ns", 512, Fidelity.APPROXIMATE)
def init_uts_ns(kernel: KernelCore, address: int) -> None:
    """What uname(2) answers (init/version.c)."""
    profile = kernel.profile
    names = ("Linux", "kmod-emu", profile.release, profile.version, "x86_64", "(none)")
    for index, name in enumerate(names):
        kernel.memory.write(address + index * _FIELD, name.encode()[: _FIELD - 1])


@export("struct cred *prepare_creds(void)")
def prepare_creds(kernel: KernelCore) -> int:
    """A copy of the current task's credentials, to be changed (kernel/cred.c)."""
    size = kernel.profile.struct("cred").size
    new = kernel.heap.kmalloc(size)
    old = kernel.view("task_struct", kernel.sched.current.address).cred
    kernel.memory.write(new, kernel.memory.read(old, size))
    kernel.view("cred", new).usage = 1
    return new


@export("int commit_creds(struct cred *new)", Fidelity.APPROXIMATE)
def commit_creds(kernel: KernelCore, new: int) -> int:
    """Give the current task new credentials (kernel/cred.c); system calls go by uid, gid and capabilities."""
    task = kernel.sched.current
    view, cred = kernel.view("task_struct", task.address), kernel.view("cred", new)
    if view.cred != new:
        kernel.heap.kfree(view.cred)
    view.cred = view.real_cred = new
    task.uid, task.gid, task.capabilities = cred.euid, cred.egid, cred.cap_effective
    return 0


@export("void abort_creds(struct cred *new)")
def abort_creds(kernel: KernelCore, new: int) -> None:
    """Throw away what prepare_creds() gave (kernel/cred.c)."""
    kernel.heap.kfree(new)

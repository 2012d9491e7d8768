"""The user namespace, where numbers mean themselves, and capabilities (kernel/capability.c)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from kmod_emu.kernel.exports import export, export_data

if TYPE_CHECKING:
    from kmod_emu.kernel.kernel import KernelCore

_OVERFLOW_ID = 65534


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


for _name in ("make_kuid", "make_kgid", "make_kprojid", "from_kuid", "from_kgid", "from_kprojid"):
    _same(_name)
for _name in ("from_kuid_munged", "from_kgid_munged"):
    _same(_name, munged=True)


@export("bool capable(int cap)")
def capable(kernel: KernelCore, cap: int) -> bool:
    """Whether the current task has a capability."""
    return kernel.sched.current.capable(cap)


def _capable_in_namespace(name: str) -> None:
    @export(f"bool {name}(struct user_namespace *ns, int cap)")
    def ask(kernel: KernelCore, ns: int, cap: int) -> bool:
        """Whether the current task has a capability in a namespace: there is one."""
        return kernel.sched.current.capable(cap)


for _name in ("ns_capable", "ns_capable_noaudit", "ns_capable_setid"):
    _capable_in_namespace(_name)


@export("bool has_capability(struct task_struct *t, int cap)")
def has_capability(kernel: KernelCore, t: int, cap: int) -> bool:
    """Whether another task has one, whatever it acts as at the moment."""
    real = kernel.view("cred", kernel.view("task_struct", t).real_cred)
    return bool(int(real.get("cap_effective")) >> cap & 1)


@export("bool file_ns_capable(const struct file *file, struct user_namespace *ns, int cap)")
def file_ns_capable(kernel: KernelCore, file: int, ns: int, cap: int) -> bool:
    """Whether who opened a file had it then."""
    opener = kernel.view("cred", kernel.view("file", file).f_cred)
    return bool(int(opener.get("cap_effective")) >> cap & 1)

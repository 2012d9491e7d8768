"""What the machine is called, as utsname() finds it (include/linux/utsname.h, init/version.c)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from kmod_emu.kernel.exports import Fidelity, export_data

if TYPE_CHECKING:
    from kmod_emu.kernel.kernel import KernelCore

_FIELD = 65
_UTS_NAMESPACE = 512  # more than any release's
_NODENAME = 1


def _new_utsname(kernel: KernelCore) -> int:
    """Address of `struct new_utsname`; a count was before it where namespaces counted themselves."""
    return kernel.symbols.address("init_uts_ns") + (4 if kernel.profile.has("user_namespace.count") else 0)


def read_utsname(kernel: KernelCore) -> bytes:
    """What uname(2) gives."""
    return kernel.memory.read(_new_utsname(kernel), 6 * _FIELD)


def set_nodename(kernel: KernelCore, name: bytes) -> None:
    """Rename the machine."""
    kernel.memory.write(_new_utsname(kernel) + _NODENAME * _FIELD, name[: _FIELD - 1].ljust(_FIELD, b"\0"))


@export_data("struct uts_namespace init_uts_ns", _UTS_NAMESPACE, Fidelity.APPROXIMATE)
def init_uts_ns(kernel: KernelCore, address: int) -> None:
    """The names; nothing of the namespace behind them (init/version.c)."""
    profile = kernel.profile
    fields = ("Linux", kernel.sysctl["hostname"], profile.release, profile.version, "x86_64", "(none)")
    text = b"".join(field.encode()[: _FIELD - 1].ljust(_FIELD, b"\0") for field in fields)
    kernel.memory.write(_new_utsname(kernel), text)


@export_data("struct nsproxy init_nsproxy", lambda kernel: kernel.profile.struct("nsproxy").size)
def init_nsproxy(kernel: KernelCore, address: int) -> None:
    """The namespaces of all tasks; only that of names is there (kernel/nsproxy.c)."""
    kernel.memory.write_u32(address, 1)
    kernel.view("nsproxy", address).uts_ns = kernel.symbols.address("init_uts_ns")

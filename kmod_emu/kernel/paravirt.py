"""Paravirt operations: tables of functions that a hypervisor may replace (arch/x86/kernel/paravirt.c).

Modules call through them where the loader did not patch the call. Those that pure code serves are guest code;
calling another one reports that it is not implemented, as calling any export that is not.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from kmod_emu.kernel.exports import Fidelity, export, export_data
from kmod_emu.kernel.layout import ABSENT_BASE, ABSENT_STRIDE

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from kmod_emu.abi.profile import Profile
    from kmod_emu.kernel.kernel import KernelCore

# Operations by the structure that has them: guest function, and the code that stands for a call.
NATIVE = {
    ("cpu", "pv_cpu_ops", "read_cr0"): ("pv_native_read_cr0", b"\x0f\x20\xc0"),  # mov %cr0, %rax
    ("cpu", "pv_cpu_ops", "write_cr0"): ("pv_native_write_cr0", b"\x0f\x22\xc7"),  # mov %rdi, %cr0
    ("irq", "pv_irq_ops", "save_fl"): ("pv_native_save_fl", b"\x9c\x58"),  # pushf; pop %rax
    ("irq", "pv_irq_ops", "restore_fl"): ("pv_native_restore_fl", b"\x57\x9d"),  # push %rdi; popf
    ("irq", "pv_irq_ops", "irq_disable"): ("pv_native_irq_disable", b"\xfa"),
    ("irq", "pv_irq_ops", "irq_enable"): ("pv_native_irq_enable", b"\xfb"),
    ("lock", "pv_lock_ops", "queued_spin_unlock"): ("pv_native_queued_spin_unlock", b"\xc6\x07\x00"),
    ("lock", "pv_lock_ops", "vcpu_is_preempted"): ("pv_native_vcpu_is_preempted", b"\x31\xc0"),
}
_TEMPLATE = "paravirt_patch_template"
_NOTHING = "_paravirt_nop"
_IO_DELAY = ("pv_cpu_ops", "io_delay")  # Python's: nothing stands for its call


def native_code(profile: Profile) -> dict[int, bytes]:
    """Code that may stand for a call of an operation, by the operation's index in pv_ops."""
    return {offset // 8: code for offset, (_, code) in _operations(profile)}


def operation(kernel: KernelCore) -> Callable[[int], bytes | int | None]:
    """What stands for a call of an operation, by its index in pv_ops: code, a function, or nothing.

    A kernel whose own functions are there calls them, but for those that it has code for (paravirt_patch()).
    """
    native = native_code(kernel.profile)
    if not kernel.symbols.internal(_NOTHING):
        return native.get
    if not kernel.symbols.internal("native_patch"):  # alternatives bring the code
        native = {}
    table, nothing = kernel.symbol("pv_ops"), kernel.symbol(_NOTHING)

    def find(index: int) -> bytes | int | None:
        function = kernel.memory.read_u64(table + 8 * index)
        if function == nothing:
            return b""
        return native.get(index) or function or kernel.symbol("paravirt_BUG")

    return find


def _operations(profile: Profile) -> Iterator[tuple[int, tuple[str, bytes]]]:
    """Offset in pv_ops of each operation that this release has there."""
    for (group, struct, member), native in NATIVE.items():
        if profile.has(f"{_TEMPLATE}.{group}") and profile.has(f"{struct}.{member}"):
            yield profile.offset(_TEMPLATE, group) + profile.offset(struct, member), native


@export("void pv_native_io_delay(void)")
def pv_native_io_delay(kernel: KernelCore) -> None:
    """outb_p() waits for old hardware; a model needs no time."""


def _fill(kernel: KernelCore, table: str, address: int, size: int, places: dict[str, int]) -> None:
    """Point every operation of a table to its function."""
    nobody = ABSENT_BASE + ABSENT_STRIDE * kernel.profile.export_index(table)
    for offset in range(0, size, 8):
        kernel.memory.write_u64(address + offset, nobody)
    for function, offset in places.items():
        kernel.memory.write_u64(address + offset, kernel.symbols.address(function))


@export_data(
    "struct paravirt_patch_template pv_ops",
    lambda kernel: kernel.profile.struct(_TEMPLATE).size,
    Fidelity.APPROXIMATE,
)
def pv_ops(kernel: KernelCore, address: int) -> None:
    """All operations, in groups; spinlocks' are a table of their own in newer kernels."""
    profile = kernel.profile
    places = {function: offset for offset, (function, _) in _operations(profile)}
    if profile.has(".".join(_IO_DELAY)):
        places["pv_native_io_delay"] = profile.offset(_TEMPLATE, "cpu") + profile.offset(*_IO_DELAY)
    _fill(kernel, "pv_ops", address, kernel.profile.struct(_TEMPLATE).size, places)


@export_data(
    "struct pv_lock_ops pv_ops_lock", lambda kernel: kernel.profile.struct("pv_lock_ops").size,
    Fidelity.APPROXIMATE,
)  # fmt: skip
def pv_ops_lock(kernel: KernelCore, address: int) -> None:
    """The operations of spinlocks, where they are a table of their own."""
    if "pv_ops_lock" not in kernel.profile.exports:
        return
    layout = kernel.profile.struct("pv_lock_ops")
    places = {
        function: layout.offset(member)
        for (_, struct, member), (function, _) in NATIVE.items()
        if struct == "pv_lock_ops"
    }
    _fill(kernel, "pv_ops_lock", address, layout.size, places)

"""Kretprobes: a module's handler when a function returns (kernel/kprobes.c, kernel/trace/rethook.c).

At the function's entry the return address on the stack is replaced by a trampoline's; the mark on the
trampoline is one like that of any kprobe.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from kmod_emu.kernel.activation import to_int
from kmod_emu.kernel.exports import export
from kmod_emu.kernel.kprobes import arm
from kmod_emu.uapi import errno

if TYPE_CHECKING:
    from kmod_emu.abi.structs import StructView
    from kmod_emu.kernel.kernel import KernelCore

_KRETPROBE_MAX_DATA_SIZE = 4096
_DEFAULT_ACTIVE = 10  # max(10, 2 * num_possible_cpus())


class Kretprobes:
    """Hooks at entries; keeps the calls that are on their way.

    Attributes:
        calls: (stack slot, true return address, kretprobe, instance) of each, in order of calling.
    """

    def __init__(self, kernel: KernelCore) -> None:
        self._kernel = kernel
        self.calls: list[tuple[int, int, int, int]] = []

    async def before(self, hook: int, place: int, regs: StructView) -> bool:
        """The function is called: ask the entry_handler, and divert the return."""
        kernel = self._kernel
        probe = kernel.view("kretprobe", hook)
        if sum(call[2] == hook for call in self.calls) >= probe.signed("maxactive"):
            probe.nmissed = probe.nmissed + 1
            return False
        instance = self._instance(probe, kernel.memory.read_u64(regs.sp))
        if probe.entry_handler:
            refused = to_int(await kernel.call_guest(probe.entry_handler, instance, regs.address))
            if refused:
                self._free(instance)
                return False
        slot = regs.sp
        self.calls.append((slot, kernel.memory.read_u64(slot), hook, instance))
        kernel.memory.write_u64(slot, kernel.symbol("arch_rethook_trampoline"))
        return False

    async def after(self, hook: int, place: int, regs: StructView) -> None:
        """Nothing behind the first instruction."""

    async def returned(self, regs: StructView) -> None:
        """A function came back to the trampoline: call the handlers, and find the way."""
        kernel = self._kernel
        slot = regs.sp - 8
        while mine := next((call for call in reversed(self.calls) if call[0] == slot), None):
            self.calls.remove(mine)
            _, regs.ip, hook, instance = mine
            handler = kernel.view("kretprobe", hook).handler if hook else 0
            if handler:
                await kernel.call_guest(handler, instance, regs.address)
            self._free(instance)

    def _instance(self, probe: StructView, return_address: int) -> int:
        """A struct kretprobe_instance with the driver's data behind it."""
        kernel = self._kernel
        layout = kernel.profile.struct("kretprobe_instance")
        address = kernel.heap.kmalloc(layout.offset("data") + probe.data_size)
        if "node" not in layout.members:
            view = kernel.view("kretprobe_instance", address)
            view.rp, view.ret_addr, view.task = probe.address, return_address, kernel.sched.current.address
            return address
        # Since commit 73f9b911faa7 ("kprobes: Use rethook for kretprobe if possible").
        node = kernel.view("rethook_node", address + layout.offset("node"))
        node.rethook, node.ret_addr = probe.rh, return_address
        return address

    def _free(self, instance: int) -> None:
        self._kernel.heap.kfree(instance)

    def drop(self, hook: int) -> None:
        """A kretprobe goes: its calls return without it."""
        self.calls = [(s, a, 0 if h == hook else h, i) for s, a, h, i in self.calls]

    def save(self) -> Any:
        """State for a snapshot or file."""
        return [list(call) for call in self.calls]

    def load(self, state: Any) -> None:
        """Put saved state back."""
        self.calls = [(slot, address, hook, instance) for slot, address, hook, instance in state]


class Trampoline:
    """The hook at the trampoline."""

    def __init__(self, kernel: KernelCore) -> None:
        self._kernel = kernel

    async def before(self, hook: int, place: int, regs: StructView) -> bool:
        """Go on at the true return address."""
        await self._kernel.kretprobes.returned(regs)
        return True

    async def after(self, hook: int, place: int, regs: StructView) -> None:
        """Never reached."""


@export("void arch_rethook_trampoline(void)")
def arch_rethook_trampoline(kernel: KernelCore) -> None:
    """Where functions with a kretprobe return to; the mark on it is hit first (arch/x86/kernel/rethook.c)."""


@export("int register_kretprobe(struct kretprobe *rp)")
def register_kretprobe(kernel: KernelCore, rp: StructView) -> int:
    """Call a handler whenever a function returns (kernel/kprobes.c)."""
    if rp.data_size > _KRETPROBE_MAX_DATA_SIZE:
        return -errno.E2BIG
    probe = kernel.view("kprobe", rp.addressof("kp"))
    trampoline = kernel.symbol("arch_rethook_trampoline")
    if trampoline not in kernel.probes.original:
        kernel.probes.add(trampoline, "trampoline", 0)
    if rp.signed("maxactive") <= 0:
        rp.maxactive = _DEFAULT_ACTIVE
    rp.nmissed = 0
    arm(kernel, probe, "kretprobe", rp.address)
    if rp.has("rh"):
        rp.rh = kernel.heap.kmalloc(kernel.profile.struct("rethook").size)
        kernel.view("rethook", rp.rh).data = rp.address
    return 0


@export("void unregister_kretprobe(struct kretprobe *rp)")
def unregister_kretprobe(kernel: KernelCore, rp: StructView) -> None:
    """Call it no longer (kernel/kprobes.c)."""
    probe = kernel.view("kprobe", rp.addressof("kp"))
    kernel.probes.remove(probe.addr, "kretprobe", rp.address)
    kernel.kretprobes.drop(rp.address)
    if rp.has("rh") and rp.rh:
        kernel.heap.kfree(rp.rh)
        rp.rh = 0


@export("int register_kretprobes(struct kretprobe **rps, int num)")
def register_kretprobes(kernel: KernelCore, rps: int, num: int) -> int:
    """Several at once (kernel/kprobes.c)."""
    for index in range(num):
        result = register_kretprobe(kernel, kernel.view("kretprobe", kernel.memory.read_u64(rps + 8 * index)))
        if result:
            unregister_kretprobes(kernel, rps, index)
            return result
    return 0 if num > 0 else -errno.EINVAL


@export("void unregister_kretprobes(struct kretprobe **rps, int num)")
def unregister_kretprobes(kernel: KernelCore, rps: int, num: int) -> None:
    """Several at once (kernel/kprobes.c)."""
    for index in range(num):
        unregister_kretprobe(kernel, kernel.view("kretprobe", kernel.memory.read_u64(rps + 8 * index)))

"""Kprobes: a module's handler at any instruction of the kernel (kernel/kprobes.c)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from kmod_emu.errors import KernelError
from kmod_emu.kernel.activation import to_int
from kmod_emu.kernel.exports import export
from kmod_emu.uapi import errno

if TYPE_CHECKING:
    from kmod_emu.abi.structs import StructView
    from kmod_emu.kernel.kernel import KernelCore

KPROBE_FLAG_GONE, KPROBE_FLAG_DISABLED = 1, 2


class Kprobes:
    """Hooks that are a `struct kprobe`."""

    def __init__(self, kernel: KernelCore) -> None:
        self._kernel = kernel

    async def before(self, hook: int, place: int, regs: StructView) -> bool:
        """The pre_handler; if that returns non-zero it has set `regs.ip`."""
        handler = self._kernel.view("kprobe", hook).pre_handler
        return bool(handler and to_int(await self._kernel.call_guest(handler, hook, regs.address)))

    async def after(self, hook: int, place: int, regs: StructView) -> None:
        """The post_handler."""
        handler = self._kernel.view("kprobe", hook).post_handler
        if handler:
            await self._kernel.call_guest(handler, hook, regs.address, 0)


def probe_address(kernel: KernelCore, probe: StructView) -> int:
    """Where a kprobe goes (_kprobe_addr).

    Raises:
        KernelError: EINVAL, it names both or neither of an address and a symbol; ENOENT, no such symbol.
    """
    address, symbol = probe.addr, probe.symbol_name
    if bool(address) == bool(symbol):
        raise KernelError(errno.EINVAL, "a kprobe needs an address or a symbol, and not both")
    if symbol:
        name = kernel.memory.read_text(symbol)
        address = kernel.lookup_name(name)
        if not address:
            raise KernelError(errno.ENOENT, f"the kernel has no symbol {name} that runs here")
    return address + probe.offset & (1 << 64) - 1


def arm(kernel: KernelCore, probe: StructView, kind: str, hook: int) -> None:
    """Check a kprobe, enter its address and mark the place.

    Raises:
        KernelError: As register_kprobe() fails.
    """
    address = probe_address(kernel, probe)
    probe.addr = address
    if (kind, hook) in kernel.probes.hooks.get(address, ()):
        kernel.warnings.warn("kernel/kprobes.c", 1532, "", "register_kprobe+0x47f/0x660")
        raise KernelError(errno.EINVAL, "this kprobe is registered already")
    _check_boundary(kernel, address)
    probe.set("flags", probe.get("flags") & KPROBE_FLAG_DISABLED)
    probe.nmissed = 0
    if not probe.get("flags") & KPROBE_FLAG_DISABLED:
        kernel.probes.add(address, kind, hook)


def _check_boundary(kernel: KernelCore, address: int) -> None:
    """arch_prepare_kprobe(): EILSEQ in the middle of an instruction, EINVAL where no code is."""
    location = kernel.locate(address)
    if location is None:
        raise KernelError(errno.EINVAL, f"{address:#x} is in no function")
    if not location.offset:
        return
    from kmod_emu.machine.asm import disassemble

    start = address - location.offset
    code = bytearray(kernel.memory.read(start, location.offset + 16))
    for place, byte in kernel.probes.original.items():
        if start <= place < start + len(code):
            code[place - start] = byte
    if not any(instruction.address == address for instruction in disassemble(bytes(code), start)):
        raise KernelError(errno.EILSEQ, f"{address:#x} is in the middle of an instruction")


@export("int register_kprobe(struct kprobe *p)")
def register_kprobe(kernel: KernelCore, p: StructView) -> int:
    """Call a handler whenever a place is reached (kernel/kprobes.c)."""
    arm(kernel, p, "kprobe", p.address)
    return 0


@export("void unregister_kprobe(struct kprobe *p)")
def unregister_kprobe(kernel: KernelCore, p: StructView) -> None:
    """Call it no longer (kernel/kprobes.c)."""
    kernel.probes.remove(p.addr, "kprobe", p.address)


@export("int register_kprobes(struct kprobe **kps, int num)")
def register_kprobes(kernel: KernelCore, kps: int, num: int) -> int:
    """Several at once, all or none (kernel/kprobes.c)."""
    if num <= 0:
        return -errno.EINVAL
    for index in range(num):
        try:
            register_kprobe(kernel, kernel.view("kprobe", kernel.memory.read_u64(kps + 8 * index)))
        except KernelError as error:
            unregister_kprobes(kernel, kps, index)
            return -error.errno
    return 0


@export("void unregister_kprobes(struct kprobe **kps, int num)")
def unregister_kprobes(kernel: KernelCore, kps: int, num: int) -> None:
    """Several at once (kernel/kprobes.c)."""
    for index in range(num):
        unregister_kprobe(kernel, kernel.view("kprobe", kernel.memory.read_u64(kps + 8 * index)))


@export("int enable_kprobe(struct kprobe *kp)")
def enable_kprobe(kernel: KernelCore, kp: StructView) -> int:
    """Call a disabled kprobe's handlers again (kernel/kprobes.c)."""
    flags = kp.get("flags")
    if flags & KPROBE_FLAG_DISABLED:
        kp.set("flags", flags & ~KPROBE_FLAG_DISABLED)
        kernel.probes.add(kp.addr, "kprobe", kp.address)
    return 0


@export("int disable_kprobe(struct kprobe *kp)")
def disable_kprobe(kernel: KernelCore, kp: StructView) -> int:
    """Call its handlers no longer, for now (kernel/kprobes.c)."""
    kp.set("flags", kp.get("flags") | KPROBE_FLAG_DISABLED)
    kernel.probes.remove(kp.addr, "kprobe", kp.address)
    return 0


# --- names of addresses ---------------------------------------------------------------------------------


@export("unsigned long kallsyms_lookup_name(const char *name)")
def kallsyms_lookup_name(kernel: KernelCore, name: str) -> int:
    """Address of any symbol (kernel/kallsyms.c). Not exported since 5.7: modules find it by a kprobe."""
    return kernel.lookup_name(name)


@export("int sprint_symbol(char *buffer, unsigned long address)")
def sprint_symbol(kernel: KernelCore, buffer: int, address: int) -> int:
    """`name+offset/size [module]` of an address (kernel/kallsyms.c)."""
    return _print(kernel, buffer, kernel.describe(address))


@export("int sprint_symbol_no_offset(char *buffer, unsigned long address)")
def sprint_symbol_no_offset(kernel: KernelCore, buffer: int, address: int) -> int:
    """`name [module]` of an address (kernel/kallsyms.c)."""
    location = kernel.locate(address)
    if location is None:
        return _print(kernel, buffer, f"{address:#x}")
    return _print(
        kernel, buffer, f"{location.name} [{location.module}]" if location.module else location.name
    )


def _print(kernel: KernelCore, buffer: int, text: str) -> int:
    raw = text.encode("utf-8", "surrogateescape")
    kernel.memory.write(buffer, raw + b"\0")
    return len(raw)

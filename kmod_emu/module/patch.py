"""Applying the patches of finalize.py to a module that is being loaded (arch/x86/kernel/module.c)."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from kmod_emu.kernel.bugs import WARN_TRAP_CODE
from kmod_emu.kernel.cpu_match import has_feature
from kmod_emu.kernel.orc import ENTRY_SIZE, unwind_module_init
from kmod_emu.kernel.paravirt import operation
from kmod_emu.machine.memory import PageFault
from kmod_emu.module import finalize
from kmod_emu.module.errors import KernelWouldCrash
from kmod_emu.module.modules import Modules

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from kmod_emu.kernel.kernel import KernelCore
    from kmod_emu.machine.memory import Memory
    from kmod_emu.module.elf import Section
    from kmod_emu.module.load import LoadInfo
    from kmod_emu.module.modules import Module

_REGISTERS = ("rax", "rcx", "rdx", "rbx", "rsp", "rbp", "rsi", "rdi", *(f"r{n}" for n in range(8, 16)))
# Feature bits that every x86-64 kernel sets: NOPL (3*32+20) and ALWAYS (3*32+21).
_FEATURES = frozenset((3 * 32 + 20, 3 * 32 + 21))
# Where the real kernel's own warnings stand, as Debian's 6.1 prints it.
_APPLY_RETURNS = ("arch/x86/kernel/alternative.c", 823, "apply_returns+0x1ee/0x200")
_UNWIND_MODULE_INIT = ("arch/x86/kernel/unwind_orc.c", 250, "unwind_module_init+0x4b/0xc0")
_POISONS = (b"\x66\x0f\x1f\x00", b"\x0f\x1f\x40\xd6")  # NOPs, the second since there is __WARN_trap()
_TRAMPOLINE_MARK = b"\x0f\xb9\xcc"


def ftrace_module_init(info: LoadInfo, module: Module) -> None:
    """Take out the calls to __fentry__."""
    view = module.view
    _write(
        info.kernel, finalize.mcount(info.kernel.memory, view.ftrace_callsites, view.num_ftrace_callsites * 8)
    )


def module_finalize(info: LoadInfo, module: Module) -> dict[str, int]:
    """Patch the code; returns how many places of each kind."""
    kernel = info.kernel
    memory, entry_size = kernel.memory, kernel.profile.struct("alt_instr").size

    def alternatives(_: Memory, start: int, size: int) -> Iterator[finalize.Patch]:
        return finalize.alternatives(
            memory, start, size, entry_size, lambda bit: bit in _FEATURES or has_feature(kernel, bit)
        )

    new = fills_with_prefixes(kernel)
    passes: tuple[tuple[str, Callable[[Memory, int, int], Iterator[finalize.Patch]]], ...] = (
        (".parainstructions", partial(finalize.paravirt, code=operation(kernel))),
        (".retpoline_sites", partial(finalize.retpolines, thunks=indirect_thunks(kernel), new=new)),
        (".return_sites", partial(_returns, kernel)),
        (".altinstructions", alternatives),
        (".ibt_endbr_seal", partial(finalize.seals, poison=_POISONS[new])),
    )
    counts = {}
    for name, patches in passes:
        section = _section(info, name)
        if section is not None:
            counts[name] = _write(kernel, patches(memory, section.address, section.size))
    _enter_orc(info, module)
    return counts


def _returns(kernel: KernelCore, memory: Memory, start: int, size: int) -> Iterator[finalize.Patch]:
    """The patches of return sites; the first site of a boot that is none is warned of."""
    thunk = kernel.symbols.find("__x86_return_thunk")
    for site in finalize.returns(memory, start, size, thunk.address if thunk else 0):
        if isinstance(site, finalize.Patch):
            yield site
        else:
            places = f"{kernel.describe(site.address)}-{kernel.describe(site.target)}"
            _warn_once(kernel, _APPLY_RETURNS, f"missing return thunk: {places}: {site.code.hex(' ')}")


def _enter_orc(info: LoadInfo, module: Module) -> None:
    """The stack unwinder's two tables should match (unwind_module_init)."""
    entries, addresses = _section(info, ".orc_unwind"), _section(info, ".orc_unwind_ip")
    if entries is None or addresses is None:
        return
    count, rest = divmod(addresses.size, 4)
    if rest or entries.size != count * ENTRY_SIZE:
        _warn_once(info.kernel, _UNWIND_MODULE_INIT, "")
    try:
        unwind_module_init(info.kernel, module.address, addresses.address, entries.address, count)
    except PageFault as fault:
        raise KernelWouldCrash(fault.address) from None


def _warn_once(kernel: KernelCore, where: tuple[str, int, str], text: str) -> None:
    file, line, function = where
    told = kernel[Modules].told
    if function not in told:
        told.add(function)
        kernel.warnings.warn(file, line, text, function)


def patch_branches(info: LoadInfo, module: Module) -> None:
    """Static branches and static calls, which are patched when the module is COMING."""
    kernel, view = info.kernel, module.view
    jumps = finalize.jump_labels(
        kernel.memory, view.jump_entries, view.num_jump_entries * 16, lambda key: _key_enabled(kernel, key)
    )
    _write(kernel, jumps)
    warn_trap = kernel.symbols.find("__WARN_trap")
    calls = finalize.static_calls(
        kernel.memory,
        view.static_call_sites,
        view.num_static_call_sites * 8,
        lambda key: _static_target(kernel, key),
        {warn_trap.address: WARN_TRAP_CODE} if warn_trap else {},
    )
    _write(kernel, calls)


def _section(info: LoadInfo, name: str) -> Section | None:
    """The last section of a name, allocated or not: module_finalize looks at all of them, from index 0."""
    index = info.image.find_last(name)
    return info.image.sections[index] if index else None


def _write(kernel: KernelCore, patches: Iterable[finalize.Patch]) -> int:
    count = 0
    try:
        for patch in patches:
            kernel.memory.write(patch.address, patch.code)
            count += 1
    except PageFault as fault:
        raise KernelWouldCrash(fault.address) from None
    return count


def fills_with_prefixes(kernel: KernelCore) -> bool:
    """Whether the kernel fills room in code by prefixes and int3, which is as new as __WARN_trap()."""
    return kernel.symbols.exports("__WARN_trap")


def indirect_thunks(kernel: KernelCore) -> dict[int, int]:
    """What the compiler makes of indirect calls: the thunk's address -> the register's number."""
    addresses = {}
    for number, register in enumerate(_REGISTERS):
        symbol = kernel.symbols.find(f"__x86_indirect_thunk_{register}")
        if symbol is not None:
            addresses[symbol.address] = number
    return addresses


def _key_enabled(kernel: KernelCore, key: int) -> bool:
    """Whether a static_key is on; one of an export that is not implemented counts as off."""
    try:
        value = kernel.memory.read_u32(key)
    except PageFault:
        return False
    return 0 < value < 1 << 31


def _static_target(kernel: KernelCore, key: int) -> int | None:
    """The function behind a static call: the key's, or the one a trampoline jumps to."""
    try:
        head = kernel.memory.read(key, 8)
    except PageFault:
        return None  # an export that is not implemented: the call is left to report itself
    if head[0] == 0xE9 and head[5:] == _TRAMPOLINE_MARK:
        return key + 5 + int.from_bytes(head[1:5], "little", signed=True) & (1 << 64) - 1
    return int.from_bytes(head, "little")

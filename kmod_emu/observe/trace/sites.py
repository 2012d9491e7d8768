"""Instructions at which the flow of control leaves a function: calls, jumps, returns."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from kmod_emu.kernel.calltext import symbol_at
from kmod_emu.machine.asm import disassemble
from kmod_emu.machine.memory import PageFault
from kmod_emu.machine.operands import memory_operands

if TYPE_CHECKING:
    from kmod_emu.kernel.kernel import KernelCore

CALL, JUMP, RETURN = "call", "jump", "return"
_LONGEST = 15  # bytes of an instruction
_RETURN_THUNK, _INDIRECT_THUNK = "__x86_return_thunk", "__x86_indirect_thunk_"


class Site(NamedTuple):
    """One such instruction.

    Attributes:
        kind: CALL, JUMP or RETURN.
        address: Where it is.
        after: The address behind it.
        target: Where it leads, if the instruction says so.
        register: What holds the target instead.
    """

    kind: str
    address: int
    after: int
    target: int | None = None
    register: str = ""


def site_at(kernel: KernelCore, address: int) -> Site | None:
    """What the instruction at an address is, or None for one that goes on with the next."""
    code = kernel.memory.read(address, min(_LONGEST, 4096 - address % 4096))
    instruction = next(disassemble(code, address), None)
    if instruction is None:
        return None
    mnemonic, operands = instruction.mnemonic.split()[-1], instruction.operands
    after = address + instruction.size
    if mnemonic in ("ret", "retq"):
        return Site(RETURN, address, after)
    if mnemonic not in ("call", "jmp"):
        return None
    kind = CALL if mnemonic == "call" else JUMP
    if not operands.startswith("0x"):
        return Site(kind, address, after, register="" if "[" in operands else operands)
    target = int(operands, 16)
    thunk = symbol_at(kernel, target) or ""
    if thunk == _RETURN_THUNK:
        return Site(RETURN, address, after)
    if thunk.startswith(_INDIRECT_THUNK):
        return Site(kind, address, after, register=thunk.removeprefix(_INDIRECT_THUNK))
    return Site(kind, address, after, target)


def target_of(kernel: KernelCore, site: Site) -> int | None:
    """Where a call or jump that is about to be executed leads."""
    if site.target is not None:
        return site.target
    if site.register:
        return kernel.cpu.read(site.register)
    code = kernel.memory.read(site.address, site.after - site.address)
    places = memory_operands(code, site.address, kernel.cpu.registers())
    try:
        return kernel.memory.read_u64(places[0][0]) if places else None
    except PageFault:
        return None

"""Ring 3: programs on the same processor, each with a context of its own.

A program's registers, x87 and SSE included, live in a `UserContext` while it does not run. Unicorn takes
`syscall` for a hook and never leaves ring 3 by itself, so the way into the kernel and back is a change of
contexts by the host. General registers are read and changed in the saved context, as reading one through
Unicorn costs more than the whole change.
"""

from __future__ import annotations

import ctypes
import math
import struct
from typing import TYPE_CHECKING

from unicorn import x86_const as x86

if TYPE_CHECKING:
    import unicorn

    from kmod_emu.machine.cpu import Cpu, Stop

SYSRET = b"\x48\x0f\x07"  # the one instruction that makes ring 3, from flat segments of its own

_ORDER = ("rax", "rcx", "rdx", "rbx", "rsp", "rbp", "rsi", "rdi", "r8", "r9", "r10", "r11", "r12", "r13",
          "r14", "r15", "rip")  # fmt: skip
_FILE = struct.Struct(f"<{len(_ORDER)}Q")
_U64 = struct.Struct("<Q")
_OTHERS = {
    "eflags": x86.UC_X86_REG_EFLAGS,
    "fs_base": x86.UC_X86_REG_FS_BASE,
    "gs_base": x86.UC_X86_REG_GS_BASE,
    "mxcsr": x86.UC_X86_REG_MXCSR,
    "fpcw": x86.UC_X86_REG_FPCW,
    "fpsw": x86.UC_X86_REG_FPSW,
    "fptag": x86.UC_X86_REG_FPTAG,
}
_XMM = range(x86.UC_X86_REG_XMM0, x86.UC_X86_REG_XMM0 + 16)
_FP = range(x86.UC_X86_REG_FP0, x86.UC_X86_REG_FP0 + 8)
_FLOATING = (*_XMM, *_FP, *(_OTHERS[name] for name in ("mxcsr", "fpcw", "fpsw", "fptag")))
_FXSAVE = struct.Struct("<HHBxHQQII128s256s96x")
_MSR_STAR, _MSR_EFER, _EFER_SCE = 0xC000_0081, 0xC000_0080, 1
_USER_CS, _USER_SS, _EFLAGS = 0x33, 0x2B, 0x202
_MASK64 = (1 << 64) - 1


class UserContext:
    """The registers of a program that is not running: `context["rax"]`, also eflags, fs_base, mxcsr."""

    __slots__ = ("_place", "_view", "raw")

    def __init__(self, raw: unicorn.UcContext, place: int) -> None:
        self.raw, self._place = raw, place
        self._view = memoryview((ctypes.c_char * raw.size).from_address(raw.context.value)).cast("B")

    def __getitem__(self, name: str) -> int:
        if name in _OTHERS:
            return self.raw.reg_read(_OTHERS[name])  # type: ignore[no-any-return]
        return int(_U64.unpack_from(self._view, self._place + 8 * _ORDER.index(name))[0])

    def __setitem__(self, name: str, value: int) -> None:
        if name in _OTHERS:
            self.raw.reg_write(_OTHERS[name], value)
        else:
            _U64.pack_into(self._view, self._place + 8 * _ORDER.index(name), value & _MASK64)

    def general(self) -> dict[str, int]:
        """All general registers and RIP by name."""
        return dict(zip(_ORDER, _FILE.unpack_from(self._view, self._place), strict=True))

    def set_general(self, values: dict[str, int]) -> None:
        """Set all of them."""
        _FILE.pack_into(self._view, self._place, *(values[name] for name in _ORDER))

    def assign(self, other: UserContext) -> None:
        """Become equal to another context."""
        self._view[:] = other._view


class Ring3:
    """Makes contexts and runs them.

    Args:
        cpu: Whose ring 3.
        sysret: An executable kernel address that holds `SYSRET`; used once, at the first context.
    """

    def __init__(self, cpu: Cpu, sysret: int) -> None:
        self._cpu, self._sysret = cpu, sysret
        self._fresh: UserContext | None = None
        self._kernel = cpu.save()

    def context(self, of: UserContext | None = None) -> UserContext:
        """A copy of a context, or one with all registers zero."""
        if self._fresh is None:
            self._fresh = self._enter_once()
        raw = self._cpu.save()
        copy = UserContext(raw, self._fresh._place)
        copy.assign(of or self._fresh)
        return copy

    def run(self, context: UserContext, count: int = 0, patience: float = math.inf) -> Stop:
        """Run a program until it enters the kernel in whatever way; the context holds where it is then."""
        cpu, kernel = self._cpu, self._kernel
        assert self._fresh is not None
        cpu.save_into(kernel)
        cpu.counts_always = cpu.counts_always or bool(count)
        cpu.restore(context.raw)
        try:
            stop = cpu.run_in_ring3(context["rip"], self._fresh.raw, count, patience)
            cpu.save_into(context.raw)
        finally:
            cpu.restore(kernel)
        return stop

    def give_floating(self, context: UserContext) -> None:
        """Put the program's x87 and SSE registers into the processor."""
        kernel = self._cpu.save()
        self._move(context.raw, kernel)
        self._cpu.restore(kernel)

    def take_floating(self, context: UserContext) -> None:
        """Make those of the processor the program's."""
        kernel = self._cpu.save()
        self._move(kernel, context.raw)
        self._cpu.restore(kernel)

    def _move(self, source: unicorn.UcContext, target: unicorn.UcContext) -> None:
        cpu = self._cpu
        cpu.restore(source)
        values = [cpu.read_number(number) for number in _FLOATING]
        cpu.restore(target)
        for number, value in zip(_FLOATING, values, strict=True):
            cpu.write_number(number, value)
        cpu.save_into(target)

    def fxsave(self, context: UserContext) -> bytes:
        """x87 and SSE state as the instruction stores it."""
        cpu = self._cpu
        kernel = cpu.save()
        cpu.restore(context.raw)
        try:
            wide = [cpu.read_number(number) for number in _XMM]
            physical = [cpu.read_number(number) for number in _FP]
        finally:
            cpu.restore(kernel)
        status, tags = context["fpsw"], context["fptag"]
        top, valid = status >> 11 & 7, 0
        for number in range(8):
            valid |= (tags >> 2 * number & 3 != 3) << number
        stack = b"".join(struct.pack("<QH6x", *physical[top + number & 7]) for number in range(8))
        sse = b"".join(value.to_bytes(16, "little") for value in wide)
        return _FXSAVE.pack(context["fpcw"], status, valid, 0, 0, 0, context["mxcsr"], 0xFFFF, stack, sse)

    def fxrstor(self, context: UserContext, area: bytes) -> None:
        """Put back what `fxsave` gave."""
        control, status, valid, _, _, _, mxcsr, _, stack, sse = _FXSAVE.unpack(area)
        context["fpcw"], context["fpsw"], context["mxcsr"] = control, status, mxcsr & 0xFFFF
        context["fptag"] = sum((0 if valid >> number & 1 else 3) << 2 * number for number in range(8))
        cpu, top = self._cpu, status >> 11 & 7
        kernel = cpu.save()
        cpu.restore(context.raw)
        try:
            for index, number in enumerate(_XMM):
                cpu.write_number(number, int.from_bytes(sse[16 * index : 16 * index + 16], "little"))
            for index in range(8):
                cpu.write_number(_FP[top + index & 7], struct.unpack_from("<QH", stack, 16 * index))
            cpu.save_into(context.raw)
        finally:
            cpu.restore(kernel)

    def _enter_once(self) -> UserContext:
        """Execute the instruction with nothing to run behind it: the fetch faults, in ring 3."""
        cpu = self._cpu
        kernel = cpu.save()
        cpu.write_msr(_MSR_EFER, cpu.read_msr(_MSR_EFER) | _EFER_SCE)
        cpu.write_msr(_MSR_STAR, (_USER_CS - 16) << 48 | 0x10 << 32)
        for name in ("rax", "rbx", "rdx", "rsp", "rbp", "rsi", "rdi", *(f"r{n}" for n in range(8, 16))):
            cpu.write(name, 0)
        cpu.write("rcx", 0)
        cpu.write("r11", _EFLAGS)
        cpu.set_gs_base(0)
        user, cpu.memory.user = cpu.memory.user, None
        try:
            cpu.run(self._sysret)
            raw = cpu.save()
        finally:
            cpu.memory.user = user
            cpu.restore(kernel)
        context = UserContext(raw, _place_of_registers(raw))
        context["r11"] = 0
        context["fpcw"], context["mxcsr"] = 0x37F, 0x1F80
        return context


def _place_of_registers(raw: unicorn.UcContext) -> int:
    """Where a context keeps the general registers: found by what is written to them."""
    kept = [raw.reg_read(getattr(x86, f"UC_X86_REG_{name.upper()}")) for name in _ORDER]
    marks = [0x1B5E_D0C7_0000_0000 + number for number in range(len(_ORDER))]
    for name, mark in zip(_ORDER, marks, strict=True):
        raw.reg_write(getattr(x86, f"UC_X86_REG_{name.upper()}"), mark)
    place = bytes(raw).find(_FILE.pack(*marks))
    for name, value in zip(_ORDER, kept, strict=True):
        raw.reg_write(getattr(x86, f"UC_X86_REG_{name.upper()}"), value)
    if place < 0:
        raise RuntimeError("this version of Unicorn does not keep the registers of a context together")
    return place

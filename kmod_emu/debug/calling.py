"""Calling a guest function from where the machine stopped, as gdb does: registers are put back afterwards."""

from __future__ import annotations

from typing import TYPE_CHECKING

from kmod_emu.debug.c.values import DebugError
from kmod_emu.debug.points import Breakpoint, Reason

if TYPE_CHECKING:
    from collections.abc import Sequence

    from kmod_emu.debug.debugger import Debugger

__all__ = ["call_guest"]

_ARGUMENTS = ("rdi", "rsi", "rdx", "rcx", "r8", "r9")
_DISTANCE = 256  # from what is on the stack
_RESTORED = ("rax", "rbx", "rcx", "rdx", "rsi", "rdi", "rbp", "rsp", "r8", "r9", "r10", "r11", "r12", "r13",
             "r14", "r15", "eflags", "rip")  # fmt: skip


def call_guest(debugger: Debugger, function: int, arguments: Sequence[int | bytes]) -> int:
    """Call a function in the task that runs; what it left in RAX.

    What it changes in memory stays changed. Bytes are put on the stack, and their address is passed.

    Raises:
        DebugError: Nothing runs, there are too many arguments, or something else stopped it; then the machine
            stays in the function.
    """
    if debugger.ended:
        raise DebugError("You can't do that without a process to debug.")
    if len(arguments) > len(_ARGUMENTS):
        raise DebugError("Functions can be called with at most six arguments.")
    before = debugger.registers()
    here, rsp = before["rip"], before["rsp"] - _DISTANCE
    passed: dict[str, int] = {}
    for name, argument in zip(_ARGUMENTS, arguments, strict=False):
        if isinstance(argument, bytes):
            rsp -= len(argument)
            debugger.write(rsp, argument)
            argument = rsp
        passed[name] = argument
    rsp = (rsp & ~15) - 8
    debugger.write(rsp, here.to_bytes(8, "little"))
    for name, value in {**passed, "rax": 0, "rsp": rsp, "rip": function}.items():
        debugger.set_register(name, value & (1 << 64) - 1)
    points = debugger.points.values()
    stopped = any(isinstance(p, Breakpoint) and p.enabled and p.address == function for p in points)
    stop = debugger.stop if stopped else debugger.run_to(here, rsp + 8)
    if stopped or stop.reason is not Reason.STEPPED or stop.address != here:
        raise DebugError(
            "The program being debugged stopped while in a function called from the debugger.\n"
            "Evaluation of the expression containing the function is abandoned."
        )
    result = debugger.registers()["rax"]
    for name in _RESTORED:
        debugger.set_register(name, before[name])
    return result

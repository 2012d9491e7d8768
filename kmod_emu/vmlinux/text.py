"""The kernel's code as it is on this processor from the start: what the kernel itself would patch at boot.

Most functions begin with `call __fentry__`, returns are jumps to a thunk, indirect calls go through others,
and what a hypervisor may want to know are calls through a table. With no tracer, no mitigations and no
hypervisor all that becomes plain instructions (ftrace_init(), apply_returns(), apply_retpolines(),
apply_paravirt()).
Here that is done before any of the code runs: the processor has nothing to forget then, and is spared blocks
of code at each call and return from the first one on.
"""

from __future__ import annotations

import struct
from array import array
from bisect import bisect_left
from itertools import chain
from operator import add
from typing import TYPE_CHECKING

from kmod_emu.kernel.paravirt import native_code, operation
from kmod_emu.module import finalize
from kmod_emu.module.patch import fills_with_prefixes, indirect_thunks

if TYPE_CHECKING:
    from collections.abc import Iterator

    from kmod_emu.vmlinux.kernel import VmlinuxKernel
    from kmod_emu.vmlinux.symbols import ImageSymbols

_TRACER, _RETURN = "__fentry__", "__x86_return_thunk"
_CALLS = "__start_mcount_loc", "__stop_mcount_loc"
_BRANCH, _DISTANCE = struct.Struct("<Bi"), struct.Struct("<i")
_STATIC_CALLS = "__start_static_call_sites", "__stop_static_call_sites"
_CALL, _JUMP, _LENGTH = 0xE8, 0xE9, _BRANCH.size
_ENDBR_LENGTH = 4  # what may stand before the call at the entry of a function


class Text:
    """The code of a kernel that has been mapped and has not run yet.

    Args:
        kernel: The machine.
        symbols: Those of its image.
    """

    def __init__(self, kernel: VmlinuxKernel, symbols: ImageSymbols) -> None:
        self._kernel, self._symbols = kernel, symbols
        self._entries = self._calls_at_entries()

    def _calls_at_entries(self) -> list[int]:
        """Where functions call the tracer."""
        kernel = self._kernel
        if not kernel.symbols.internal(_CALLS[0]):
            return []
        start, end = (kernel.symbol(name) for name in _CALLS)
        return sorted(array("Q", kernel.memory.read(start, end - start)))

    # --- patches --------------------------------------------------------------------------------------

    def settle(self) -> None:
        """Patch it."""
        kernel = self._kernel
        for patch in chain(self._few(), self._static_calls()):
            kernel.memory.write(patch.address, patch.code)
        for name, places, opcode, by in (
            (_TRACER, self._entries, _CALL, finalize.nops(_LENGTH)),
            (_RETURN, self._returns(), _JUMP, finalize.RETURN),
        ):
            if places and kernel.symbols.internal(name):
                self._replace(places, (opcode, kernel.symbol(name)), by)

    def _replace(self, places: list[int], branch: tuple[int, int], by: bytes) -> None:
        """Write over those of some places where a call or jump to a target stands."""
        memory, (opcode, target) = self._kernel.memory, branch
        for section in self._kernel.vmlinux.sections:
            if section.executable and section.in_file:
                code, base = memory.writable(section.address, section.size), section.address
                first, last = (bisect_left(places, base + end) for end in (0, len(code) - _LENGTH + 1))
                distance, unpack = target - _LENGTH, _DISTANCE.unpack_from
                for place in places[first:last]:
                    site = place - base
                    if code[site] == opcode and unpack(code, site + 1)[0] == distance - place:
                        code[site : site + _LENGTH] = by

    def _few(self) -> Iterator[finalize.Patch]:
        """Some thousands: calls through the table, and through thunks."""
        kernel, memory = self._kernel, self._kernel.memory
        if section := kernel.vmlinux.section(".parainstructions"):
            native, function = native_code(kernel.profile), operation(kernel)
            yield from finalize.paravirt(
                memory, section.address, section.size, lambda index: native.get(index) or function(index)
            )
        if section := kernel.vmlinux.section(".retpoline_sites"):
            thunks, prefixes = indirect_thunks(kernel), fills_with_prefixes(kernel)
            yield from finalize.retpolines(memory, section.address, section.size, thunks, new=prefixes)

    def _static_calls(self) -> Iterator[finalize.Patch]:
        """Calls of trampolines that lead to functions; static_call_init() finds nothing to do at those."""
        kernel, memory = self._kernel, self._kernel.memory
        if not kernel.symbols.internal(_STATIC_CALLS[0]):
            return
        own = {0}  # those whose calls become other instructions
        if kernel.symbols.internal("__static_call_return0"):
            own.add(kernel.symbol("__static_call_return0"))

        def target(key: int) -> int | None:
            function = memory.read_u64(key)
            return None if function in own else function

        start, end = (kernel.symbol(name) for name in _STATIC_CALLS)
        for patch in finalize.static_calls(memory, start, end - start, target):
            if memory.read_u8(patch.address) == patch.code[0]:  # and no jump on a condition
                yield patch

    def _returns(self) -> list[int]:
        """Places that jump to the thunk of returns, 50,000 in some kernels."""
        sites = self._kernel.vmlinux.section(".return_sites")
        if sites is None:
            return []
        offsets = array("i", self._kernel.memory.read(sites.address, sites.size & -4))
        return sorted(map(add, offsets, range(sites.address, sites.address + 4 * len(offsets), 4)))

    # --- functions that Python serves -------------------------------------------------------------------

    def lead(self, function: int, target: int, first: bytes = b"") -> None:
        """Make a function go on elsewhere as soon as it is entered, or after some code of ours.

        The jump stands behind the place of the call, so that tracers and kprobes find the function as they
        find any other.
        """
        place = self._behind_call(function, len(first) + _LENGTH)
        jump = place + len(first)
        self._kernel.memory.write(place, first + _BRANCH.pack(_JUMP, target - (jump + _LENGTH)))

    def _behind_call(self, function: int, size: int) -> int:
        """Where so much code has room: behind the call, or in its place in a function that is too short."""
        index = bisect_left(self._entries, function)
        if index < len(self._entries):
            place = self._entries[index] + _LENGTH
            end = self._symbols.around(function)[2]
            if place <= function + _ENDBR_LENGTH + _LENGTH and place + size <= end:
                return place
        return function

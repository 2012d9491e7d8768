"""Patching a module's code for this machine (arch/x86/kernel/alternative.c, jump_label.c, static_call.c).

Each function reads one table of the module from guest memory and yields patches: where, and which bytes.
Mitigations are off, and the machine runs with SMP locking.
"""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from kmod_emu.machine.memory import Memory

# The NOPs that the kernel fills with, by length (arch/x86/include/asm/nops.h).
_NOPS = (b"", b"\x90", b"\x66\x90", b"\x0f\x1f\x00", b"\x0f\x1f\x40\x00", b"\x0f\x1f\x44\x00\x00",
         b"\x66\x0f\x1f\x44\x00\x00", b"\x0f\x1f\x80\x00\x00\x00\x00",
         b"\x0f\x1f\x84\x00\x00\x00\x00\x00")  # fmt: skip
_FLAG_NOT = 1 << 15
_MASK32 = (1 << 32) - 1
_CS_PREFIX = 0x2E
_MASK64 = (1 << 64) - 1
_FLAG_DIRECT_CALL = 2
_ENDBR = (b"\xf3\x0f\x1e\xfa", b"\xf3\x0f\x1e\xfb")
_CALL_POINTER = b"\xff\x15"  # call *disp32(%rip)
RETURN = b"\xc3\xcc\xcc\xcc\xcc"  # in the place of a jump


class Patch(NamedTuple):
    """Bytes to write over code."""

    address: int
    code: bytes


def nops(length: int) -> bytes:
    """The best NOPs for a length.

    >>> nops(5).hex(), len(nops(19))
    ('0f1f440000', 19)
    """
    whole, rest = divmod(length, 8)
    return _NOPS[8] * whole + _NOPS[rest]


class MissingThunk(NamedTuple):
    """A return site that is no jump to the return thunk: it is left, with a warning.

    Attributes:
        address: The site.
        target: Where it jumps, 0 if it is no jump.
        code: Its five bytes.
    """

    address: int
    target: int
    code: bytes


def _rel32(opcode: int, place: int, target: int) -> bytes:
    """A five-byte call or jump; a distance that does not fit is cut."""
    return bytes((opcode,)) + struct.pack("<I", target - (place + 5) & _MASK32)


def _entries(
    memory: Memory, start: int, size: int, form: str, *, whole: bool = False
) -> Iterator[tuple[int, tuple[Any, ...]]]:
    """A table's entries as (address, fields).

    The kernel goes on while an entry begins before the end, unless it counts `whole` ones.
    """
    entry = struct.Struct(form)
    count = size // entry.size if whole else -(-size // entry.size)
    if count:
        data = memory.read(start, count * entry.size)
        yield from zip(range(start, start + len(data), entry.size), entry.iter_unpack(data), strict=True)


def mcount(memory: Memory, start: int, size: int) -> Iterator[Patch]:
    """`call __fentry__` becomes a NOP while nobody traces (kernel/trace/ftrace.c)."""
    for _, (place,) in _entries(memory, start, size, "<Q", whole=True):
        if place:  # 0 where the linker dropped a function
            yield Patch(place, nops(5))


def alternatives(
    memory: Memory, start: int, size: int, entry_size: int, has: Callable[[int], bool]
) -> Iterator[Patch]:
    """Replace code by what suits the processor, entries in order (apply_alternatives).

    Where the code stays, the NOPs of one byte behind it become longer ones.

    Args:
        memory: Guest memory.
        start: Address of .altinstructions.
        size: Its bytes.
        entry_size: 12, or 14 where flags have a word of their own.
        has: Whether the processor has a feature, by its bit number.
    """
    form = "<iiHBB" if entry_size == 12 else "<iiHHBB"
    for entry, (instr, repl, feature, *flag, length, new_length) in _entries(memory, start, size, form):
        place, replacement = entry + instr & _MASK64, entry + 4 + repl & _MASK64
        flags = flag[0] if flag else 0
        wanted = not flags & 1 if flag else not feature & _FLAG_NOT
        if not flag:
            feature &= ~_FLAG_NOT
        if has(feature) is not wanted:
            if (room := _room(memory.read(place, length))) > 1:
                yield Patch(place + length - room, nops(room))
            continue
        code = _moved(memory.read(replacement, new_length), replacement, place, new=bool(flag))
        if flags & _FLAG_DIRECT_CALL:
            code = _direct_call(memory, place, length, code)
        yield Patch(place, code + nops(length - new_length))


def _room(code: bytes) -> int:
    """How many NOPs of one byte are at the end of code (optimize_nops)."""
    nop = _NOPS[1]
    room = len(code) - len(code.rstrip(nop))
    if room < 2 or room == len(code):
        return room
    from kmod_emu.machine.asm import disassemble

    ends = (each.address + each.size for each in disassemble(code))  # such a byte may belong to an operand
    return next((len(code) - end for end in ends if not code[end:].strip(nop)), 0)


def _moved(code: bytes, source: int, target: int, *, new: bool) -> bytes:
    """Keep the destination of a call or jump that is copied elsewhere; a near jump becomes a short one.

    `new` kernels do so backwards too, and fill with int3 what is never reached.
    """
    if len(code) != 5 or code[0] not in (0xE8, 0xE9):
        return code
    destination = source + 5 + struct.unpack_from("<i", code, 1)[0]
    distance = destination - (target + 2)
    if code[0] == 0xE9 and (-128 if new else -2) <= distance <= 127:
        return bytes((0xEB, distance & 0xFF)) + (b"\xcc" * 3 if new else nops(3))
    return _rel32(code[0], target, destination)


def _direct_call(memory: Memory, place: int, length: int, bug: bytes) -> bytes:
    """What a call through a pointer becomes: a call of the function, or of BUG_func if it is NULL."""
    code = memory.read(place, 6)
    if not code.startswith(_CALL_POINTER):
        return bug
    pointer = place + length + struct.unpack_from("<i", code, 2)[0] & _MASK64
    function = memory.read_u64(pointer)
    return _rel32(0xE8, place, function) if function else bug


def paravirt(
    memory: Memory, start: int, size: int, code: Callable[[int], bytes | int | None]
) -> Iterator[Patch]:
    """Indirect calls through pv_ops become native code, or direct calls (apply_paravirt).

    Args:
        memory: Guest memory.
        start: Address of .parainstructions.
        size: Its bytes.
        code: What an operation is by its number: code, or a function; calls of others are left.
    """
    for _, (site, kind, length) in _entries(memory, start, size, "<QBBxxxxxx"):
        found = code(kind)
        if isinstance(found, int):
            found = _rel32(0xE8, site, found)
        if found is not None and len(found) <= length:
            yield Patch(site, found + nops(length - len(found)))


def returns(memory: Memory, start: int, size: int, thunk: int) -> Iterator[Patch | MissingThunk]:
    """`jmp __x86_return_thunk` becomes `ret` (apply_returns).

    Args:
        memory: Guest memory.
        start: Address of .return_sites.
        size: Its bytes.
        thunk: Address of __x86_return_thunk.
    """
    for entry, (offset,) in _entries(memory, start, size, "<i"):
        site = entry + offset & _MASK64
        code, target = memory.read(site, 5), 0
        if code[0] == 0xE9:
            target = site + 5 + struct.unpack_from("<i", code, 1)[0] & _MASK64
        yield Patch(site, RETURN) if target == thunk else MissingThunk(site, target, code)


def retpolines(
    memory: Memory, start: int, size: int, thunks: Mapping[int, int], *, new: bool = False
) -> Iterator[Patch]:
    """Calls and jumps to indirect thunks become indirect calls and jumps (patch_retpoline).

    Args:
        memory: Guest memory.
        start: Address of .retpoline_sites.
        size: Its bytes.
        thunks: Thunk's address -> register number.
        new: Whether a call is made as long by prefixes and a jump by int3, and not by NOPs behind them.
    """
    for entry, (offset,) in _entries(memory, start, size, "<i"):
        site = entry + offset & _MASK64
        length = 6 if memory.read_u8(site) == _CS_PREFIX else 5  # where the indirect call needs a byte more
        opcode, distance = struct.unpack("<Bi", memory.read(site + length - 5, 5))
        if opcode not in (0xE8, 0xE9):
            continue
        register = thunks.get(site + length + distance & _MASK64)
        if register is None:
            continue
        prefix = b"\x41" if register >= 8 else b""
        modrm = (0xD0 if opcode == 0xE8 else 0xE0) | register & 7
        code = prefix + bytes((0xFF, modrm))
        if opcode == 0xE9:
            code += b"\xcc" * (length - len(code) if new else 1)
        elif new:
            code = bytes([_CS_PREFIX]) * (length - len(code)) + code
        yield Patch(site, code + nops(length - len(code)))


def jump_labels(memory: Memory, start: int, size: int, enabled: Callable[[int], bool]) -> Iterator[Patch]:
    """Static branches take the side their key says (jump_label_add_module).

    Args:
        memory: Guest memory.
        start: Address of __jump_table.
        size: Its bytes.
        enabled: Whether the static_key at an address is on.
    """
    for entry, (site, destination, key_offset) in _entries(memory, start, size, "<iiq", whole=True):
        code, target = entry + site & _MASK64, entry + 4 + destination & _MASK64
        key = entry + 8 + key_offset & _MASK64
        short = memory.read_u8(code) in (0xEB, 0x66)
        length = 2 if short else 5
        if enabled(key & ~3) is not bool(key & 1):
            if short:
                yield Patch(code, bytes((0xEB, target - (code + 2) & 0xFF)))
            else:
                yield Patch(code, _rel32(0xE9, code, target))
        else:
            yield Patch(code, nops(length))


def static_calls(
    memory: Memory,
    start: int,
    size: int,
    target: Callable[[int], int | None],
    inlined: Mapping[int, bytes] | None = None,
) -> Iterator[Patch]:
    """Static calls go where their key points (static_call_module_notify).

    Args:
        memory: Guest memory.
        start: Address of .static_call_sites.
        size: Its bytes.
        target: Function behind a key or trampoline; 0 for a call that does nothing, None to leave it.
        inlined: Functions whose code takes the place of a call, tail calls excepted.
    """
    for entry, (place, pointer) in _entries(memory, start, size, "<ii", whole=True):
        site, key = entry + place & _MASK64, entry + 4 + pointer & _MASK64
        function, tail = target(key & ~3), bool(key & 1)
        if function is None:
            continue
        if not tail and inlined and function in inlined:
            yield Patch(site, inlined[function])
        elif function:
            yield Patch(site, _rel32(0xE9 if tail else 0xE8, site, function))
        else:
            yield Patch(site, RETURN if tail else nops(5))


def seals(memory: Memory, start: int, size: int, poison: bytes) -> Iterator[Patch]:
    """Functions that nobody calls by a pointer lose the ENDBR that lets anybody (apply_seal_endbr)."""
    for entry, (offset,) in _entries(memory, start, size, "<i"):
        place = entry + offset & _MASK64
        if bytes(memory.read(place, 4)) in _ENDBR:
            yield Patch(place, poison)


def sort_extable(memory: Memory, start: int, size: int) -> None:
    """Order the exception table by instruction; its pointers are relative and move along (lib/extable.c)."""
    entries = []
    for entry in range(start, start + size // 12 * 12, 12):
        insn, fixup, data = struct.unpack("<iii", memory.read(entry, 12))
        entries.append((entry + insn, entry + 4 + fixup, data))
    for place, (insn, fixup, data) in zip(range(start, start + size, 12), sorted(entries), strict=False):
        memory.write(place, struct.pack("<iii", insn - place, fixup - place - 4, data))

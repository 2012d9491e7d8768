"""Assembling (keystone) and disassembling (capstone), both imported only when used.

Keystone is a tool for development: no command needs it, and arm64 has no wheel of it.
"""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterator

    import capstone
    import keystone


class Instruction(NamedTuple):
    """One disassembled instruction."""

    address: int
    size: int
    mnemonic: str
    operands: str


@cache
def _keystone() -> keystone.Ks:
    import keystone

    return keystone.Ks(keystone.KS_ARCH_X86, keystone.KS_MODE_64)


@cache
def _capstone() -> capstone.Cs:
    import capstone

    return capstone.Cs(capstone.CS_ARCH_X86, capstone.CS_MODE_64)


def assemble(source: str, address: int = 0) -> bytes:
    """Assemble Intel-syntax text to run at `address`.

    >>> assemble("xor eax, eax; ret").hex()
    '31c0c3'
    """
    code, _ = _keystone().asm(source, address, as_bytes=True)
    if code is None:
        raise ValueError(f"nothing to assemble in {source!r}")
    return bytes(code)


def disassemble(code: bytes, address: int = 0) -> Iterator[Instruction]:
    """Disassemble as far as the bytes make sense.

    >>> [i.mnemonic for i in disassemble(bytes.fromhex("31c0c3"))]
    ['xor', 'ret']
    """
    for start, size, mnemonic, operands in _capstone().disasm_lite(code, address):
        yield Instruction(start, size, mnemonic, operands)

"""Assembling and disassembling."""

import pytest

from kmod_emu.machine.asm import assemble, disassemble

HERE = 0xFFFF_FFFF_C000_0000


def test_relative_targets_are_from_the_address():
    assert assemble(f"jmp {HERE + 0x100:#x}", HERE) == b"\xe9\xfb\0\0\0"


def test_round_trip():
    source = ["push rbp", "mov rbp, rsp", "sub rsp, 0x20", "mov dword ptr [rbp - 4], 5", "leave", "ret"]
    code = assemble("; ".join(source), HERE)
    instructions = list(disassemble(code, HERE))
    assert [f"{i.mnemonic} {i.operands}".strip() for i in instructions] == source
    places = [HERE + sum(i.size for i in instructions[:count]) for count in range(6)]
    assert [i.address for i in instructions] == places
    assert sum(i.size for i in instructions) == len(code)


def test_disassembly_ends_where_the_bytes_end_to_make_sense():
    assert [i.mnemonic for i in disassemble(b"\x90\x90\x06\x90")] == ["nop", "nop"]
    assert list(disassemble(b"\x06")) == []


def test_nothing_cannot_be_assembled():
    with pytest.raises(ValueError, match="nothing to assemble"):
        assemble("")


def test_bad_assembly_is_an_error():
    with pytest.raises(Exception, match=r"KS_ERR"):
        assemble("mov eax, [no such thing")

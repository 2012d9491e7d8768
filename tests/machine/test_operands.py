"""Addresses that an instruction touches."""

import pytest

from kmod_emu.machine.asm import assemble
from kmod_emu.machine.operands import memory_operands

RIP = 0xFFFF_FFFF_C000_0000
REGISTERS = {"rax": 3, "rbx": 0x2000, "rdi": 0x1000, "rsi": 0x5000, "rsp": 0x8000, "rcx": 2, "eax": 3}


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        ("mov eax, [rdi + 8]", [(0x1008, 4)]),
        ("mov [rbx], al", [(0x2000, 1)]),
        ("mov qword ptr [rbx + rax * 8 - 0x10], 0", [(0x2008, 8)]),
        ("movzx eax, word ptr [rdi]", [(0x1000, 2)]),
        ("movups xmm0, [rdi]", [(0x1000, 16)]),
        ("add qword ptr [rdi - 0x1001], 1", [(0xFFFF_FFFF_FFFF_FFFF, 8)]),
        ("mov rax, [rip + 0x10]", [(RIP + 7 + 0x10, 8)]),
        ("movsb", [(0x1000, 1), (0x5000, 1)]),
        ("push rax", [(0x7FF8, 8)]),
        ("push qword ptr [rbx]", [(0x2000, 8), (0x7FF8, 8)]),
        ("call qword ptr [rbx + 8]", [(0x2008, 8), (0x7FF8, 8)]),
        ("call 0xffffffffc0001000", [(0x7FF8, 8)]),
        ("pop rax", [(0x8000, 8)]),
        ("pop qword ptr [rbx]", [(0x2000, 8), (0x8000, 8)]),
        ("ret", [(0x8000, 8)]),
        ("lock xadd [rdi], rax", [(0x1000, 8)]),
        ("xor eax, eax", []),
        ("jmp 0xffffffffc0001000", []),
    ],
)
def test_operands(source, expected):
    assert sorted(memory_operands(assemble(source, RIP), RIP, REGISTERS)) == sorted(expected)


@pytest.mark.parametrize("source", ["lea rax, [rbx + 8]", "nop dword ptr [rbx]"])
def test_an_address_without_access_is_none(source):
    assert memory_operands(assemble(source), RIP, REGISTERS) == []


def test_popcnt_is_no_pop():
    assert memory_operands(assemble("popcnt rax, [rbx]"), RIP, REGISTERS) == [(0x2000, 8)]


def test_only_the_first_instruction_counts():
    assert memory_operands(assemble("nop; mov eax, [rdi]"), RIP, REGISTERS) == []


@pytest.mark.parametrize("code", [b"", b"\x06", b"\x48"], ids=["nothing", "invalid", "cut"])
def test_what_is_no_instruction_touches_nothing(code):
    assert memory_operands(code, RIP, REGISTERS) == []

"""Functions with register conventions of their own."""

from __future__ import annotations

import pytest
import unicorn.x86_const as x86
from hypothesis import given
from hypothesis import strategies as st

from tests.guest_kernel_stubs.guest_machine import Guest, signed

NAMES = ["rax", "rcx", "rdx", "rbx", "rsp", "rbp", "rsi", "rdi", *(f"r{number}" for number in range(8, 16))]
REGISTERS = {name: getattr(x86, f"UC_X86_REG_{name.upper()}") for name in NAMES}


@pytest.mark.parametrize(
    "prefix", ["__x86_indirect_thunk", "__x86_indirect_call_thunk", "__x86_indirect_jump_thunk"]
)
@pytest.mark.parametrize("name", [name for name in NAMES if name != "rsp"])
def test_indirect_thunk_goes_where_its_register_points(guest: Guest, prefix: str, name: str) -> None:
    calls = []
    target = guest.callback(lambda: calls.append(name))
    guest.uc.reg_write(REGISTERS[name], target)

    guest.call(f"{prefix}_{name}")

    assert calls == [name]


def test_indirect_thunks_are_an_array_of_32_bytes_in_register_order(guest: Guest) -> None:
    first = guest.address("__x86_indirect_thunk_array")

    assert [guest.address(f"__x86_indirect_thunk_{name}") - first for name in NAMES] == list(
        range(0, 512, 32)
    )


@pytest.mark.parametrize("name", ["__x86_return_thunk", "__fentry__"])
def test_return_thunks_change_nothing(guest: Guest, name: str) -> None:
    before = {}
    for number, (register, constant) in enumerate(REGISTERS.items()):
        if register != "rsp":
            before[register] = 0x1111 * number
            guest.uc.reg_write(constant, before[register])

    guest.call(name)

    assert {register: guest.uc.reg_read(REGISTERS[register]) for register in before} == before


@pytest.mark.parametrize(
    ("name", "target"),
    [
        ("__SCT__preempt_schedule", "static_call_nop"),
        ("__SCT__preempt_schedule_notrace", "static_call_nop"),
        ("__SCT__might_resched", "__static_call_return0"),
        ("__SCT__cond_resched", "offer_processor"),
    ],
)
def test_static_call_trampoline_is_a_jump_and_its_mark(guest: Guest, name: str, target: str) -> None:
    address = guest.address(name)
    code = guest.read(address, 8)

    assert code[0] == 0xE9
    assert code[5:] == b"\x0f\xb9\xcc"
    assert address + 5 + signed(int.from_bytes(code[1:5], "little")) == guest.address(target)


def test_might_resched_returns_zero(guest: Guest) -> None:
    guest.uc.reg_write(x86.UC_X86_REG_RAX, 77)

    assert guest.call("__SCT__might_resched") == 0


@given(word=st.integers(0, 2**64 - 1))
def test_hweight_counts_and_keeps_every_register_but_rax(machine: Guest, word: int) -> None:
    kept = [constant for name, constant in REGISTERS.items() if name not in ("rax", "rdi", "rsp")]
    for constant in kept:
        machine.uc.reg_write(constant, constant * 0x123456789)

    assert machine.call("__sw_hweight64", word) == word.bit_count()
    assert machine.call("__sw_hweight32", word) == (word & 0xFFFFFFFF).bit_count()
    assert [machine.uc.reg_read(constant) for constant in kept] == [
        constant * 0x123456789 for constant in kept
    ]


@pytest.mark.parametrize("name", ["clear_page_orig", "clear_page_rep", "clear_page_erms"])
def test_clear_page_clears_one_page_and_clobbers_what_its_callers_expect(guest: Guest, name: str) -> None:
    page = guest.put(b"\xff" * 4096, align=4096)
    guest.uc.reg_write(x86.UC_X86_REG_RDX, 5)
    guest.uc.reg_write(x86.UC_X86_REG_RSI, 6)

    guest.call(name, page)

    assert guest.read(page - 1, 4098) == b"\xa5" + bytes(4096) + b"\xa5"
    assert guest.uc.reg_read(x86.UC_X86_REG_RDX) == 5
    assert guest.uc.reg_read(x86.UC_X86_REG_RSI) == 6


def test_copy_page(guest: Guest) -> None:
    contents = bytes(range(256)) * 16
    source, dest = guest.put(contents, align=4096), guest.put(bytes(4096), align=4096)

    guest.call("copy_page", dest, source)

    assert guest.read(dest - 1, 4098) == b"\xa5" + contents + b"\xa5"


def test_empty_zero_page_is_a_page_of_zeros(guest: Guest) -> None:
    page = guest.address("empty_zero_page")

    assert page % 4096 == 0
    assert guest.read(page, 4096) == bytes(4096)
